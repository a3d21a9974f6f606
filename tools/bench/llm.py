#!/usr/bin/env python3
"""Speed, start, size and memory of a compiled language model beside its peers: tools/bench/llm MODEL [--peers DIR]

Compiles MODEL, then runs the program and llama.cpp (and ik_llama.cpp where DIR has it; DIR is made by
../shared/peers/build DIR) in turn, A B A B, on the same file with the same threads, and prints medians:

  prefill, decode    `app bench -r 1` beside `llama-bench -r 1` (each warms up once by itself), at every --depths
  bandwidth          decode's share of the read bandwidth that `app bench` measures in the same process
  first token        process start to the first byte of the answer, file cache warm; the peer: the faster of
                     llama-simple and a llama-bench that makes one token (llama-simple takes no -t)
  compile, size      wall time and peak memory of `ingot compile`, file size less the weights
  resident           peak resident memory (file pages included) after a prompt of 256 and 64 tokens, beside weights plus
                     the KV cache of those 320 positions

Peers run at their best setting: every variant below is measured, the best median counts. Bars are those of issue 3, or
of issue 4 with --bars 4. A row marked `disturbed` had fewer than three runs during which other processes left the
machine alone (--quiet, --patience): its ratio means little, spinning threads suffer most. Standard library only."""
import argparse
import functools
import json
import os
import pathlib
import tempfile

import common
from common import Row, Sample

PROMPT = "Hello my name is"
# folder of the peer: (name, variants of options)
PEERS = {"llama": ("llama.cpp", [["-fa", "0"], ["-fa", "1"]]),
         "ik": ("ik_llama.cpp", [["-fa", "1"], ["-fa", "1", "-rtr", "1"]])}
# limits by issue; a ratio is ours / peer
BARS = {"3": {"decode": 0.9, "prefill": 0.5, "first_s": 0.030, "start_ratio": None, "rest_mb": 2.0, "resident": 1.10,
              "compile_s": 10.0, "compiler_mb": 300.0, "bandwidth": None},
        "4": {"decode": 1.2, "prefill": 1.2, "first_s": None, "start_ratio": 0.1, "rest_mb": 2.0, "resident": 1.05,
              "compile_s": 4.0, "compiler_mb": 300.0, "bandwidth": None}}


def sample(a, speed, done, note=None):
    """With --cpu-time the speed a process had while it ran: whoever shares the machine then costs only cache."""
    if a.cpu_time:
        return Sample(speed * done.wall / done.cpu, 0.0, note)
    return Sample(speed, done.others, note)


def ours_once(a, app, what, tokens, depth):
    """Tokens/s of one prefill or decode; the whole report, with the read bandwidth, is the note."""
    flags = ["-p", tokens, "-n", 0] if what == "prefill" else ["-p", 0, "-n", tokens]
    done = common.run([app, "bench", *flags, "-d", depth, "-r", 1, "-t", a.threads, "--json"], a.nice)
    report = json.loads(done.out)
    return sample(a, report["pp" if what == "prefill" else "tg"], done, report)


def peer_once(a, tool, variant, depth_flag, what, tokens, depth):
    flags = ["-p", tokens, "-n", 0] if what == "prefill" else ["-p", 0, "-n", tokens]
    if depth and depth_flag:
        flags += ["-d", depth]
    elif depth:  # older llama-bench: decode at a depth only
        flags = ["-p", 0, "-n", 0, "-gp", f"{depth},{tokens}"]
    done = common.run([tool, "-m", a.model, *flags, "-t", a.threads, "-r", 1, *variant, "-o", "json"], a.nice)
    return sample(a, json.loads(done.out)[-1]["avg_ts"], done)


def contenders(a, app, what, tokens, depth):
    """{name: function that measures once}, ours first."""
    found = {"ours": functools.partial(ours_once, a, app, what, tokens, depth)}
    for folder, (name, variants) in PEERS.items():
        tool = common.peer_tool(a.peers, folder, "llama-bench")
        if not tool:
            continue
        depth_flag = "--n-depth" in common.run([tool, "--help"]).out
        if depth and what == "prefill" and not depth_flag:
            continue
        for variant in variants:
            found[f"{name} {' '.join(variant)}"] = functools.partial(
                peer_once, a, tool, variant, depth_flag, what, tokens, depth)
    return found


def as_log(samples):
    """{name: [(value, share of the machine that others used)]}"""
    return {n: [(x.value, round(x.others, 3)) for x in s] for n, s in samples.items()}


def speed_rows(a, app, bars, log):
    rows = []
    for depth in a.depths:
        for what, tokens in [("prefill", n) for n in a.prompt] + [("decode", n) for n in a.tokens]:
            samples = common.interleave(contenders(a, app, what, tokens, depth), a.rounds, a.quiet, a.patience)
            medians = {n: common.quiet_median(s, a.quiet) for n, s in samples.items()}
            ours, quiet = medians.pop("ours")
            log.append({"what": what, "tokens": tokens, "depth": depth, "samples": as_log(samples)})
            best = max(medians, key=lambda n: medians[n][0], default=None)
            peer, peer_quiet = medians[best] if best else (None, True)
            rows.append(Row(f"{what} {tokens} at depth {depth}", ours, "tokens/s", peer, best or "", bars[what], True,
                            quiet=quiet and peer_quiet))
            if what == "decode":
                gbs = max(x.note["read_gbs"] for x in samples["ours"])  # a limit: the best that was seen
                rows.append(Row("  read bandwidth", gbs, "GB/s", quiet=quiet))
                if gbs:
                    share = 100e-9 * samples["ours"][0].note["step_bytes"] * ours / gbs
                    rows.append(Row("  decode's share of it", share, "%", bar=bars["bandwidth"], quiet=quiet))
    return rows


def start_rows(a, app, bars, log):
    def once(command, first):
        done = common.run(command, a.nice)
        return Sample(done.first if first else done.wall, done.others)
    ask = [app, "--temp", 0, "-n", 1, "-t", a.threads]
    found = {"ours": functools.partial(once, [*ask, PROMPT], True),
             "ours raw": functools.partial(once, [*ask, "--raw", PROMPT], True)}
    simple = common.peer_tool(a.peers, "llama", "llama-simple")
    bench = common.peer_tool(a.peers, "llama", "llama-bench")
    if simple and bench:
        found["llama-simple"] = functools.partial(once, [simple, "-m", a.model, "-n", 1, PROMPT], False)
        found["llama-bench"] = functools.partial(once, [bench, "-m", a.model, "-p", 0, "-n", 1, "-r", 1, "--no-warmup",
                                                        "-t", a.threads], False)
    samples = common.interleave(found, a.rounds, a.quiet, a.patience)
    medians = {n: common.quiet_median(s, a.quiet) for n, s in samples.items()}
    log.append({"what": "start", "samples": as_log(samples)})
    peers = {n: m for n, m in medians.items() if n.startswith("llama")}
    best = min(peers, key=lambda n: peers[n][0], default=None)
    peer, peer_quiet = peers[best] if best else (None, True)
    ours, quiet = medians["ours"]
    raw, raw_quiet = medians["ours raw"]
    return [Row("first token, chat template", ours, "s", bar=bars["first_s"], most=True, quiet=quiet),
            Row("first token, --raw", raw, "s", peer, best or "", bars["start_ratio"], True, True,
                raw_quiet and peer_quiet)]


def compile_rows(a, ingot, out, bars):
    """Compiles up to three times: (rows, the report)."""
    runs = [common.compile_model(ingot, a.model, out, a.options) for _ in range(min(3, a.rounds))]
    seconds, quiet = common.quiet_median([Sample(r.wall, r.others) for _, r in runs], a.quiet)
    report = runs[0][0]
    rest = (os.path.getsize(out) - report["weight_bytes"]) / 1e6
    return [Row("compile", seconds, "s", bar=bars["compile_s"], most=True, quiet=quiet),
            Row("compiler's peak memory", max(r.peak_mb for _, r in runs), "MiB", bar=bars["compiler_mb"], most=True),
            Row("program less weights", rest, "MB", bar=bars["rest_mb"], most=True)], report


def kv_bytes(tensors, kind):
    """Bytes of one position in the KV cache: the rows of every key and value matrix (i16 without its norms)."""
    ends = ("attn_k.weight", "attn_v.weight", "k_proj.weight", "v_proj.weight")
    values = sum(t["shape"][0] for t in tensors if t["name"].endswith(ends))
    return values * {"i16": 2, "f16": 2, "f32": 4, "q8_0": 34 / 32}[kind]


def resident_rows(a, app, tensors, card, report, bars):
    prompt, tokens = 256, 64
    ids = ",".join(str(100 + i % 150) for i in range(prompt))
    done = common.run([app, "generate", "--ids", ids, "-n", tokens, "--temp", 0, "-t", a.threads, "--json"])
    positions = prompt + len(json.loads(done.out)["ids"])
    need = (report["weight_bytes"] + positions * kv_bytes(tensors, card["kv_cache"])) / 2 ** 20
    peer = None
    bench = common.peer_tool(a.peers, "llama", "llama-bench")
    if bench:
        peer = common.run([bench, "-m", a.model, "-p", 0, "-n", tokens, "-d", prompt, "-r", 1, "-t", a.threads]).peak_mb
    return [Row("resident memory", done.peak_mb, "MiB", peer, "llama-bench" if peer else ""),
            Row("  of weights + KV cache", done.peak_mb / need, "x", bar=bars["resident"], most=True)]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--peers", help="folder with llama/bin and ik/bin")
    p.add_argument("--ingot", help="the compiler (default: build*/ingot of this repository)")
    p.add_argument("--options", type=str.split, default=[], help="options of ingot compile, one string")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--prompt", type=int, nargs="*", default=[512])
    p.add_argument("--tokens", type=int, nargs="*", default=[64, 128])
    p.add_argument("--depths", type=int, nargs="*", default=[0])
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--quiet", type=float, default=0.1, help="share of the machine others may use in a quiet run")
    p.add_argument("--patience", type=float, default=60, help="seconds to wait for quiet runs, each figure")
    p.add_argument("--nice", type=int, default=0, help="niceness of the measured processes (below 0: as root)")
    p.add_argument("--cpu-time", action="store_true",
                   help="speeds by processor time; with --threads 1, on a busy machine")
    p.add_argument("--only", nargs="*", default=["compile", "start", "resident", "speed"])
    p.add_argument("--bars", choices=sorted(BARS), default="3")
    p.add_argument("--bar", action="append", default=[], metavar="NAME=X",
                   help="another limit: " + ", ".join(BARS["3"]))
    p.add_argument("--json", metavar="FILE", help="all figures and samples ('-': standard output)")
    a = p.parse_args()
    if a.cpu_time and a.threads != 1:
        p.error("--cpu-time needs --threads 1: threads that wait for each other spin")
    if a.cpu_time and any(a.depths):
        p.error("--cpu-time takes the share of the whole process, of which most is filling the cache; use --depths 0")
    return a


def main():
    a = arguments()
    ingot = common.find_ingot(a.ingot)
    bars = BARS[a.bars] | {k: float(v) for k, v in (b.split("=") for b in a.bar)}
    log, machine = [], common.machine()
    with tempfile.TemporaryDirectory() as folder:
        app = pathlib.Path(folder) / "app"
        rows, report = compile_rows(a, ingot, app, bars)
        if "compile" not in a.only:
            rows = []
        tensors, card = common.inspect(ingot, a.model)["tensors"], common.inspect(ingot, app)
        if "start" in a.only:
            rows += start_rows(a, app, bars, log)
        if "resident" in a.only:
            rows += resident_rows(a, app, tensors, card, report, bars)
        if "speed" in a.only:
            rows += speed_rows(a, app, bars, log)
    if a.json != "-":
        print(f"{card['name']}, {a.threads} threads, {machine['cpu']} ({' '.join(machine['isa'])}), "
              f"load {machine['load']:.1f}, options {' '.join(a.options) or 'none'}")
        common.print_rows(rows)
    common.write_json(a.json, {"model": card, "machine": machine, "threads": a.threads, "options": a.options,
                               "rows": [r.as_json() for r in rows], "samples": log})


if __name__ == "__main__":
    main()
