#!/usr/bin/env python3
"""Speed of a compiled encoder beside ONNX Runtime: python3 tools/bench/encoder.py FOLDER [--shapes 1x16 8x128 ..] [--int8]

Compiles FOLDER (a Transformers bert model, safetensors) with --quant none --act f32, exports it to ONNX and runs both in
turn, A B A B, on batches of equal lengths. ONNX Runtime runs at its best setting: the graph as exported and the one that
its transformers optimizer makes (fused attention), all graph optimizations on, the better median counts. The machine's
FMA peak is measured by a loop of independent fused multiply-adds on as many threads, by processor time. With --int8 ours is
--quant q8_0 --act i8, and ONNX Runtime's dynamic int8 of both graphs competes too.

--ragged N: N generated sentences of mixed lengths; ours is the whole of `embed --jsonl`, texts in and vectors out as JSON,
ONNX Runtime's the running alone, of batches sorted by length and padded, at the best of four batch sizes. --cosine N: how
near the vectors of N sentences are to ONNX Runtime's in fp32 (mean pooling); below 0.999 anywhere is a MISS.

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
from sentences import sentences

WORKER = r"""
import json, sys, time
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads, options.inter_op_num_threads = int(sys.argv[2]), 1
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
names = [i.name for i in session.get_inputs()]
def fed(rows):
    data = {n: np.zeros((len(rows), max(map(len, rows))), np.int64) for n in ("input_ids", "attention_mask", "token_type_ids")}
    for i, row in enumerate(rows):
        data["input_ids"][i, :len(row)] = row
        data["attention_mask"][i, :len(row)] = 1
    return {n: data[n] for n in names}
for line in sys.stdin:
    asked = json.loads(line)
    feeds, times, vectors = [fed(b) for b in asked["batches"]], [], []
    for _ in range(asked["repeat"] + 1):
        start, cpu = time.perf_counter(), time.process_time()
        states = [session.run(None, f)[0] for f in feeds]
        times.append([time.perf_counter() - start, time.process_time() - cpu])
    for s, f in zip(states, feeds) if asked["vectors"] else []:
        mask = f["attention_mask"][..., None]
        v = (s * mask).sum(1) / mask.sum(1)
        vectors += (v / np.linalg.norm(v, axis=1, keepdims=True)).tolist()
    print(json.dumps({"times": times[1:], "vectors": vectors}), flush=True)
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
static int order(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}
int main(int argc, char **argv) {
  int n = atoi(argv[1]);
  double speed[8]; /* the third best counts: processor time is told in steps on some machines */
  for (int r = 0; r < 8; r++) {
    pthread_t t[64];
    struct timespec a, b;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < n; i++) pthread_create(&t[i], NULL, work, sink[i]);
    for (int i = 0; i < n; i++) pthread_join(t[i], NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + 1e-9 * (double)(b.tv_nsec - a.tv_nsec);
    speed[r] = 2e-9 * n * W * CHAINS * STEPS / (s / n);
  }
  qsort(speed, 8, sizeof speed[0], order);
  printf("%f\n", speed[5]);
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


def quantized(found, work):
    """The same graphs in ONNX Runtime's dynamic int8, beside them."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    for name, path in list(found.items()):
        to = pathlib.Path(work, path.stem + "-int8.onnx")
        quantize_dynamic(path, to, weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})
        found[name + ", int8"] = to
    return found


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

    def run(self, batches, repeat, vectors=False):
        self.process.stdin.write(json.dumps({"batches": batches, "repeat": repeat, "vectors": vectors}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def times(self, rows, length, repeat):
        return self.run([[[(i * 7919 + 13) % 30000 for i in range(length)]] * rows], repeat)["times"]


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


def token_ids(folder, texts):
    from transformers import AutoTokenizer
    path = pathlib.Path(folder, "sentence_bert_config.json")
    most = json.loads(path.read_text(encoding="utf-8"))["max_seq_length"] if path.exists() else 512
    return AutoTokenizer.from_pretrained(folder)(texts, truncation=True, max_length=most)["input_ids"]


def embedded(app, threads, texts):
    """(the vectors, seconds of the whole process)"""
    lines = "".join(json.dumps(t) + "\n" for t in texts)
    start = common.time.perf_counter()
    out = subprocess.run([app, "embed", "--jsonl", "-t", str(threads)], input=lines, capture_output=True, text=True, check=True)
    seconds = common.time.perf_counter() - start
    return [json.loads(line) for line in out.stdout.splitlines()], seconds


def ragged_row(a, app, peers):
    texts = sentences(a.ragged)
    rows = sorted(token_ids(a.model, texts), key=len)
    lengths = [len(r) for r in rows]
    print(f"  {len(rows)} sentences of {lengths[0]} to {lengths[-1]} tokens, {sum(lengths) / len(rows):.1f} on average")

    def ours():
        seconds = embedded(app, a.threads, texts)[1]
        return 1e3 * seconds, 1e3 * seconds, None

    def theirs(peer, size):
        seconds = peer.run([rows[i:i + size] for i in range(0, len(rows), size)], 1)["times"][0][0]
        return 1e3 * seconds, 1e3 * seconds, None

    contenders = {"ours": measured(a, ours)}
    for n, p in peers.items():
        contenders |= {f"{n}, {size} a batch": measured(a, lambda p=p, size=size: theirs(p, size)) for size in (1, 8, 32, 128)}
    samples = common.interleave(contenders, min(a.rounds, 3), a.quiet, a.patience)
    result = {n: (min(x.value for x in s), True) if a.best else common.quiet_median(s, a.quiet) for n, s in samples.items()}
    name = min((n for n in result if n != "ours"), key=lambda n: result[n][0])
    mine, quiet = result["ours"]
    return Row(f"{len(rows)} sentences, {a.threads} threads", 1e3 * len(rows) / mine, "sentences/s", 1e3 * len(rows) / result[name][0],
               f"ONNX Runtime, {name}", a.bar, True, quiet=quiet and result[name][1])


def cosine_row(a, app, peer):
    texts = sentences(a.cosine)
    mine = embedded(app, a.threads, texts)[0]
    want = peer.run([[ids] for ids in token_ids(a.model, texts)], 0, True)["vectors"]
    cosines = sorted(sum(x * y for x, y in zip(v, w)) for v, w in zip(mine, want))
    print(f"  cosine to fp32 over {len(cosines)} sentences: least {cosines[0]:.6f}, median {cosines[len(cosines) // 2]:.6f}")
    return Row(f"least cosine to fp32, {len(cosines)} sentences", cosines[0], "", 1.0, "ONNX Runtime, fp32", 0.999, True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--ingot")
    parser.add_argument("--options", help="of the compiler, instead of those for fp32 or int8")
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--shapes", nargs="*", default=["1x16", "1x128", "8x128", "32x128"])
    parser.add_argument("--ragged", type=int, default=0, metavar="N")
    parser.add_argument("--cosine", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeat", type=int, default=7, help="batches of one round")
    parser.add_argument("--quiet", type=float, default=0.1)
    parser.add_argument("--patience", type=float, default=60)
    parser.add_argument("--best", action="store_true", help="compare the fastest runs, not medians")
    parser.add_argument("--cpu-time", action="store_true", help="processor time; with --threads 1")
    parser.add_argument("--bar", type=float, help="default: 1.2, and 3 of int8")
    parser.add_argument("--json")
    a = parser.parse_args()
    a.options = a.options or ("--quant q8_0 --act i8" if a.int8 else "--quant none --act f32")
    a.bar = a.bar or (3 if a.int8 else 1.2)
    with tempfile.TemporaryDirectory() as work:
        app = pathlib.Path(work, "app")
        common.compile_model(common.find_ingot(a.ingot), a.model, app, a.options.split())
        graphs = export(a.model, work)
        peers = {n: Peer(p, a.threads) for n, p in (quantized(graphs, work) if a.int8 else graphs).items()}
        peak = fma_peak(work, a.threads)
        rows = [shape_row(a, app, peers, s, peak) for s in a.shapes]
        if a.ragged:
            rows.append(ragged_row(a, app, peers))
        if a.cosine:
            rows.append(cosine_row(a, app, peers["as exported"]))
        for p in peers.values():
            p.process.stdin.close()
    common.print_rows(rows)
    common.write_json(a.json, {"machine": common.machine(), "fma_peak_gflops": peak, "rows": [r.as_json() for r in rows]})


main()
