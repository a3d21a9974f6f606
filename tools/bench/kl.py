#!/usr/bin/env python3
"""How far a compiled GGUF is from the fp32 run of the same weights: tools/bench/kl.py MODEL.gguf [--peers DIR]

The weights are dequantised to fp32 and run in Transformers (reference.py); our logits come from `app tensors`,
llama.cpp's (DIR made by ../shared/peers/build DIR) from llama-perplexity, which saves the log-probabilities of the
second half of each row in 16 bits. On the same token ids, for every variant of compile options, it prints the mean and
the 99 % quantile of KL(reference || ours) in nats, how often the most probable token is the same, and the largest error
of a logit: over the second halves (rows of 512: 255 positions each, so that llama.cpp stands beside it) and over all.

The text is English prose that every Python 3 carries: the language reference behind help(), pydoc_data.topics, of which
only whole paragraphs of sentences are taken, no code and no lists; --text FILE takes any other. Row for row is run, so
memory holds one row of logits. Bars: issue 3's for SmolLM2, or --max-kl, --min-same.
Needs torch, transformers, gguf, safetensors, numpy."""
import argparse
import hashlib
import json
import pathlib
import re
import subprocess
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

import common

BLOCK = 64  # positions whose probabilities are held in float64 at once
VARIANTS = ["", "--act i8", "--kv f32", "--kv q8_0"]


def ordinary_text():
    from pydoc_data.topics import topics
    kept = []
    for name in sorted(topics):
        for paragraph in re.split(r"\n\s*\n", topics[name]):
            flat = " ".join(paragraph.split())
            letters = sum(c.isalpha() or c == " " for c in flat)
            if len(flat) > 200 and flat.endswith(".") and letters > 0.93 * len(flat) and paragraph[0].isupper():
                kept.append(flat)
    return "\n\n".join(kept)


def tokenize(app, text, special):
    flags = [] if special else ["--no-special"]
    done = subprocess.run([app, "tokenize", "--jsonl", *flags], input=json.dumps(text) + "\n", capture_output=True,
                          text=True, check=True)
    return json.loads(done.stdout)


def token_rows(app, text, rows, length):
    """Rows of ids; each begins with the token that the tokenizer puts first, if it does."""
    ids, with_special = tokenize(app, text, False), tokenize(app, "a", True)
    if len(ids) < rows * length:
        common.die(f"the text has {len(ids)} tokens (expected at least {rows * length})")
    table = np.array(ids[:rows * length], dtype=np.int64).reshape(rows, length)
    if with_special[0] != tokenize(app, "a", False)[0]:
        table[:, 0] = with_special[0]
    return table


# ---- distance --------------------------------------------------------------------------------------------------------

def log_softmax(x):
    x = x.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


class Distance:
    """What was gathered of one contender, position by position."""
    def __init__(self):
        self.kl, self.same, self.error, self.largest, self.half = [], [], [], 0.0, []

    def add(self, reference, logits, second_half, logprobs=False):
        """`logprobs`: log-probabilities in place of logits, nan where they are unknown and too small to count."""
        for i in range(0, len(reference), BLOCK):
            want, have = reference[i:i + BLOCK], logits[i:i + BLOCK]
            p, q = log_softmax(want), have.astype(np.float64) if logprobs else log_softmax(have)
            self.kl += np.nansum(np.exp(p) * (p - q), axis=1).tolist()
            self.same += (want.argmax(axis=1) == np.nanargmax(have, axis=1)).tolist()
            self.error += [np.nan] * len(want) if logprobs else np.abs(want - have).max(axis=1).tolist()
            self.largest = max(self.largest, float(np.abs(want).max()))
            self.half += second_half[i:i + BLOCK].tolist()

    def summary(self, half_only):
        take = np.array(self.half) if half_only else np.ones(len(self.half), bool)
        kl = np.array(self.kl)[take]
        error = np.array(self.error)[take].max()
        error = None if np.isnan(error) else float(error)
        return {"positions": int(take.sum()), "kl": float(kl.mean()), "kl_99": float(np.quantile(kl, 0.99)),
                "kl_max": float(kl.max()), "same_top": 100 * float(np.array(self.same)[take].mean()),
                "logit_error": error, "relative": error and error / self.largest}


# ---- contenders ------------------------------------------------------------------------------------------------------

def our_logits(app, ids, folder, threads):
    given, made = folder / "in.safetensors", folder / "out.safetensors"
    save_file({"input_ids": ids[None]}, given)
    common.run([app, "tensors", "--in", given, "--out", made, "-t", threads])
    return load_file(made)["logits"][0]


class LlamaDump:
    """The file llama-perplexity saves: "_logits_", n_ctx, n_vocab, n_chunk, ids; then for every counted position a
    float scale, a float minimum and n_vocab 16-bit steps from it, padded to even. The minimum is 16 nats below the
    largest, what lies lower has 0 steps: together some 1e-4 of the probability, of which nothing is known."""
    def __init__(self, tool, model, text, table, folder, threads):
        rows, length = table.shape
        (folder / "text").write_text(text, encoding="utf-8")
        path = folder / "dump"
        common.run([tool, "-m", model, "-f", folder / "text", "-c", length, "-b", length, "--chunks", rows,
                    "-t", threads, "--kl-divergence-base", path])
        head = np.fromfile(path, np.int32, 3, offset=8)
        self.vocab, ids = int(head[1]), np.fromfile(path, np.int32, rows * length, offset=20).reshape(rows, length)
        if head[0] != length or head[2] != rows or (ids[:, 1:] != table[:, 1:]).any():
            common.die("llama.cpp splits the text into other tokens; leave --peers out")
        self.first, self.count = length // 2, length - 1 - length // 2
        self.width = 2 * ((self.vocab + 1) // 2) + 4
        self.data = np.memmap(path, np.uint16, "r", 20 + 4 * rows * length).reshape(rows, self.count, self.width)

    def row(self, r):
        data = np.array(self.data[r])
        scale, least = data[:, :2].copy().view(np.float32), data[:, 2:4].copy().view(np.float32)
        steps = data[:, 4:4 + self.vocab]
        return np.where(steps == 0, np.float32(np.nan), steps * scale + least)


def measure(a, folder):
    import reference  # late: --help and wrong options need no torch
    ingot, apps = common.find_ingot(a.ingot), {}
    for i, options in enumerate(a.variants):
        apps[options or "default"] = folder / f"app{i}"
        common.compile_model(ingot, a.model, folder / f"app{i}", options.split())
    text = pathlib.Path(a.text).read_text(encoding="utf-8") if a.text else ordinary_text()
    table = token_rows(next(iter(apps.values())), text, a.rows, a.length)
    tool = common.peer_tool(a.peers, "llama", "llama-perplexity")
    dump = LlamaDump(tool, a.model, text, table, folder, a.threads) if tool else None
    model, _ = reference.load(a.model)
    found = {name: Distance() for name in apps}
    if dump:
        found["llama.cpp"] = Distance()
    half = np.zeros(a.length, bool)
    half[a.length // 2:a.length - 1] = True
    for r in range(a.rows):
        want = reference.logits(model, table[r].tolist())
        for name, app in apps.items():
            found[name].add(want, our_logits(app, table[r], folder, a.threads), half)
        if dump:
            found["llama.cpp"].add(want[half], dump.row(r), half[half], logprobs=True)
    return found, hashlib.sha256(text.encode()).hexdigest()[:12]


def report(a, found, text_hash):
    rows, results, failed = [], {}, False
    for name, distance in found.items():
        results[name] = {}
        for part, half_only in (("second halves", True), ("all", False)):
            if name == "llama.cpp" and not half_only:
                continue
            s = results[name][part] = distance.summary(half_only)
            ok = s["kl"] <= a.max_kl and s["same_top"] >= a.min_same
            failed |= name == "default" and not ok
            verdict = ("pass" if ok else "MISS") if name == "default" else "-"
            error = ["-", "-"]
            if s["logit_error"] is not None:
                error = [f"{s['logit_error']:.3g}", f"{100 * s['relative']:.3g} %"]
            rows.append([name, part, str(s["positions"]), f"{s['kl']:.3g}", f"{s['kl_99']:.3g}", f"{s['kl_max']:.3g}",
                         f"{s['same_top']:.2f} %", *error, verdict])
    if a.json != "-":
        print(f"{a.model.split('/')[-1]}, rows of {a.length}, text {a.text or 'pydoc_data.topics'} ({text_hash}), "
              f"bar of the default: mean KL <= {a.max_kl:g}, same top >= {a.min_same:g} %")
        print(common.table(["variant", "positions", "n", "mean KL", "99 %", "largest KL", "same top", "logit error",
                            "of largest", ""], rows))
    common.write_json(a.json, {"model": a.model.split("/")[-1], "text": text_hash, "results": results})
    return failed


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--peers", help="folder with llama/bin")
    p.add_argument("--ingot", help="the compiler (default: build*/ingot of this repository)")
    p.add_argument("--variants", nargs="*", default=VARIANTS, metavar="OPTIONS",
                   help="options of ingot compile, one string a variant ('': the defaults)")
    p.add_argument("--text", help="a UTF-8 file instead of Python's language reference")
    p.add_argument("--rows", type=int, default=6)
    p.add_argument("--length", type=int, default=512)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--max-kl", type=float, default=0.0002)
    p.add_argument("--min-same", type=float, default=99.5)
    p.add_argument("--json", metavar="FILE", help="all results ('-': standard output)")
    a = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, text_hash = measure(a, pathlib.Path(folder))
    raise SystemExit(report(a, found, text_hash))


if __name__ == "__main__":
    main()
