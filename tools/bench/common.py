"""What the benches share: timed processes, medians over quiet runs, tables, where programs are found.

A measured process is waited for by wait4, which gives its processor time and its peak resident memory (file pages
included). Whoever else computes on the machine spoils a measurement, so every run also notes how much of the machine
others used meanwhile; `quiet_median` prefers the runs that were left alone and says when there were too few of them.
Standard library only."""
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
CORES = len(os.sched_getaffinity(0))
ENOUGH = 3  # quiet runs that make a median


@dataclass
class Run:
    wall: float    # seconds from start to exit
    first: float   # seconds from start to the first byte on standard output, or `wall`
    cpu: float     # processor seconds, user and system
    peak_mb: float
    others: float  # share of the machine's processors that other processes used meanwhile
    out: str
    err: str


def die(message):
    sys.exit(f"{pathlib.Path(sys.argv[0]).name}: error: {message}")


def busy_seconds():
    """Processor seconds the whole machine has spent working, and those taken by a hypervisor."""
    fields = open("/proc/stat", encoding="ascii").readline().split()[1:]
    user, nice, system, _idle, _wait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def run(command, nice=0):
    """Runs to the end; an exit code other than 0 ends the bench with the process's own words."""
    command = [str(c) for c in command]
    before, start = busy_seconds(), time.perf_counter()
    with tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err)
        if nice:
            os.setpriority(os.PRIO_PROCESS, process.pid, nice)
        out = os.read(process.stdout.fileno(), 1)
        first = time.perf_counter() - start
        out += process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        process.stdout.close()
        err.seek(0)
        message = err.read().decode(errors="replace")
    if process.returncode:
        die(f"{' '.join(command)}: exit {process.returncode}\n{message[-1500:]}")
    cpu = usage.ru_utime + usage.ru_stime
    others = max(0.0, busy_seconds() - before - cpu) / wall / (os.cpu_count() or 1)
    return Run(wall, first, cpu, usage.ru_maxrss / 1024, others, out.decode(errors="replace"), message)


@dataclass
class Sample:
    value: float
    others: float
    note: object = None


def quiet_median(samples, limit):
    """(median of the samples taken while others used at most `limit`, or of all; whether it was quiet)."""
    quiet = [s.value for s in samples if s.others <= limit]
    enough = len(quiet) >= min(ENOUGH, len(samples))
    return statistics.median(quiet if enough else [s.value for s in samples]), enough


def interleave(contenders, rounds, limit, patience):
    """{name: [Sample]}: runs A B C A B C .. until each has `rounds` quiet samples or `patience` seconds are gone.

    A contender is a function that measures once and returns a Sample."""
    samples, start = {name: [] for name in contenders}, time.monotonic()
    while True:
        for name, measure in contenders.items():
            samples[name].append(measure())
        least = min(len(s) for s in samples.values())
        quiet = min(sum(x.others <= limit for x in s) for s in samples.values())
        if least >= rounds and (quiet >= min(rounds, ENOUGH) or time.monotonic() - start > patience):
            return samples


# ---- results ---------------------------------------------------------------------------------------------------------

@dataclass
class Row:
    """One figure. `bar` is a limit of `ours`, or of ours / peer where `of_ratio`; `most` means not above it."""
    what: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    bar: float | None = None
    of_ratio: bool = False
    most: bool = False
    quiet: bool = True

    @property
    def ratio(self):
        return self.ours / self.peer if self.peer else None

    @property
    def passed(self):
        value = self.ratio if self.of_ratio else self.ours
        if self.bar is None or value is None:
            return None
        return value <= self.bar if self.most else value >= self.bar

    def as_json(self):
        return {k: v for k, v in self.__dict__.items()} | {"ratio": self.ratio, "passed": self.passed}


def figure(value):
    if value is None:
        return "-"
    if value == 0 or 0.01 <= abs(value) < 10000:
        return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{value:.3g}"


def table(head, rows):
    rows = [head] + [[c if isinstance(c, str) else figure(c) for c in r] for r in rows]
    width = [max(len(r[i]) for r in rows) for i in range(len(head))]
    lines = ["  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, width))) for r in rows]
    return "\n".join([lines[0], "-" * len(lines[0])] + lines[1:])


def print_rows(rows):
    lines = []
    for r in rows:
        bar = "-" if r.bar is None else f"{'<=' if r.most else '>='} {figure(r.bar)}{'x' if r.of_ratio else ''}"
        verdict = "-" if r.passed is None else "pass" if r.passed else "MISS"
        lines.append([r.what, r.ours, r.unit, r.peer, r.peer_name or "-", r.ratio, bar, verdict,
                      "" if r.quiet else "disturbed"])
    print(table(["figure", "ours", "unit", "peer", "which", "ours/peer", "bar", "", ""], lines))


def write_json(path, value):
    text = json.dumps(value, indent=1)
    if path == "-":
        print(text)
    elif path:
        pathlib.Path(path).write_text(text + "\n", encoding="utf-8")


# ---- the machine, the compiler, the peers ----------------------------------------------------------------------------

def machine():
    info = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    name = re.search(r"model name\s*:\s*(.*)", info)
    flags = (re.search(r"flags\s*:\s*(.*)", info) or [None, ""])[1].split()
    wanted = [f for f in ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_int8") if f in flags]
    return {"cpu": name[1] if name else "?", "cores": CORES, "isa": wanted, "load": os.getloadavg()[0]}


def find_ingot(given):
    candidates = [pathlib.Path(given)] if given else sorted(ROOT.glob("build*/ingot"), key=lambda p: p.name != "build")
    for path in candidates:
        if os.access(path, os.X_OK) and path.is_file():
            return path
    die(f"no compiler at {given or 'build/ingot'}; build it, or name it with --ingot")


def compile_model(ingot, model, out, options=()):
    """(the compiler's own JSON report, Run)"""
    done = run([ingot, "compile", model, "-o", out, "-q", "--json", *options])
    return json.loads(done.out), done


def inspect(ingot, file):
    return json.loads(run([ingot, "inspect", "--json", file]).out)


def peer_tool(peers, peer, tool):
    """The path of DIR/PEER/bin/TOOL as ../shared/peers/build leaves it, or None."""
    path = pathlib.Path(peers) / peer / "bin" / tool if peers else None
    return path if path and os.access(path, os.X_OK) else None
