#!/bin/sh
# Installs what ingot needs on Debian or Ubuntu, and builds it: setup.sh [cross] [test] [build]
# [quickstart]. cross: what --target aarch64-linux needs besides; test has it too.
#
# Packages that are there already are left alone, so that a second run needs no network. Works as
# root and, elsewhere, through sudo.
set -eu
cd "$(dirname "$0")/.."

build="gcc cmake ninja-build pkg-config llvm-19-dev lld-19 libjansson-dev libpcre2-dev libutf8proc-dev libopenblas-dev nettle-dev musl-tools libc6-dev"
cross="clang-19"
test="libcmocka-dev llvm-19-tools clang-format-19 python3"
emulators="qemu-user-static strace" # tests that need them are left out without
quickstart="python3 python3-pip"

missing() {
  for package in "$@"; do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || printf '%s ' "$package"
  done
}

install() {
  # shellcheck disable=SC2086
  wanted=$(missing "$@")
  [ -n "$wanted" ] || return 0
  command -v apt-get >/dev/null || { echo "setup.sh: this needs Debian or Ubuntu (apt-get); install: $wanted" >&2; exit 1; }
  root=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "setup.sh: run as root or install sudo, to install: $wanted" >&2; exit 1; }
    root="sudo"
  fi
  echo "installing: $wanted"
  $root apt-get update -qq
  # shellcheck disable=SC2086
  $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $wanted >/dev/null
}

# The other processor family's runtime is optional: setup goes on where its packages are not to be had.
install_cross() {
  # shellcheck disable=SC2086
  { (install $cross) && tools/cross.sh; } || echo "setup.sh: without the runtime for --target aarch64-linux" >&2
}

for part in "$@"; do
  case $part in
  build) # shellcheck disable=SC2086
    install $build
    tests=ON # left out where what they need is not installed
    # shellcheck disable=SC2086
    [ -z "$(missing $test)" ] || tests=OFF
    werror=OFF # CI holds the code to no warnings
    [ "${CI:-}" != true ] || werror=ON
    cmake --preset release -DINGOT_TESTS=$tests -DINGOT_WERROR=$werror >/dev/null
    cmake --build --preset release ;;
  cross) install_cross ;;
  test) # shellcheck disable=SC2086
    install $build $test
    (install $emulators) || true
    install_cross ;;
  quickstart) # shellcheck disable=SC2086
    install $quickstart ;;
  *) echo "setup.sh: unknown part: $part (build, cross, test, quickstart)" >&2; exit 2 ;;
  esac
done
