#!/usr/bin/env python3
"""The benches themselves: bench_test.py INGOT SOURCE_DIR

Medians and bars of tools/bench/common.py on made-up samples, and a whole run of tools/bench/llm on the example model
without peers, whose figures must agree with each other. Standard library only."""
import json
import pathlib
import subprocess
import sys

INGOT, SOURCE = sys.argv[1], pathlib.Path(sys.argv[2])
sys.path.insert(0, str(SOURCE / "tools" / "bench"))
import common  # noqa: E402
from common import Row, Sample  # noqa: E402


def test_quiet_runs_count():
    disturbed = [Sample(1, 0.9)] * 4
    assert common.quiet_median(disturbed + [Sample(v, 0.0) for v in (10, 30, 20)], 0.1) == (20, True)
    assert common.quiet_median(disturbed + [Sample(10, 0.0)], 0.1) == (1, False)


def test_interleaving():
    order = []
    samples = common.interleave({n: lambda n=n: order.append(n) or Sample(1, 0.0) for n in "ab"}, 3, 0.1, 0)
    assert order == list("ababab") and len(samples["a"]) == 3


def test_bars():
    assert Row("", 9, "", 10, bar=0.9, of_ratio=True).passed
    assert not Row("", 8, "", 10, bar=0.9, of_ratio=True).passed
    assert Row("", 2.1, "", bar=2, most=True).passed is False
    assert Row("", 2.1, "", bar=2, of_ratio=True).passed is None  # no peer, no verdict
    assert Row("", 2.1, "").passed is None


def test_run_measures_the_process():
    code = "import time; x = bytearray(80 << 20); print(chr(97), flush=True); time.sleep(0.3)"
    done = common.run([sys.executable, "-c", code])
    assert done.out == "a\n" and done.wall >= 0.3 and done.first <= done.wall - 0.3
    assert 80 <= done.peak_mb <= 140, done.peak_mb


def test_whole_run():
    command = [SOURCE / "tools" / "bench" / "llm", SOURCE / "examples" / "metals", "--ingot", INGOT, "--rounds", "1",
               "--threads", "1", "--prompt", "64", "--tokens", "16", "--patience", "0", "--json", "-",
               "--options", "--cpu native"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    rows = {r["what"]: r for r in report["rows"]}
    assert all(r["ours"] > 0 for r in rows.values()), rows
    assert rows["program less weights"]["passed"] and rows["prefill 64 at depth 0"]["passed"] is None
    sample = report["samples"][-1]
    assert sample["what"] == "decode" and sample["samples"]["ours"][0][0] == rows["decode 16 at depth 0"]["ours"]


for name, test in list(globals().items()):
    if name.startswith("test_"):
        test()
        print(name, "ok")
