#!/usr/bin/env bash
# Succeeds if every program that the tests of clinic/ judge by, and what builds native/, is there; installs what is missing
# where that is possible, which is on Debian as root. Prints one line if something stays missing.
set -uo pipefail

packages=(g++ libhwy-dev chromium dcmtk dicom3tools orthanc orthanc-dicomweb poppler-utils sshfs openssh-sftp-server systemd
    fonts-noto-core fonts-noto-cjk)
files=(
    /usr/include/hwy/highway.h
    /usr/share/orthanc/plugins/libOrthancDicomWeb.so
    /usr/lib/openssh/sftp-server
    /usr/share/fonts/truetype/noto/NotoSansArabic-Regular.ttf
    /usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc
)

missing() {
    for program in g++ chromium storescu storescp echoscu dsrdump dcmpschk dcmp2pgm dciodvfy Orthanc \
        pdftotext sshfs systemd-analyze; do
        PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || printf '%s ' "$program"
    done
    for file in "${files[@]}"; do
        [ -e "$file" ] || printf '%s ' "$file"
    done
}
install() {
    apt-get install -y --no-install-recommends "${packages[@]}" ||
        { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; }
}

if [ -n "$(missing)" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    install </dev/null >/dev/null 2>&1
fi
left=$(missing)
if [ -n "$left" ]; then
    echo "tests that need these programs are skipped: $left(apt-get install ${packages[*]})" >&2
    exit 1
fi
