#!/usr/bin/env python3
"""Architecture cases (a folder each: model, inputs, golden outputs) against compiled programs.

    cases.py INGOT MODELS PATTERN.. [--skip NAME..] [--keep DIR]

For every case: compile with --quant none --act f32, run `tensors`, compare with the folder's own check.py (its
tolerance) and by the largest difference over the largest output (<= 1e-4), then decode greedily and compare tokens.
Standard library only."""
import argparse
import fnmatch
import importlib.util
import json
import os
import subprocess
import sys
import tempfile

RELATIVE = 1e-4


def load_check(models):
    spec = importlib.util.spec_from_file_location("check", os.path.join(models, "check.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:3])} ...: exit {done.returncode}: {done.stderr.strip()[-400:]}")
    return done.stdout


def relative_error(check, case, out):
    """Largest difference over the largest golden value, at positions that count."""
    want, got = check.read(os.path.join(case, "out.safetensors")), check.read(out)
    with open(os.path.join(case, "case.json"), encoding="utf-8") as f:
        facts = json.load(f)
    masks = check.read(os.path.join(case, "in.safetensors"))
    worst = 0.0
    for name, (_, shape, values) in want.items():
        mask_name = facts.get("compare_mask", {}).get(name)
        mask = masks[mask_name][2] if mask_name in masks else None
        inner = len(values) // len(mask) if mask else 1
        size = max(abs(v) for v in values)
        other = got[name][2]
        if len(other) != len(values):
            raise RuntimeError(f"{name} has another size")
        for i, v in enumerate(values):
            if not mask or mask[i // inner]:
                error = abs(v - other[i]) / size
                worst = error if not error <= worst else worst
    return worst


def greedy(program, record):
    ids = ",".join(map(str, record["prompt_ids"]))
    text = run(program, "generate", "--ids", ids, "-n", str(len(record["new_ids"])), "--temp", "0", "--json")
    return json.loads(text)["ids"] == record["new_ids"]


def one(args, check, name, work):
    case, program, out = os.path.join(args.models, "cases", name), os.path.join(work, "app"), os.path.join(work, "out")
    run(args.ingot, "compile", os.path.join(case, "model"), "-o", program, "--quant", "none", "--act", "f32", "-q")
    run(program, "tensors", "--in", os.path.join(case, "in.safetensors"), "--out", out)
    error = relative_error(check, case, out)
    within = subprocess.run([sys.executable, os.path.join(args.models, "check.py"), case, out],
                            capture_output=True, text=True).returncode == 0
    with open(os.path.join(case, "case.json"), encoding="utf-8") as f:
        facts = json.load(f)
    records = facts.get("greedy_batch", []) + ([facts["greedy"]] if "greedy" in facts else [])
    tokens = all(greedy(program, r) for r in records)
    good = error <= RELATIVE and within and tokens
    print(f"{'ok  ' if good else 'FAIL'} {name}: error {error:.2e} of the largest, {'within' if within else 'BEYOND'} the case's "
          f"tolerance, {len(records)} greedy {'equal' if tokens else 'DIFFERENT'}", flush=True)
    return good


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("ingot")
    parser.add_argument("models")
    parser.add_argument("patterns", nargs="+")
    parser.add_argument("--skip", nargs="*", default=[])
    args = parser.parse_args()
    check, passed, failed = load_check(args.models), 0, 0
    for name in sorted(os.listdir(os.path.join(args.models, "cases"))):
        if name in args.skip or not any(fnmatch.fnmatch(name, p) for p in args.patterns):
            continue
        with tempfile.TemporaryDirectory() as work:
            try:
                good = one(args, check, name, work)
            except (RuntimeError, subprocess.TimeoutExpired, OSError, KeyError, ValueError) as error:
                print(f"FAIL {name}: {error}", flush=True)
                good = False
        passed, failed = passed + good, failed + (not good)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
