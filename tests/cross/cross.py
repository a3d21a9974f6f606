#!/usr/bin/env python3
"""Programs for aarch64 under qemu-user, against this machine's, bit for bit: cross.py INGOT SOURCE QEMU SYSROOT [TEST..]

Each emulated core has just the features of one ISA level, so that an instruction beyond it would end the program. Exit
status 77: this ingot was built without the runtime of aarch64. Standard library only."""
import json
import pathlib
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import e2e  # noqa: E402
from e2e import run, sample_ids, write_ids  # noqa: E402

QEMU, SYSROOT = "", ""
CORES = {"cortex-a57": "armv8-a", "cortex-a76": "armv8-a-dotprod", "max": "armv8-a-i8mm"}
LEVELS = list(CORES.values())
SKIPPED = 77


def emulated(core, *command, **kw):
    return run(QEMU, "-cpu", core, *command, **kw)


def both(folder, model, *options):
    """The program of a model for aarch64, and for this machine."""
    out = f"{folder}/arm", f"{folder}/here"
    for app, target in zip(out, (("--target", "aarch64-linux"), ("--cpu", "native"))):
        e2e.compile_to(app, *target, *options, model=model)
    return out


def check_tensors(folder, arm, here, source, label, runs):
    """The whole output files are equal for each (core, options) of runs."""
    out = pathlib.Path(folder, "out.safetensors")
    run(here, "tensors", "--in", source, "--out", out)
    want = out.read_bytes()
    assert any(want[8 + struct.unpack("<Q", want[:8])[0]:]), f"{label}: nothing but zeros"
    for core, options in runs:
        out.unlink()
        emulated(core, arm, "tensors", "--in", source, "--out", out, *options)
        assert out.read_bytes() == want, f"{label}: other bits on {core} {options}"


FORCED = [("max", ("-t", "1", "--cpu", level)) for level in LEVELS]


def test_levels(folder):
    """Each core takes its level, no more; a level that it lacks is refused by name; answers are the same."""
    arm, here = both(folder, e2e.MODEL)
    want = json.loads(run(here, "--temp", "0", "--json", "What colour is copper?").stdout)
    assert want["text"] == "Copper is red."
    for core, level in CORES.items():
        said = json.loads(emulated(core, arm, "--temp", "0", "--json", "-t", "2", "What colour is copper?").stdout)
        assert (said["isa"], said["ids"], said["threads"]) == (level, want["ids"], 2), said
    refused = emulated("cortex-a76", arm, "--cpu", "armv8-a-i8mm", "x", ok=False)
    assert refused.returncode == 1 and "i8mm" in refused.stderr, refused.stderr
    assert json.loads(run(e2e.INGOT, "inspect", "--json", arm).stdout)["architecture"] == "llama"


def test_same_bits(folder):
    source = f"{folder}/in.safetensors"
    write_ids(source, [sample_ids(70)])
    for options in ((), ("--act", "i8"), ("--quant", "none", "--act", "f32"), ("--quant", "q4_0"), ("--quant", "f16")):
        arm, here = both(folder, e2e.MODEL, *options)
        check_tensors(folder, arm, here, source, options, [(core, ("-t", "2")) for core in CORES] +
                      [("cortex-a57", ("--entry", "decode")), ("max", ("--entry", "decode", "-t", "2"))])


def test_block_formats(folder):
    source = f"{folder}/in.safetensors"
    write_ids(source, [sample_ids(24, vocab=67)])
    models = sorted(pathlib.Path(e2e.SOURCE, "tests/arch/cases").glob("gguf-*/model/model.gguf"))
    assert len(models) > 12
    for model in models:
        check_tensors(folder, *both(folder, model), source, model, FORCED)


def test_architectures(folder):
    for name in ("act-gelu", "act-mish", "bias", "gemma3", "odd-left", "qwen2-sliding"):
        case = pathlib.Path(e2e.SOURCE, "tests/arch/cases", name)
        check_tensors(folder, *both(folder, case / "model"), case / "in.safetensors", name, FORCED)
    for name in ("mlm-positions", "seqcls-long"):
        case = pathlib.Path(e2e.SOURCE, "tests/arch/encoders", name)
        check_tensors(folder, *both(folder, case / "model"), case / "in.safetensors", name, FORCED)


def test_text(folder):
    """The tokenizer and the chat template, in a program without a network too."""
    text = json.dumps("What is the symbol of zinc? <|im_end|> 12 é\n") + "\n"
    chat = json.dumps({"messages": [{"role": "user", "content": " hi "}], "add_generation_prompt": True}) + "\n"
    for options in ((), ("--task", "tokenize")):
        arm, here = both(folder, e2e.MODEL, *options)
        for call, line in (("tokenize", text), ("template", chat)):
            want = run(here, call, "--jsonl", input=line).stdout
            assert want and emulated("cortex-a57", arm, call, "--jsonl", input=line).stdout == want


def test_sampling(folder):
    """A seed gives the same answer on every machine."""
    arm, here = both(folder, e2e.MODEL)
    words = ("--raw", "--temp", "2.5", "--top-p", "0.98", "--seed", "7", "-n", "24", "What")
    assert emulated("max", arm, *words).stdout == run(here, *words).stdout


def test_other_outputs(folder):
    """Text and objects of the target; a library is linked into a program and answers."""
    target = ("--target", "aarch64-linux")
    for emit, expected in (("asm", "sdot"), ("llvm-ir", "aarch64-unknown-linux")):
        e2e.compile_to(f"{folder}/text", *target, "--emit", emit)
        assert expected in pathlib.Path(folder, "text").read_text()
    e2e.compile_to(f"{folder}/model.o", *target, "--emit", "obj")
    assert struct.unpack_from("<H", pathlib.Path(folder, "model.o").read_bytes(), 18)[0] == 183  # EM_AARCH64
    e2e.compile_to(f"{folder}/libmetals.a", *target, "--emit", "lib")
    clang = shutil.which("clang-19") or shutil.which("clang")
    linker = shutil.which("ld.lld-19") or shutil.which("ld.lld")
    libgcc = list(pathlib.Path(SYSROOT, "usr/lib/gcc").glob("aarch64-linux-gnu/*/libgcc.a"))
    if not clang or not linker or not libgcc:
        return
    header = next(pathlib.Path(folder).glob("*.h")).name
    lib = pathlib.Path(SYSROOT, "usr/lib/aarch64-linux-musl")
    run(clang, "--target=aarch64-linux-musl", "-nostdlibinc", "-isystem", f"{SYSROOT}/usr/include/aarch64-linux-musl",
        f"-DHEADER=\"{header}\"", "-I", folder, "-c", f"{e2e.SOURCE}/tests/e2e/use_lib.c", "-o", f"{folder}/use.o")
    run(linker, "-static", "-o", f"{folder}/use", lib / "crt1.o", lib / "crti.o", f"{folder}/use.o", f"{folder}/libmetals.a",
        lib / "libc.a", libgcc[0], lib / "crtn.o")
    assert emulated("max", f"{folder}/use").stdout.strip() == "Copper is red."


def test_wrong_use(folder):
    for options, expected in ((("--target", "aarch64-linux", "--cpu", "native"), "armv8-a-dotprod"),
                              (("--target", "x86_64-linux", "--cpu", "armv8-a"), "x86-64-v3"),
                              (("--target", "aarch64-linux", "--verify"), "--verify"),
                              (("--target", "riscv64-linux"), "aarch64-linux")):
        done = e2e.compile_to(f"{folder}/app", *options, ok=False)
        assert done.returncode in (1, 2) and expected in done.stderr, done.stderr
    assert not list(pathlib.Path(folder).iterdir())


def main():
    global QEMU, SYSROOT
    e2e.begin(*sys.argv[1:3])
    QEMU, SYSROOT = sys.argv[3:5]
    with tempfile.TemporaryDirectory() as folder:
        done = e2e.compile_to(f"{folder}/app", "--task", "tokenize", "--target", "aarch64-linux", ok=False)
    if "built without the runtime" in done.stderr:
        print("skipped:", done.stderr.strip())
        return SKIPPED
    return e2e.run_tests(globals(), sys.argv[5:])


if __name__ == "__main__":
    sys.exit(main())
