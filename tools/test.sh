#!/bin/sh
# Installs what the tests need, builds, and runs all tests. Arguments go to ctest (-R NAME, ...).
set -eu
cd "$(dirname "$0")/.."
./tools/setup.sh test build
ctest --test-dir build --output-on-failure -j 2 "$@"
