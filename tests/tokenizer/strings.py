#!/usr/bin/env python3
"""Generated strings through a compiled program and through Hugging Face: strings.py PROGRAM SOURCE [-n 100000] [--seed 1].

SOURCE is what PROGRAM was compiled from: a folder or tokenizer.json, or a GGUF with SentencePiece scores, whose reference
is rebuilt from the facts in it (make_gguf.py), since Transformers' own reading of a GGUF is none
(a third of its strings come out wrong). Distinct strings of every script, of vocabulary pieces, added tokens, long runs and
raw code points; ids without special tokens, and the text that they decode to, must be equal. Needs tokenizers, and gguf for GGUFs."""
import argparse
import json
import pathlib
import random
import subprocess
import sys

from tokenizers import Tokenizer

import make_gguf

POOLS = [" \t\n\r", "abcdefghijklmnopqrstuvwxyz", "ABCXYZ", "'sStTlLdDmMvVrReE", "0123456789٣", "éüßñøÅÇÀ", "!?.,-_#/(){}[]'\"", "漢字かなカナ한々〇",
         "\u0301\u0323\u0334\u1161\u11a8\u0488\u0344", "😀👍🏽\u200d\ufe0f", "אבגמح\u05bc\u064e", "\u00a0\u2028\u3000\u0085\u200b\ufeff\u00ad",
         "ФыΣσςİıſ", "\x01\x0b\x7f\u0080\ufffd", "ㄱ가각ᄀ"]
WORDS = "the of and to in is that for it was on are as with they at be this from have or by one had not but what all were when we there can".split()


def reference(source):
    if source.suffix != ".gguf":
        return Tokenizer.from_file(str(source / "tokenizer.json" if source.is_dir() else source))
    import gguf
    fields = gguf.GGUFReader(source).fields
    pieces, scores, kinds = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "scores", "token_type"))
    own = (make_gguf.CONTROL, make_gguf.USER)  # a GGUF has lost their scores, and the lower block of runs of spaces
    vocab = [("▁" * len(p) if kind in own and not p.strip(" ") else p, 0 if kind in own else s, kind)
             for p, s, kind in zip(pieces, scores, kinds)]
    return make_gguf.reference(vocab)


def code_point(rng):
    first, last = rng.choice([(1, 0x7FF), (0x800, 0x33FF), (0x3400, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x1FFFF), (0x20000, 0x10FFFF)])
    return chr(rng.randint(first, last))


def text(rng, pieces, added):
    parts = []
    for _ in range(rng.randint(1, rng.choice([3, 12, 30]))):
        kind = rng.random()
        if kind < .25:
            parts.append(rng.choice(WORDS) + rng.choice(["", " ", "  ", "\n", " \n\n", "\t"]))
        elif kind < .45:
            parts.append(rng.choice(pieces).replace("▁", " ").replace("##", ""))
        elif kind < .5:
            parts.append(rng.choice(pieces))
        elif kind < .55 and added:
            parts.append(rng.choice(added))
        elif kind < .62:
            parts.append(rng.choice([" ", "\n", "▁", "a", "ab", "é漢"]) * rng.randint(1, rng.choice([4, 120])))
        elif kind < .9:
            pool = rng.choice(POOLS)
            parts.append("".join(rng.choice(pool) for _ in range(rng.randint(1, 10))))
        else:
            parts.append(code_point(rng))
    return "".join(parts)


def call(program, name, values):
    lines = "".join(json.dumps(v) + "\n" for v in values)
    run = subprocess.run([program, name, "--jsonl", "--no-special"] if name == "tokenize" else [program, name, "--jsonl"],
                         input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in run.stdout.split("\n") if line]


def wrong(what, inputs, ours, theirs):
    bad = [i for i in range(len(inputs)) if i >= len(ours) or ours[i] != theirs[i]]
    for i in bad[:5]:
        print(f"{what} of {ascii(inputs[i])}\n  expected {ascii(theirs[i])}\n  got      {ascii(ours[i]) if i < len(ours) else 'nothing'}")
    print(f"{what}: {len(bad)} of {len(inputs)} wrong")
    return bool(bad)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("source", type=pathlib.Path)
    p.add_argument("-n", type=int, default=100000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    tok, rng, texts = reference(a.source), random.Random(a.seed), {}
    tok.no_truncation()
    tok.no_padding()
    pieces, added = sorted(t for t in tok.get_vocab() if len(t) > 1), [t.content for t in tok.get_added_tokens_decoder().values()]
    while len(texts) < a.n:
        texts[text(rng, pieces, added)] = None
    texts = list(texts)
    ids = [e.ids for e in tok.encode_batch(texts, add_special_tokens=False)]
    failed = wrong("ids", texts, call(a.program, "tokenize", texts), ids)
    back = tok.decode_batch(ids, skip_special_tokens=False)
    failed |= wrong("text", ids, call(a.program, "detokenize", ids), back)
    sys.exit(failed)


if __name__ == "__main__":
    main()
