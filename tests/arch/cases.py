#!/usr/bin/env python3
"""Architecture cases (a folder each: model, inputs, golden outputs) against compiled programs.

    cases.py INGOT CASES_DIR [PATTERN..] [--skip NAME..] [--bits]

For every case: compile with --quant none --act f32, run `tensors`, compare with the case's tolerance and by the
largest difference over the largest output (<= 1e-4), then decode greedily and compare tokens. With --bits also: the same
bytes by one decode step a token, by two threads and at every level of this machine, with integer products too (decoders
without padding). Standard library only.
The format of a case is that of make.py beside this file."""
import argparse
import fnmatch
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

RELATIVE = 1e-4


def read(path):
    """{name: (shape, values)} of a safetensors file of F32 and I64 tensors."""
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    tensors = {}
    for name, t in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            start, end = t["data_offsets"]
            kind = {"F32": "f", "I64": "q"}[t["dtype"]]
            tensors[name] = t["shape"], struct.unpack(f"<{math.prod(t['shape'])}{kind}", data[8 + size + start:8 + size + end])
    return tensors


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ...: exit {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


def largest_error(case, facts, out):
    """Of each output: name, largest difference at positions that count, largest golden value."""
    want, got, inputs = read(f"{case}/out.safetensors"), read(out), read(f"{case}/in.safetensors")
    for name, (shape, values) in want.items():
        if name not in got or got[name][0] != shape:
            raise RuntimeError(f"{name} is missing or of another shape: {got.get(name, [None])[0]}, expected {shape}")
        mask = inputs.get(facts.get("compare_mask", {}).get(name), (None, None))[1]
        inner, worst = len(values) // len(mask) if mask else 1, 0.0
        for i, (v, other) in enumerate(zip(values, got[name][1])):
            if (not mask or mask[i // inner]) and not abs(v - other) <= worst:
                worst = abs(v - other)
        yield name, worst, max(abs(v) for v in values)


def greedy(program, record):
    ids = ",".join(map(str, record["prompt_ids"]))
    text = run(program, "generate", "--ids", ids, "-n", str(len(record["new_ids"])), "--temp", "0", "--json")
    return json.loads(text)["ids"] == record["new_ids"]


def same_bits(ingot, model, case, work):
    """Does every way to run the model give the bytes of the first?"""
    for options in ([], ["--quant", "none", "--act", "f32"]):
        program, outputs = os.path.join(work, "bits"), set()
        run(ingot, "compile", model, "-o", program, "-q", *options)
        levels = json.loads(run(program, "card"))["levels"]
        ways = [["-t", "1"], ["-t", "2"], ["--entry", "decode"]] + [["--cpu", level] for level in levels]
        for way in ways:
            done = subprocess.run([program, "tensors", "--in", f"{case}/in.safetensors", "--out", program + ".out", *way],
                                  capture_output=True, text=True, timeout=300)
            if done.returncode == 0:  # a level that this machine lacks is refused
                with open(program + ".out", "rb") as f:
                    outputs.add(f.read())
            elif "--cpu" not in way:
                raise RuntimeError(f"{' '.join(way)}: exit {done.returncode}: {done.stderr.strip()[-400:]}")
        if len(outputs) != 1:
            return False
    return True


def one(ingot, case, name, work, bits):
    program, out, model = os.path.join(work, "app"), os.path.join(work, "out"), f"{case}/model"
    if os.path.exists(f"{model}/model.gguf"):
        model += "/model.gguf"
    with open(f"{case}/case.json", encoding="utf-8") as f:
        facts = json.load(f)
    run(ingot, "compile", model, "-o", program, "--quant", "none", "--act", "f32", "-q")
    run(program, "tensors", "--in", f"{case}/in.safetensors", "--out", out)
    errors = list(largest_error(case, facts, out))
    within = all(error <= facts["tolerance"][tensor] for tensor, error, _ in errors)
    relative = max(error / size for _, error, size in errors)
    records = facts.get("greedy_batch", []) + ([facts["greedy"]] if "greedy" in facts else [])
    tokens = all(greedy(program, r) for r in records)
    padded = 0 in read(f"{case}/in.safetensors").get("attention_mask", (None, ()))[1]
    same = not bits or padded or same_bits(ingot, model, case, work)
    good = relative <= RELATIVE and within and tokens and same
    print(f"{'ok  ' if good else 'FAIL'} {name}: error {relative:.2e} of the largest, {'within' if within else 'BEYOND'} the case's "
          f"tolerance, {len(records)} greedy {'equal' if tokens else 'DIFFERENT'}{'' if same else ', BITS DIFFER'}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ingot")
    parser.add_argument("cases")
    parser.add_argument("patterns", nargs="*", default=["*"])
    parser.add_argument("--skip", nargs="*", default=[])
    parser.add_argument("--bits", action="store_true")
    args = parser.parse_args()
    passed, failed = 0, 0
    for name in sorted(os.listdir(args.cases)):
        if name in args.skip or not any(fnmatch.fnmatch(name, p) for p in args.patterns):
            continue
        with tempfile.TemporaryDirectory() as work:
            try:
                good = one(args.ingot, os.path.join(args.cases, name), name, work, args.bits)
            except (RuntimeError, subprocess.TimeoutExpired, OSError, KeyError, ValueError) as error:
                print(f"FAIL {name}: {error}", flush=True)
                good = False
        passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
