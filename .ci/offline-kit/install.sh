#!/bin/sh
# Installs orthoedge from this folder, without a network; run again from a newer kit, it updates.
#
#   install.sh            install or update        --prefix DIR    (default /opt/orthoedge)
#   install.sh --back     the version before       --state DIR     (default /var/lib/orthoedge-clinic)
#   install.sh --list     versions that are there  --no-service    leave systemd alone
#
# PREFIX/releases/NAME holds one version each, PREFIX/current links to the one that runs, and
# PREFIX/bin to its programs. A version is complete before the link moves; what a killed run left is
# made again. Findings lie in STATE; an update copies them to STATE.backup first, and --back brings
# them to the form that the version before reads, with all that has come since.
set -eu
umask 022 # the services run as a user of their own

prefix=/opt/orthoedge state=/var/lib/orthoedge-clinic service=yes action=install
fail() { echo "install.sh: $*" >&2; exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
        --prefix | --state) [ $# -ge 2 ] || fail "$1 needs a folder" ;;
    esac
    case $1 in
        --prefix) prefix=$2; shift ;;
        --state) state=$2; shift ;;
        --no-service) service=no ;;
        --back) action=back ;;
        --list) action=list ;;
        *) fail "unknown option $1; see the first lines of $0" ;;
    esac
    shift
done
kit=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
units="orthoedge-node orthoedge-clinic"

release_of() { basename "$(readlink "$prefix/$1" 2>/dev/null || true)"; }
point() { # point NAME RELEASE: the link is replaced in one step
    ln -sfn "releases/$2" "$prefix/.$1.new"
    mv -T "$prefix/.$1.new" "$prefix/$1"
}
running() {
    has_systemd || return 0
    for unit in $units; do
        if systemctl is-active --quiet "$unit" 2>/dev/null; then echo "$unit"; fi
    done
}
has_systemd() { [ "$service" = yes ] && command -v systemctl >/dev/null; }
install_units() { # install_units RELEASE: its units, and the user that they run as
    has_systemd || return 0
    id orthoedge >/dev/null 2>&1 ||
        useradd --system --user-group --home-dir /nonexistent --shell /usr/sbin/nologin orthoedge
    cp "$prefix/releases/$1"/systemd/*.service "${UNITS:-/etc/systemd/system}/"
    systemctl daemon-reload
}
as_owner() { # as_owner COMMAND...: what it writes belongs to the user of the findings
    owner=$(stat -Lc %U "$state")
    case $owner in
        "$(id -un)" | UNKNOWN) "$@" ;; # unknown: of a service that is older than this user
        *) runuser -u "$owner" -- "$@" ;;
    esac
}
form_of() { # form_of RELEASE: version of the findings that it reads
    "$prefix/releases/$1/bin/python" -c \
        'from orthoedge.clinic.history.schema import MIGRATIONS; print(len(MIGRATIONS))'
}
make_readable() { # make_readable RELEASE: bring the findings to the form that it reads
    [ -e "$state/history.sqlite" ] || return 0
    form=$(form_of "$1") && newest=$(form_of "$before") || return 1
    [ "$form" -ge "$newest" ] ||
        as_owner "$prefix/current/bin/orthoedge" clinic downgrade --folder "$state" "$form"
}
switch() { # switch RELEASE: stop what runs, move the links, start it again
    before=$(release_of current)
    active=$(running)
    for unit in $active; do systemctl stop "$unit"; done
    if [ "$action" = back ] && ! make_readable "$1"; then
        for unit in $active; do systemctl start "$unit"; done
        fail "$1 could not read the findings in $state; $before goes on"
    fi
    if [ -n "$before" ] && [ "$before" != "$1" ]; then point previous "$before"; fi
    point current "$1"
    ln -sfn current/bin "$prefix/bin"
    install_units "$1"
    for unit in $active; do
        systemctl start "$unit" || fail "$unit does not start with $1; \`$0 --back\` takes the version before"
    done
}

case $action in
    list)
        for release in "$prefix"/releases/*/.complete; do
            [ -e "$release" ] || fail "$prefix holds no version"
            name=$(basename "$(dirname "$release")")
            note=
            if [ "$name" = "$(release_of current)" ]; then note=' (current)'; fi
            if [ "$name" = "$(release_of previous)" ]; then note=' (the one before)'; fi
            echo "$name$note"
        done
        exit ;;
    back)
        previous=$(release_of previous)
        [ -n "$previous" ] && [ -e "$prefix/releases/$previous/.complete" ] ||
            fail "$prefix holds no version before this one"
        switch "$previous"
        echo "orthoedge $previous runs again, with every finding"
        exit ;;
esac

cd "$kit"
sha256sum --quiet -c SHA256SUMS >/dev/null 2>&1 ||
    fail "a file of this kit is damaged or missing: $(sha256sum -c SHA256SUMS 2>/dev/null | grep -v ': OK$' | head -1)"
command -v "$python" >/dev/null || fail "python3 is missing; install it or set PYTHON"
tag=$("$python" -c 'import platform, sys; print(f"{platform.machine()}-cp{sys.version_info[0]}{sys.version_info[1]}")')
pins=$kit/packages-$tag.txt
[ -f "$pins" ] || fail "this kit has no packages for $tag, only for: $(ls packages-*.txt | sed 's/packages-//; s/.txt//' | tr '\n' ' ')"
wheel=$(ls "$kit"/wheels/orthoedge-*.whl)
version=$(basename "$wheel" | cut -d- -f2)
release=$version-$(sha256sum SHA256SUMS | cut -c1-8)
place=$prefix/releases/$release

if [ ! -e "$place/.complete" ]; then
    rm -rf "$place"
    mkdir -p "$prefix/releases"
    "$python" -m venv --without-pip "$place" # Debian's python3 has no ensurepip of its own
    set -- "$kit"/wheels/pip-*.whl
    pip="$place/bin/python $1/pip --isolated --disable-pip-version-check"
    $pip install -q --no-index --find-links "$kit/wheels" --require-hashes --no-deps -r "$pins"
    $pip install -q --no-index --no-deps "$wheel"
    "$place/bin/orthoedge" doctor --warm >"$place/doctor.txt" || fail "the new version does not run: see $place/doctor.txt"
    cp -r "$kit/docs" "$kit/systemd" "$place/"
    cp "$kit/install.sh" "$place/install.sh"
    sync
    touch "$place/.complete"
fi
current=$(release_of current)
if [ -n "$current" ] && [ "$current" != "$release" ] && [ -e "$state/history.sqlite" ]; then
    mkdir -p "$state.backup"
    [ "$(id -u)" != 0 ] || chown -Rh --reference="$state/." "$state.backup"
    as_owner "$prefix/bin/orthoedge" clinic backup --folder "$state" "$state.backup" ||
        fail "the findings in $state could not be copied; $current goes on"
fi
if [ "$current" != "$release" ]; then switch "$release"; else install_units "$release"; fi
for old in "$prefix"/releases/*; do
    name=$(basename "$old")
    case $name in "$(release_of current)" | "$(release_of previous)") ;; *) rm -rf "$old" ;; esac
done
echo "orthoedge $release is installed: $prefix/bin/orthoedge"
echo "the pages of this version: $prefix/current/docs/README.html"
