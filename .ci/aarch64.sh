#!/usr/bin/env bash
# The portable target on an aarch64 processor that QEMU imitates: for function, never for time.
# Debian on another processor; everything but QEMU is unpacked below the folder, nothing is installed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

root=$(realpath -m "${1:-.aarch64}")
python=3.11 # Debian 12's
onnxruntime=1.23.2 # 1.31.1 crashes when it is imported under QEMU 7.2, Debian 12's
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64) || {
    echo "qemu-aarch64 is missing: apt-get install qemu-user-static" >&2
    exit 2
}

if [ ! -e "$root/.unpacked" ]; then
    mkdir -p "$root"/apt/{lists,archives}/partial
    options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o Dir::State::status=/dev/null
        -o "Dir::State::lists=$root/apt/lists" -o "Dir::Cache=$root/apt" -o APT::Sandbox::User=)
    apt-get "${options[@]}" --quiet update
    (cd "$root/apt" && apt-get "${options[@]}" --quiet download \
        libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 \
        "python$python-minimal" "libpython$python-minimal" "libpython$python-stdlib")
    for package in "$root"/apt/*.deb; do
        dpkg-deb --extract "$package" "$root"
    done
    touch "$root/.unpacked"
fi

rm -rf "$root/site" build
platforms=(--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64
    --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64)
install() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps \
        --target "$root/site" "$@"
}
for_python=(--python-version "$python" --implementation cp --only-binary=:all:)
install "${platforms[@]}" "${for_python[@]}" --require-hashes -r requirements/portable.txt
install "${platforms[@]}" "${for_python[@]}" --upgrade "onnxruntime==$onnxruntime"
install .
rm -rf build

orthoedge() {
    PYTHONPATH="$root/site" "$qemu" -L "$root" "$root/usr/bin/python$python" -m orthoedge.cli.main "$@"
}
orthoedge verify --target portable
orthoedge predict runtime/assets/samples --target portable | grep -v milliseconds # they mean nothing here
