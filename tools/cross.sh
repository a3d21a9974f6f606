#!/bin/sh
# What the runtime of another processor family is built against, from the distribution's packages:
# cross.sh [DIR] makes DIR/aarch64 (build/sysroot) with musl and libgcc for arm64.
#
# Packages are only unpacked into that folder: the system's list of architectures and its packages stay as they
# are, and no root is needed. Fails where the mirrors have no arm64 packages (Ubuntu's default ones); a folder
# that is there already is left alone.
set -eu
cd "$(dirname "$0")/.."
dir=${1:-build/sysroot}
case $dir in /*) ;; *) dir=$PWD/$dir ;; esac
[ ! -f "$dir/aarch64/usr/lib/aarch64-linux-musl/libc.a" ] || exit 0
[ "$(uname -m)" != aarch64 ] || exit 0 # its own runtime comes from musl-tools
command -v apt-get >/dev/null || { echo "cross.sh: this needs Debian or Ubuntu (apt-get)" >&2; exit 1; }

mkdir -p "$dir"
work=$(mktemp -d "$dir/work-XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/root"
user=$(id -un)
apt() {
  command=$1
  shift
  "apt-$command" -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User="$user" \
    -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Update::Error-Mode=any "$@"
}
gcc_version=$(gcc -dumpversion | cut -d. -f1)
log=$work/log
if ! { apt get -qq update && (cd "$work" && apt get -qq download musl-dev "libgcc-$gcc_version-dev"); } >"$log" 2>&1; then
  grep -E '^[EW]:' "$log" | head -n 3 >&2 || true
  echo "cross.sh: no packages for arm64 from this system's mirrors" >&2
  exit 1
fi
for package in "$work"/*.deb; do dpkg -x "$package" "$work/root"; done
mv "$work/root" "$dir/aarch64"
