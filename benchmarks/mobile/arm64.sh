#!/usr/bin/env bash
# Make what the runtimes *-arm64-* need: qemu-user, Debian's Python for 64-bit Arm with its libraries, and the engines'
# aarch64 wheels. Needs Debian (or its like) with apt, and pip; not root, and nothing of the system is changed.
#
#   benchmarks/mobile/arm64.sh [FOLDER]      by default where `perceiver_edge.devices` looks for it
set -euo pipefail

cache=${XDG_CACHE_HOME:-$HOME/.cache}/perceiver_edge
root=${1:-${PERCEIVER_EDGE_DEVICES:-$cache}/arm64}
sources=/etc/apt/sources.list.d/debian.sources
[ -e "$sources" ] || sources=/etc/apt/sources.list
[ -e "$sources" ] || { echo "error: no list of Debian's package sources in /etc/apt" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# apt with lists and a cache of its own, for an architecture that need not be the system's.
# unpack ARCHITECTURE FOLDER PACKAGE...: packages and all that they depend on.
unpack() {
    local architecture=$1 folder=$2 state=$work/$1
    shift 2
    mkdir -p "$state/lists/partial" "$state/archives/partial" "$folder"
    local options=(
        -q -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture" -o "Dir::State=$state"
        -o "Dir::State::status=/dev/null" -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state"
        -o "Dir::Cache::Archives=$state/archives" -o "Dir::Etc::SourceList=$sources" -o Dir::Etc::SourceParts=/dev/null
        -o Debug::NoLocking=1 -o "APT::Sandbox::User=$(id -un)"
    )
    apt-get "${options[@]}" update >/dev/null
    apt-get "${options[@]}" --yes --no-install-recommends --download-only install "$@" >/dev/null
    local package
    for package in "$state"/archives/*.deb; do dpkg -x "$package" "$folder"; done
}

echo "== Debian: Python and libraries for 64-bit Arm"
unpack arm64 "$work/root" python3 libstdc++6
echo "== Debian: qemu-user"
unpack "$(dpkg --print-architecture)" "$work/qemu" qemu-user-static
emulator=$work/qemu/usr/bin/qemu-aarch64-static  # in Debian 13 a link to qemu-aarch64, which is static there
python=$(basename "$(readlink "$work/root/usr/bin/python3")")

echo "== PyPI: the engines for 64-bit Arm, ${python}"
platforms=()
for tag in manylinux_2_28 manylinux_2_27 manylinux_2_26 manylinux_2_17 manylinux2014; do
    platforms+=(--platform "${tag}_aarch64")
done
python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target "$work/root/site-packages" \
    "${platforms[@]}" --only-binary=:all: --implementation cp --python-version "${python#python}" \
    'ai-edge-litert>=2.3,<2.4' 'onnxruntime>=1.24,<2' numpy

cp -L "$emulator" "$work/root/qemu-aarch64"
"$work/root/qemu-aarch64" -L "$work/root" "$work/root/usr/bin/python3" -c 'import platform; print(platform.machine())'
rm -rf "$root"
mkdir -p "$(dirname "$root")"
mv "$work/root" "$root"
echo "$root"
