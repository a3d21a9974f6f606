#!/usr/bin/env python3
"""Chooses the tile sizes of an ISA level by measurement: tools/bench/tune MODEL [--cpu LEVEL]

The sizes stand in backends/cpu/targets.def. MODEL is compiled once a variant, with `--tile NAME=N,..` in place of the
level's own: every size varied alone, and row_groups with prefetch_bytes together, since both shape the stream of weights. Then
all variants run in turn, A B C A B C, `app profile` each. Of every launch the median call of its best round counts,
so that neighbours who take the processor or the memory for a while spoil little. What a size can't change (decode has no
token tile) shows how far to trust the rest. Standard library only."""
import argparse
import itertools
import json
import pathlib
import re
import tempfile

import common

TARGETS = common.ROOT / "backends/cpu/targets.def"
NAMES = ["token_tile", "float_tile", "row_groups", "query_tile", "prefetch_bytes", "group_tile", "panel_blocks",
         "panel_tokens"]
TRIED = {"token_tile": [1, 2, 3, 4, 5, 6, 8], "float_tile": [4, 8, 12, 16], "query_tile": [1, 2, 4, 6, 8],
         "stream": [(g, p) for g in (1, 2, 4) for p in (0, 1024, 2048, 4096, 8192, 16384)]}


def level_sizes(level):
    """The sizes of the level's row of targets.def."""
    for row in re.findall(r"^CPU_TARGET\((.*)\)", TARGETS.read_text(encoding="utf-8"), re.M):
        fields = [f.strip() for f in row.split(",")]
        if fields[0].strip('"') == level:
            return dict(zip(NAMES, map(int, fields[5:])))
    common.die(f"{TARGETS.name} has no row '{level}'")


def variants(base, wanted):
    """Distinct sizes to try, the level's own first."""
    found = [dict(base)]
    for name in ("token_tile", "float_tile", "query_tile"):
        if name in wanted:
            found += [base | {name: n} for n in TRIED[name]]
    if "stream" in wanted:
        found += [base | {"row_groups": g, "prefetch_bytes": p} for g, p in TRIED["stream"]]
    return [v for i, v in enumerate(found) if v not in found[:i]]


def label(base, sizes):
    return " ".join(f"{n}={v}" for n, v in sizes.items() if v != base[n]) or "as it is"


def measure(a, app):
    """{entry: {launch: seconds a token in median calls}}"""
    command = [app, "profile", "-p", a.prompt, "-n", a.tokens, "-t", a.threads, "--cpu", a.level, "--json"]
    entries = json.loads(common.run(command, a.nice).out)["entries"]
    return {e["entry"]: {f"{k['label']} {k['kernel']}": k["median_s"] * k["calls"] / e["tokens"] for k in e["kernels"]}
            for e in entries}


def speed(rounds, entry):
    """Tokens/s by the best round of every launch."""
    return 1 / sum(min(r[entry][launch] for r in rounds) for launch in rounds[0][entry])


def native_level(ingot, model, folder):
    common.compile_model(ingot, model, folder / "native", ["--cpu", "native"])
    return common.inspect(ingot, folder / "native")["levels"][-1]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--ingot", help="the compiler (default: build*/ingot of this repository)")
    p.add_argument("--options", type=str.split, default=[], help="options of ingot compile, one string")
    p.add_argument("--cpu", default="native", help="the ISA level to tune")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--prompt", type=int, default=64)
    p.add_argument("--tokens", type=int, default=32)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--nice", type=int, default=0, help="niceness of the measured processes (below 0: as root)")
    p.add_argument("--sizes", nargs="*", choices=list(TRIED), default=["token_tile", "query_tile", "stream"],
                   help="what to vary (stream: row_groups with prefetch_bytes)")
    p.add_argument("--json", metavar="FILE", help="all samples ('-': standard output)")
    return p.parse_args()


def main():
    a = arguments()
    ingot, samples = common.find_ingot(a.ingot), []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        a.level = native_level(ingot, a.model, folder) if a.cpu == "native" else a.cpu
        base = level_sizes(a.level)
        tried = variants(base, a.sizes)
        for i, sizes in enumerate(tried):
            tile = ",".join(f"{n}={v}" for n, v in sizes.items())
            common.compile_model(ingot, a.model, folder / str(i), ["--cpu", a.level, "--tile", tile, *a.options])
        for _, i in itertools.product(range(a.rounds), range(len(tried))):
            samples.append((i, measure(a, folder / str(i))))
    kinds = [k for k in ("prefill", "greedy", "decode") if k in samples[0][1]]
    best = {(i, k): speed([s for j, s in samples if j == i], k) for i in range(len(tried)) for k in kinds}
    if a.json != "-":
        rows = [[label(base, s)] + [x for k in kinds for x in (best[i, k], best[i, k] / best[0, k])]
                for i, s in enumerate(tried)]
        machine = common.machine()
        print(f"{a.level}, {a.threads} threads, tokens/s, {machine['cpu']}, load {machine['load']:.1f}; as it is: "
              + " ".join(f"{n}={v}" for n, v in base.items()))
        print(common.table(["sizes"] + [x for k in kinds for x in (k, "ratio")], rows))
        for k in kinds:
            top = max(range(len(tried)), key=lambda i: best[i, k])
            print(f"best {k}: {label(base, tried[top])}, {best[top, k] / best[0, k]:.3f} of what is")
    common.write_json(a.json, {"level": a.level, "base": base, "machine": common.machine(),
                               "samples": [{"sizes": tried[i]} | s for i, s in samples]})


if __name__ == "__main__":
    main()
