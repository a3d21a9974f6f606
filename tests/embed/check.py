#!/usr/bin/env python3
"""check.py INGOT: compiles tests/embed/model and holds `embed` to the recorded vectors. Standard library only."""
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent


def main():
    cases = [json.loads(line) for line in open(HERE / "cases.jsonl", encoding="utf-8")]
    texts = "".join(json.dumps(c["text"]) + "\n" for c in cases)
    with tempfile.TemporaryDirectory() as work:
        app = pathlib.Path(work, "app")
        subprocess.run([sys.argv[1], "compile", HERE / "model", "-o", app, "--quant", "none", "--act", "f32", "-q"], check=True)
        out = subprocess.run([app, "embed", "--jsonl"], input=texts, capture_output=True, text=True, check=True).stdout
        one = subprocess.run([app, cases[1]["text"]], capture_output=True, text=True, check=True).stdout
        alone = ["".join(subprocess.run([app, "embed", "--jsonl"], input=line, capture_output=True, text=True, check=True).stdout
                         for line in texts.splitlines())]
        back = subprocess.run([app, "embed", "--jsonl"], input="".join(reversed(texts.splitlines(True))), capture_output=True,
                              text=True, check=True).stdout
        cut = subprocess.run([app, "embed", "--jsonl"], input=texts + "1\n", capture_output=True, text=True)
    got = [json.loads(line) for line in out.splitlines()]
    worst = max(abs(a - b) for c, v in zip(cases, got) for a, b in zip(c["vector"], v))
    good = [len(v) for v in got] == [len(c["vector"]) for c in cases] and worst <= 2e-6 and json.loads(one) == got[1]
    # texts run side by side: the same digits whoever the neighbours are, and those before a bad line
    good &= alone == [out] and list(reversed(back.splitlines())) == out.splitlines()
    good &= cut.returncode == 1 and cut.stdout == out
    print(f"{len(got)} vectors, largest difference {worst:.2e}")
    return 0 if good else 1


sys.exit(main())
