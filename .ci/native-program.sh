#!/usr/bin/env bash
# Builds orthoedge-corpus of native/ into .native/KIND: `sanitized`, or `aarch64`, for function on an
# emulator. The libraries of aarch64 are unpacked there; nothing is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

kind=$1
out=$(realpath -m ".native/$kind")
needed() {
    command -v "$1" >/dev/null || {
        echo "$1 is missing: apt-get install $2" >&2
        exit 2
    }
}
needed cmake cmake
options=(-DORTHOEDGE_CORPUS=ON)
case $kind in
sanitized)
    options+=("-DCMAKE_CXX_FLAGS=-fsanitize=address,undefined -fno-sanitize-recover=all -g")
    ;;
aarch64)
    needed aarch64-linux-gnu-g++ g++-aarch64-linux-gnu
    needed qemu-aarch64-static qemu-user-static
    root=$out/debian
    if [ ! -e "$root/.unpacked" ]; then
        mkdir -p "$root"/apt/{lists,archives}/partial
        apt=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::status=/dev/null
            -o "Dir::State::lists=$root/apt/lists" -o "Dir::Cache=$root/apt" -o APT::Sandbox::User=)
        apt-get "${apt[@]}" --quiet update
        (cd "$root/apt" && apt-get "${apt[@]}" --quiet download libhwy1 libhwy-dev)
        for package in "$root"/apt/*.deb; do
            dpkg-deb --extract "$package" "$root"
        done
        touch "$root/.unpacked"
    fi
    options+=(-DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64
        -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++
        "-Dhwy_DIR=$root/usr/lib/aarch64-linux-gnu/cmake/hwy"
        "-DCMAKE_BUILD_RPATH=$root/usr/lib/aarch64-linux-gnu;/usr/aarch64-linux-gnu/lib")
    ;;
*)
    echo "usage: .ci/native-program.sh sanitized|aarch64" >&2
    exit 2
    ;;
esac
cmake -S native -B "$out" "${options[@]}"
cmake --build "$out" --target orthoedge-corpus
