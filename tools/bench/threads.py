#!/usr/bin/env python3
"""How a compiled program and llama.cpp behave when threads and cores don't match: tools/bench/threads MODEL.gguf

Decode (and with --prompt prefill) in tokens/s, everything in turn, A B C A B C, medians:

  threads      1, as many as cores, one more, twice and four times as many
  quota        a cgroup that may use the time of one core while the process sees all: the program's own choice of
               threads, then as many threads as cores (needs a writable cgroup: root, v1 or v2)
  neighbour    another process that computes all the time, pinned to one core; then one on every core
  starved      all threads but the first share a core with four processes that compute all the time

Bars: never more than 5 % below one thread where the cores are there; with a neighbour on one core not below one thread
on a machine that has another free core; elsewhere the row shows how the peer fares. The peer is llama.cpp with
the same number of threads in the same situation (`--peers DIR`, made by ../shared/peers/build DIR). Needs Linux and two
cores at least. Standard library only."""
import argparse
import contextlib
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import common
from common import Row

CPUS = sorted(os.sched_getaffinity(0))
BURN = "import os,sys\nos.sched_setaffinity(0, {int(sys.argv[1])})\nwhile True: pass"


@contextlib.contextmanager
def neighbours(cpus):
    """Processes that compute all the time, one for every entry of `cpus`."""
    burning = [subprocess.Popen([sys.executable, "-c", BURN, str(c)]) for c in cpus]
    time.sleep(0.2 if burning else 0)
    try:
        yield
    finally:
        for process in burning:
            process.kill()
            process.wait()


def make_quota():
    """(a cgroup with the time of one core, the file that takes processes), or None where that can't be made."""
    for root, write in (("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "100000"}),
                        ("/sys/fs/cgroup", {"cpu.max": "100000 100000"})):
        group = pathlib.Path(root) / f"ingot-bench-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for name, text in write.items():
                (group / name).write_text(text, encoding="ascii")
            return group
        except OSError:
            group.rmdir()
    return None


class Quota:
    """A context in which `wrap` puts a command into a cgroup of one core's time."""
    def __init__(self):
        self.group = make_quota()

    def wrap(self, command):
        if not self.group:
            return command
        return ["sh", "-c", f'echo $$ > {self.group}/cgroup.procs && exec "$@"', "sh", *command]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.group:
            time.sleep(0.1)  # the last process has to be gone
            self.group.rmdir()


def tokens(a):
    return ["-p", a.prompt, "-n", 0] if a.prompt else ["-p", 0, "-n", a.tokens]


def ours(a, app, threads, wrap=list):
    """One run: (tokens/s, threads). threads None: the program's own choice."""
    flags = [] if threads is None else ["-t", threads]
    report = json.loads(common.run(wrap([app, "bench", *tokens(a), "-r", 1, *flags, "--json"])).out)
    return report["pp" if a.prompt else "tg"], report["threads"]


def peer(a, threads, wrap=list):
    tool = common.peer_tool(a.peers, "llama", "llama-bench")
    done = common.run(wrap([tool, "-m", a.model, *tokens(a), "-t", threads, "-r", 1, "-o", "json"]))
    return json.loads(done.out)[-1]["avg_ts"], threads


def starved(a, app, threads):
    """All threads but the first on the last core, which four processes burn too.

    The program starts alone on that core; its first thread is then let go."""
    command = [str(c) for c in [app, "bench", *tokens(a), "-r", 3, "-t", threads, "--json"]]
    with neighbours([CPUS[-1]] * 4):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 5
        while len(os.listdir(f"/proc/{process.pid}/task")) < threads and time.monotonic() < deadline:
            time.sleep(0.0005)
        for thread in os.listdir(f"/proc/{process.pid}/task"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread), {CPUS[0] if int(thread) == process.pid else CPUS[-1]})
        out = process.communicate()[0]
    report = json.loads(out)
    return report["pp" if a.prompt else "tg"], report["threads"]


def situations(a, app, quota):
    """[(name, function of no arguments that measures ours, the peer's or None, bar of ours to one thread or None)]"""
    n, rows = len(CPUS), []
    with_peer = common.peer_tool(a.peers, "llama", "llama-bench") is not None

    def add(name, threads, bar, cpus=(), wrap=list, peer_threads=None):
        def measure(what):
            with neighbours(cpus):
                return what()
        theirs = (lambda: measure(lambda: peer(a, threads or peer_threads, wrap))) if with_peer else None
        rows.append((name, lambda: measure(lambda: ours(a, app, threads, wrap)), theirs, bar))
    add("1 thread", 1, None)
    for threads in (n, n + 1, 2 * n, 4 * n):
        add(f"{threads} threads", threads, 0.95)
    add("own choice of threads", None, 0.95, peer_threads=n)
    if quota.group:
        add("quota of one core, own choice", None, 0.9, wrap=quota.wrap, peer_threads=n)
        add(f"quota of one core, {n} threads", n, None, wrap=quota.wrap)
    add(f"a neighbour on one core, {n} threads", n, 0.95, [CPUS[-1]])
    add(f"a neighbour on every core, {n} threads", n, None, CPUS)
    add("a neighbour on every core, 1 thread", 1, None, CPUS)
    rows.append((f"all but one of {n} threads starved", lambda: starved(a, app, n), None, None))
    return rows


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--peers", help="folder with llama/bin")
    p.add_argument("--ingot", help="the compiler (default: build*/ingot of this repository)")
    p.add_argument("--options", type=str.split, default=[], help="options of ingot compile, one string")
    p.add_argument("--tokens", type=int, default=48, help="decoded in a run")
    p.add_argument("--prompt", type=int, default=0, help="measure prefill of so many tokens instead")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--json", metavar="FILE", help="all figures and samples ('-': standard output)")
    return p.parse_args()


def main():
    a = arguments()
    if len(CPUS) < 2:
        common.die("needs two cores")
    with tempfile.TemporaryDirectory() as folder, Quota() as quota:
        app = pathlib.Path(folder) / "app"
        common.compile_model(common.find_ingot(a.ingot), a.model, app, a.options)
        rows = situations(a, app, quota)
        samples = {name: ([], []) for name, *_ in rows}
        for _ in range(a.rounds):
            for name, mine, theirs, _ in rows:
                samples[name][0].append(mine())
                if theirs:
                    samples[name][1].append(theirs())
    median = {name: [statistics.median(x for x, _ in s) if s else None for s in both] for name, both in samples.items()}
    base, lines = median["1 thread"][0], []
    for name, _, _, bar in rows:
        mine, theirs = median[name]
        share = mine / base
        lines.append([name, samples[name][0][-1][1], mine, share, theirs, mine / theirs if theirs else None,
                      f">= {bar}" if bar else "-", "-" if bar is None else "pass" if share >= bar else "MISS"])
    if a.json != "-":
        machine, what = common.machine(), f"prefill of {a.prompt}" if a.prompt else "decode"
        print(f"{pathlib.Path(a.model).name}, {what}, {machine['cpu']}, {len(CPUS)} cores, load {machine['load']:.1f}")
        if not quota.group:
            print("no quota: no writable cgroup here")
        print(common.table(["situation", "threads", "tokens/s", "to one", "llama.cpp", "ours/peer", "bar", ""], lines))
    common.write_json(a.json, {"model": a.model, "machine": common.machine(), "prompt": a.prompt,
                               "rows": [dict(zip(("situation", "threads", "ours", "to_one", "peer", "ratio"), x))
                                        for x in lines],
                               "samples": samples})


if __name__ == "__main__":
    main()
