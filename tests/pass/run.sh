#!/bin/bash
# Runs the RUN lines of one test: run.sh INGOT FILECHECK FILE.ir
#
# A line `# RUN: command` is a pipeline of the shell in which `ingot`, `FileCheck` and `not` (the
# command must fail) are commands and %s is the file itself, which also holds the CHECK lines.
set -o pipefail
INGOT=$1 FILECHECK=$2 FILE=$3
ingot() { "$INGOT" "$@"; }
FileCheck() { "$FILECHECK" "$@"; }
not() {
  "$@"
  local status=$?
  [ $status -ne 0 ] && [ $status -lt 128 ] # a crash is not a refusal
}

runs=0
while IFS= read -r line; do
  command=${line#*RUN:}
  command=${command//%s/\"\$FILE\"}
  runs=$((runs + 1))
  if ! eval "$command"; then
    echo "failed:$command" >&2
    exit 1
  fi
done < <(grep '^[#/]* *RUN:' "$FILE")
if [ $runs -eq 0 ]; then
  echo "no RUN line in $FILE" >&2
  exit 1
fi
