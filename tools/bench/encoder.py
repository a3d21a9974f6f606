#!/usr/bin/env python3
"""Speed of a compiled fp32 encoder beside ONNX Runtime: python3 tools/bench/encoder.py FOLDER [--shapes 1x16 8x128 ..]

Compiles FOLDER (a Transformers bert model, safetensors) with --quant none --act f32, exports it to ONNX and runs both in
turn, A B A B, on batches of equal lengths. ONNX Runtime runs at its best setting: the graph as exported and the one that
its transformers optimizer makes (fused attention), all graph optimizations on, the better median counts. The machine's
FMA peak is measured by a loop of independent fused multiply-adds on as many threads, by processor time.

Medians come from quiet runs, as in the other benches; --best compares the fastest run of each instead, --cpu-time (one thread)
the processor's time, for a machine that is never idle. Needs torch, transformers, onnx, onnxruntime and, for the peak, gcc."""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

import common
from common import Row, Sample

WORKER = r"""
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = int(sys.argv[2]), 1
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names = [i.name for i in session.get_inputs()]
for line in sys.stdin:
    rows, length, repeat = map(int, line.split())
    ids = (np.arange(length) * 7919 + 13) % 30000
    data = {"input_ids": np.tile(ids, (rows, 1)), "attention_mask": np.ones((rows, length)),
            "token_type_ids": np.zeros((rows, length))}
    feed = {n: data[n].astype(np.int64) for n in names}
    times = []
    for _ in range(repeat + 1):
        start, cpu = time.perf_counter(), time.process_time()
        session.run(None, feed)
        times.append([time.perf_counter() - start, time.process_time() - cpu])
    print(json.dumps(times[1:]), flush=True)
"""
PEAK = r"""
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#ifdef __AVX512F__
enum { W = 16 };
#else
enum { W = 8 };
#endif
typedef float V __attribute__((vector_size(4 * W)));
enum { CHAINS = 12, STEPS = 2000000 };
static V sink[64][CHAINS];
static void *work(void *at) {
  V a[CHAINS], x, y;
  for (int i = 0; i < W; i++) x[i] = 0.999f, y[i] = 0.001f;
  for (int k = 0; k < CHAINS; k++) a[k] = x + (float)k;
  for (int s = 0; s < STEPS; s++)
    for (int k = 0; k < CHAINS; k++) a[k] = a[k] * x + y;
  for (int k = 0; k < CHAINS; k++) ((V *)at)[k] = a[k];
  return NULL;
}
int main(int argc, char **argv) {
  int n = atoi(argv[1]);
  double best = 0;
  for (int r = 0; r < 8; r++) {
    pthread_t t[64];
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < n; i++) pthread_create(&t[i], NULL, work, sink[i]);
    for (int i = 0; i < n; i++) pthread_join(t[i], NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    double g = 2e-9 * n * W * CHAINS * STEPS / (s / n);
    if (g > best) best = g;
  }
  printf("%f\n", best);
  return argc > 2;
}
"""


def fma_peak(work, threads):
    source, program = pathlib.Path(work, "peak.c"), pathlib.Path(work, "peak")
    source.write_text(PEAK, encoding="utf-8")
    try:
        subprocess.run(["gcc", "-O3", "-march=native", "-mprefer-vector-width=512", "-ffast-math", "-pthread", source, "-o", program],
                       check=True, capture_output=True)
        return float(subprocess.run([program, str(threads)], check=True, capture_output=True, text=True).stdout)
    except (OSError, subprocess.CalledProcessError):
        return None


def export(folder, work):
    """Paths of the ONNX files by the name of the variant."""
    import torch
    from transformers import AutoModel
    model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval().float()
    path, names = pathlib.Path(work, "model.onnx"), ["input_ids", "attention_mask", "token_type_ids"]
    sample = tuple(torch.ones(2, 16, dtype=torch.int64) for _ in names)
    axes = {n: {0: "rows", 1: "length"} for n in names + ["last_hidden_state"]}
    torch.onnx.export(model, sample, str(path), input_names=names, output_names=["last_hidden_state"], dynamic_axes=axes,
                      opset_version=17, dynamo=False)
    found = {"as exported": path}
    try:
        from onnxruntime.transformers import optimizer
        fused = pathlib.Path(work, "fused.onnx")
        c = model.config
        optimizer.optimize_model(str(path), model_type="bert", num_heads=c.num_attention_heads,
                                 hidden_size=c.hidden_size).save_model_to_file(str(fused))
        found["fused"] = fused
    except Exception as error:  # the optimizer wants packages of its own
        print(f"no fused graph: {error}", file=sys.stderr)
    return found


class Peer:
    def __init__(self, path, threads):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER, str(path), str(threads)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def times(self, rows, length, repeat):
        self.process.stdin.write(f"{rows} {length} {repeat}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def measured(a, measure):
    """A contender: `measure` gives (median, best, note); how busy others were is told from the machine's counters."""
    def once():
        busy, own, start = common.busy_seconds(), common.time.process_time(), common.time.perf_counter()
        median, best, note = measure()
        wall = common.time.perf_counter() - start
        others = max(0.0, (common.busy_seconds() - busy) / wall - a.threads - common.time.process_time() + own) / common.CORES
        return Sample(best if a.best else median, 0.0 if a.best or a.cpu_time else others, note)
    return once


def shape_row(a, app, peers, shape, peak):
    rows, length = map(int, shape.split("x"))

    def ours():
        report = json.loads(common.run([app, "bench", "-p", length, "-b", rows, "-r", a.repeat, "-t", a.threads, "--json"]).out)
        work = report["gflops"] * report["ms"]
        return (report["cpu_ms"], report["cpu_ms"], work) if a.cpu_time else (report["ms"], report["best_ms"], work)

    def theirs(peer):
        times = [t[a.cpu_time] for t in peer.times(rows, length, a.repeat)]
        return 1e3 * statistics.median(times), 1e3 * min(times), None

    contenders = {"ours": measured(a, ours)} | {n: measured(a, lambda p=p: theirs(p)) for n, p in peers.items()}
    samples = common.interleave(contenders, a.rounds, a.quiet, a.patience)
    result = {n: (min(x.value for x in s), True) if a.best else common.quiet_median(s, a.quiet) for n, s in samples.items()}
    name = min(peers, key=lambda n: result[n][0])
    mine, quiet = result["ours"]
    speed = samples["ours"][0].note / mine
    print(f"  {shape}: {speed:.1f} GFLOP/s" + (f", {100 * speed / peak:.0f}% of the FMA peak {peak:.0f}" if peak else ""))
    return Row(f"{shape}, {a.threads} threads", 1e3 * rows / mine, "sequences/s", 1e3 * rows / result[name][0],
               f"ONNX Runtime, {name}", a.bar, True, quiet=quiet and result[name][1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--ingot")
    parser.add_argument("--options", default="--quant none --act f32")
    parser.add_argument("--shapes", nargs="*", default=["1x16", "1x128", "8x128", "32x128"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=7, help="batches of one round")
    parser.add_argument("--quiet", type=float, default=0.1)
    parser.add_argument("--patience", type=float, default=60)
    parser.add_argument("--best", action="store_true", help="compare the fastest runs, not medians")
    parser.add_argument("--cpu-time", action="store_true", help="processor time; with --threads 1")
    parser.add_argument("--bar", type=float, default=1.2)
    parser.add_argument("--json")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        app = pathlib.Path(work, "app")
        common.compile_model(common.find_ingot(a.ingot), a.model, app, a.options.split())
        peers = {n: Peer(p, a.threads) for n, p in export(a.model, work).items()}
        peak = fma_peak(work, a.threads)
        rows = [shape_row(a, app, peers, s, peak) for s in a.shapes]
        for p in peers.values():
            p.process.stdin.close()
    common.print_rows(rows)
    common.write_json(a.json, {"machine": common.machine(), "fma_peak_gflops": peak, "rows": [r.as_json() for r in rows]})


main()
