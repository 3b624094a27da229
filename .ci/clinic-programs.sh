#!/usr/bin/env bash
# Succeeds if every program that the tests of clinic/ judge by is there; installs what is missing
# where that is possible, which is on Debian as root. Prints one line if something stays missing.
set -uo pipefail

packages=(dcmtk dicom3tools orthanc orthanc-dicomweb)
plugin=/usr/share/orthanc/plugins/libOrthancDicomWeb.so

missing() {
    for program in storescu storescp echoscu dsrdump dcmpschk dcmp2pgm dciodvfy Orthanc; do
        PATH="$PATH:/usr/sbin" command -v "$program" >/dev/null || printf '%s ' "$program"
    done
    [ -e "$plugin" ] || printf '%s ' "$plugin"
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
