#!/usr/bin/env python3
"""Produced programs on emulated processors: cpu_models.py INGOT SOURCE_DIR [TEST]

qemu-user runs a program as a named CPU model would: it must choose the highest level the model has, meet no illegal
instruction, and give the same bits and tokens as every level does on this machine; on a model below x86-64-v2 it must say what
is missing. Exit status 77, said aloud, where qemu isn't installed. Standard library only.

What an emulator knows bounds its models: TCG has no AVX-512 and, before qemu 7.2, no AVX (it takes those features out of the
model's CPUID with a warning). So the level that the model `max` reaches is the best that is expected of any other, and
Skylake-Server shows the way down from AVX-512 to x86-64-v3. For every program qemu 7.2 keeps a table of all pages between
the code and the weights at 256 GiB: a second and 1.6 GB each, so that not many are run and one at a time."""
import json
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import e2e  # noqa: E402

SKIPPED = 77
QEMU = shutil.which("qemu-x86_64-static") or shutil.which("qemu-x86_64")
V2, V3 = "x86-64-v2", "x86-64-v3"
MODELS = {"Nehalem": V2, "Westmere": V2, "SandyBridge": V2, "Denverton": V2, "Haswell": V3, "EPYC": V3,
          "Skylake-Server": V3, "max": V3}
TOO_OLD = {"core2duo": "sse4.2", "Penryn": "sse4.2", "qemu64": "ssse3", "Opteron_G1": "cx16"}
BEYOND_V2 = re.compile(r"(?!verr|verw)v[a-z]|andn$|bextr|bls[ir]|bzhi|lzcnt|mulx|movbe|pdep|pext$|pext[lq]$|rorx|s[ah][lr]x|k(mov|or|and|shift|test)|tile|xgetbv")


def emulated(model, app, *command, ok=True):
    return e2e.run(QEMU, "-cpu", model, app, *command, ok=ok)


def answer(runner, app):
    """(level, ids) of a greedy answer."""
    out = json.loads(e2e.run(*runner, app, "--temp", "0", "--json", "-n", "8", "What colour is copper?").stdout)
    return out["isa"], out["ids"]


def tensors(folder, ids, runner, *options):
    e2e.write_ids(f"{folder}/in.safetensors", [ids])
    e2e.run(*runner, "tensors", "--in", f"{folder}/in.safetensors", "--out", f"{folder}/out.safetensors", "-t", "2", *options)
    return e2e.read_floats(f"{folder}/out.safetensors")


def same_everywhere(folder, app, ids, models):
    """Native bits at every level that this machine has, then those of every model."""
    want = tensors(folder, ids, [app])
    for level in e2e.levels(app):
        assert tensors(folder, ids, [app], "--cpu", level) == want, f"{app}: {level}"
    for model in models:
        got = tensors(folder, ids, [QEMU, "-cpu", model, app])
        assert got == want, f"{app}: on {model} bits differ from this machine's"


def test_levels(folder):
    """The level of each model, tokens and bits."""
    best = answer([QEMU, "-cpu", "max"], e2e.program())[0]
    for options, models in (((), MODELS), (("--act", "i8"), ("Nehalem", "Haswell")),
                            (("--quant", "none", "--act", "f32"), ("Nehalem", "Haswell"))):
        app = e2e.program(*options)
        same_everywhere(folder, app, e2e.sample_ids(40), models)
        ids = answer([], app)[1]
        for model in models:
            got, want = answer([QEMU, "-cpu", model], app), (min(MODELS[model], best), ids)
            assert got == want, f"{model}: {got}, expected {want}"
            print(f"{model}: {got[0]}")


def test_too_old(folder):
    """A clear end, not a fault, and the same where a level is asked for that the processor lacks."""
    del folder
    for model, missing in TOO_OLD.items():
        for call in (("--ids", "1", "-n", "1"), ("bench", "-r", "1")):
            done = emulated(model, e2e.program(), *call, ok=False)
            assert done.returncode == 1, f"{model}: exit {done.returncode}: {done.stderr}"
            assert f"needs at least {V2}" in done.stderr and missing in done.stderr, f"{model}: {done.stderr}"
    done = emulated("Nehalem", e2e.program(), "--cpu", V3, "--ids", "1", "-n", "1", ok=False)
    assert done.returncode == 1 and "avx2" in done.stderr, done.stderr


def test_formats(folder):
    """The kernels of every block format and of the architectures at x86-64-v2; of every third at v3 too."""
    models = sorted(pathlib.Path(e2e.SOURCE, "tests/arch/cases").glob("*/model"))
    wanted = [m for m in models if re.match(r"gguf-|act-gelu$|act-mish|gemma3$|gemma2$|qwen2$|qwen3$|yarn|odd$", m.parent.name)]
    assert len(wanted) > 20
    for i, model in enumerate(wanted):
        app = f"{folder}/app"
        file = model / "model.gguf"
        e2e.compile_to(app, "--cpu", f"{V2},{V3}", model=file if file.exists() else model)
        same_everywhere(folder, app, e2e.sample_ids(20, vocab=67), ("Nehalem", "Haswell")[:1 + (i % 3 == 0)])


def test_calls(folder):
    """All other calls of a program, down to its start-up code, on the oldest processor that it takes; an encoder's too."""
    app = f"{folder}/encoder"
    e2e.compile_to(app, model=pathlib.Path(e2e.SOURCE, "tests/embed/model"))
    texts = ("embed", "Copper is red.")
    assert emulated("Nehalem", app, *texts).stdout == e2e.run(app, *texts).stdout != ""
    app = e2e.program()
    for call in (("--help",), ("card",), ("bench", "-p", "8", "-n", "2", "-r", "1"), ("profile", "-p", "8", "-n", "2"),
                 ("tokenize", "hello"), ("--raw", "--temp", "1", "--seed", "3", "-n", "4", "What")):
        emulated("Nehalem", app, *call)


def test_instructions(folder):
    """Disassembled, a program for x86-64-v2 alone has no instruction beyond it but for the start's guarded XGETBV."""
    if not shutil.which("objdump"):
        raise AssertionError("objdump (binutils) is needed")
    app = f"{folder}/app"
    e2e.compile_to(app, "--cpu", V2)
    seen = set()
    text = subprocess.run(["objdump", "-d", "--no-show-raw-insn", app], capture_output=True, text=True, check=True).stdout
    for line in text.split("\n"):
        found = re.match(r"\s+[0-9a-f]+:\s+(?:rep |repz |repnz |lock |data16 |notrack |bnd )*(\w+)", line)
        if found:
            seen.add(found.group(1))
    assert len(seen) > 100 and "pmaddwd" in seen, sorted(seen)
    beyond = {m for m in seen if BEYOND_V2.match(m)} - {"xgetbv"}
    assert not beyond, sorted(beyond)


def test_no_library_calls(folder):
    """Kernels need no function from elsewhere: none of a mathematical library, none of the compiler's."""
    for options in ((), ("--act", "i8"), ("--quant", "none", "--act", "f32"), ("--quant", "f16"), ("--quant", "bf16"),
                    ("--quant", "q4_k"), ("--quant", "iq4_xs", "--kv", "q8_0")):
        e2e.compile_to(f"{folder}/o", "--emit", "obj", *options)
        out = e2e.run("nm", "-u", f"{folder}/o").stdout.split()
        assert set(out) - {"U"} <= {"memcpy", "memset", "memmove", "ingot_weights"}, f"{options}: {out}"


def main():
    if not QEMU:
        print("skipped: qemu-user is not installed (Debian and Ubuntu: qemu-user-static; tools/setup.sh test)")
        return SKIPPED
    e2e.begin(*sys.argv[1:3])
    return e2e.run_tests(globals(), sys.argv[3:])


if __name__ == "__main__":
    sys.exit(main())
