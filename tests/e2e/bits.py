#!/usr/bin/env python3
"""Bits and tokens of whole programs: bits.py INGOT SOURCE_DIR [TEST..]

However tokens are run (threads, instruction sets, chunks, decode or prefill, twice compiled), logits have the same bits; and
where a greedy answer reads its output matrix in part, its tokens are those of all logits. Standard library only."""
import json
import pathlib
import re
import shutil
import struct
import sys

import e2e
from e2e import compile_to, levels, logits, program, read_floats, run, sample_ids, write_ids


def test_same_bits(folder):
    ids = sample_ids(150)
    for options in ((), ("--act", "i8"), ("--quant", "none", "--act", "f32"), ("--quant", "q5_1"), ("--quant", "f16")):
        app = program(*options)
        want = logits(app, folder, [ids], "-t", "1")
        assert want[0] == [1, 150, 512]
        assert logits(app, folder, [ids], "-t", "2") == want, f"{options}: two threads"
        assert logits(app, folder, [ids], "-t", "5") == want, f"{options}: more threads than cores"
        for level in levels(app):
            assert logits(app, folder, [ids], "--cpu", level) == want, f"{options}: {level}"
        assert logits(app, folder, [ids], "--entry", "decode") == want, f"{options}: n decode steps"
        shape, last = logits(app, folder, [ids], "--entry", "prefill")
        assert last == want[1][-len(last):] and shape == [1, 1, 512], f"{options}: prefill"


def test_long_contexts(folder):
    """Several chunks of keys: one step splits them over threads, and joins them as prefill does."""
    ids = sample_ids(700)
    for kv in ("i16", "f16", "q8_0", "f32"):
        app = program("--context", "1024", "--kv", kv)
        want = logits(app, folder, [ids], "-t", "1")
        for options in (("-t", "2"), ("-t", "5"), ("--entry", "decode"), ("--entry", "decode", "-t", "3")):
            shape, got = logits(app, folder, [ids], *options)
            assert got == want[1][-len(got):], f"{kv}: {options}"
        for level in levels(app):
            assert logits(app, folder, [ids], "--cpu", level) == want, f"{kv}: {level}"
    compile_to(f"{folder}/small", "--context", "1024", "--chunk", "100", "--kv", "f32")
    assert logits(f"{folder}/small", folder, [ids]) == want


def test_block_formats(folder):
    """Every format computed as its file packs it: near the reference, the same bits at every level and entry."""
    models = sorted(pathlib.Path(e2e.SOURCE, "tests/arch/cases").glob("gguf-*/model/model.gguf"))
    assert len(models) > 12
    for model in models:
        app, ids = f"{folder}/app", [i % 67 for i in sample_ids(40)]
        compile_to(app, "--verify=0.003", model=model)
        want = logits(app, folder, [ids], "-t", "1")
        for level in levels(app):
            assert logits(app, folder, [ids], "--cpu", level) == want, f"{model}: {level}"
        assert logits(app, folder, [ids], "--entry", "decode") == want, f"{model}: n decode steps"


def test_prefill_fast(folder):
    """A prompt's own numerics: the same bits at every level and thread count; decode stays as it was."""
    for model in [e2e.MODEL] + [f"{e2e.SOURCE}/tests/arch/cases/gguf-{name}/model/model.gguf" for name in ("q2_k", "q4_k")]:
        app, exact, ids = f"{folder}/app", f"{folder}/exact", [i % 67 for i in sample_ids(150)]
        compile_to(app, "--prefill", "fast", "--verify=0.03", model=model)
        compile_to(exact, model=model)
        want = logits(app, folder, [ids], "-t", "1")
        for threads in "25":
            assert logits(app, folder, [ids], "-t", threads) == want, f"{model}: {threads} threads"
        for level in levels(app):
            assert logits(app, folder, [ids], "--cpu", level) == want, f"{model}: {level}"
        last = logits(app, folder, [ids], "--entry", "prefill")[1]
        assert last == want[1][-len(last):], f"{model}: prefill"
        slow = logits(exact, folder, [ids])
        assert slow != want and logits(app, folder, [ids], "--entry", "decode") == slow, f"{model}: decode"
        assert [json.loads(run(a, "card").stdout)["prefill"] for a in (app, exact)] == ["fast", "exact"]


def test_amx(folder):
    """Tiles give the bits of VNNI: by an emulated unit (tests/emu/amx_run.c) where the machine has none."""
    runner = pathlib.Path(e2e.INGOT).parent / "tests/amx_run"
    native = "amx_int8" in pathlib.Path("/proc/cpuinfo").read_text()
    if not runner.exists() or "x86-64-v4-vnni" not in levels(program()):
        return
    def tiles(app, *options):
        write_ids(f"{folder}/in.safetensors", [ids])
        done = run(runner, "-c", app, "tensors", "--in", f"{folder}/in.safetensors", "--out", f"{folder}/out.safetensors",
                   "--cpu", "x86-64-v4-amx", *options)
        assert native or int(re.search(r"amx_run: (\d+) tile products", done.stderr)[1]) > 0, f"{app}: no tiles were used"
        return read_floats(f"{folder}/out.safetensors")
    models = [(m, ()) for m in sorted(pathlib.Path(e2e.SOURCE, "tests/arch/cases").glob("gguf-*q*/model/model.gguf"))]
    models += [(e2e.MODEL, ("--act", "i8")), (e2e.MODEL, ("--quant", "q6_k", "--act", "i8")), (e2e.MODEL, ("--quant", "q4_k", "--prefill", "fast"))]
    assert len(models) > 12
    for model, options in models:
        app = f"{folder}/app"
        compile_to(app, "--cpu", "x86-64-v4-vnni,x86-64-v4-amx", *options, model=model)
        for n, threads in ((37, "1"), (150, "2")):  # whole tiles, then some tokens left
            ids = [i % 67 for i in sample_ids(n)]
            want = logits(app, folder, [ids], "--cpu", "x86-64-v4-vnni")
            assert tiles(app, "-t", threads) == want, f"{model}: {n} tokens, {threads} threads"
    chosen = [json.loads(run(*how, app, "generate", "--ids", "1", "-n", "1", "--json").stdout)["isa"]
              for how in ([runner], [runner, "-r"])]
    assert chosen == ["x86-64-v4-amx", "x86-64-v4-vnni"], chosen  # -r: the system gives no tiles


def test_chunks(folder):
    want = logits(program(), folder, [sample_ids(150)])
    app = f"{folder}/small"
    compile_to(app, "--chunk", "7")
    assert logits(app, folder, [sample_ids(150)]) == want


def test_padding(folder):
    a, b = sample_ids(12), sample_ids(7, seed=2)
    app = program()
    shape, both = logits(app, folder, [a, [0] * 5 + b], mask=[[1] * 12, [0] * 5 + [1] * 7])
    assert shape == [2, 12, 512]
    assert both[:12 * 2048] == logits(app, folder, [a])[1]
    right = logits(app, folder, [a, b + [0] * 5], mask=[[1] * 12, [1] * 7 + [0] * 5])[1]
    assert right[12 * 2048:19 * 2048] == logits(app, folder, [b])[1]


def test_reproducible(folder):
    compile_to(f"{folder}/one")
    compile_to(f"{folder}/two")
    assert pathlib.Path(f"{folder}/one").read_bytes() == pathlib.Path(f"{folder}/two").read_bytes()


# ---- an output matrix read in part ----

def widened_model(folder, rows):
    """The example model with an embedding (and output matrix) of so many rows, those after its own of noise; it knows no end."""
    model, name = pathlib.Path(shutil.copytree(e2e.MODEL, f"{folder}/wide")), "model.embed_tokens.weight"
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"vocab_size": rows, "eos_token_id": rows - 1}))
    (model / "generation_config.json").unlink()
    data = (model / "model.safetensors").read_bytes()
    size, width = struct.unpack("<Q", data[:8])[0], config["hidden_size"]
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    tensors = {n: data[8 + size + t["data_offsets"][0]:8 + size + t["data_offsets"][1]] for n, t in header.items()}
    noise = struct.pack("<65536H", *[0x3d00 | i & 0x80ff for i in sample_ids(65536, vocab=65536)])  # bf16, 0.03 to 0.12
    at = sample_ids(rows - config["vocab_size"], vocab=65536 - width)
    tensors[name] += b"".join(noise[2 * i:2 * (i + width)] for i in at)
    header[name]["shape"] = [rows, width]
    end = 0
    for n, t in header.items():
        t["data_offsets"] = [end, end := end + len(tensors[n])]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors.values()))
    return model


def test_greedy_in_part(folder):
    """An output matrix large enough to be split: the tokens of entry greedy are those of all logits, at every level."""
    rows, steps = 250001, 24  # the last group of 16 has one row
    model, app = widened_model(folder, rows), f"{folder}/app"
    for quant in ("q8_0", "q6_k"):
        compile_to(app, "--quant", quant, model=model)
        for level in levels(app):
            options = ["--cpu", level]
            ids = json.loads(run(app, "generate", "--ids", "17", "-n", steps, "--json", "--temp", "0", *options).stdout)["ids"]
            shape, data = logits(app, folder, [[17] + ids[:-1]], "--entry", "decode", *options)
            assert shape == [1, steps, rows] and len(ids) == steps, (shape, ids)
            for i, token in enumerate(ids):
                row = struct.unpack_from(f"<{rows}f", data, 4 * rows * i)
                assert row.index(max(row)) == token, (quant, level, i)
        entries = {e["entry"]: e for e in json.loads(run(app, "profile", "-p", "1", "-n", "12", "--json").stdout)["entries"]}
        part, whole = entries["greedy"], entries.get("decode")
        assert part["runs"] >= 6 and (not whole or part["bytes"] / part["runs"] < 0.8 * whole["bytes"] / whole["runs"]), entries


if __name__ == "__main__":
    e2e.begin(*sys.argv[1:3])
    sys.exit(e2e.run_tests(globals(), sys.argv[3:]))
