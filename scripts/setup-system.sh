#!/bin/sh
# Install what Python cannot install itself: the venv module, the shared libraries that Qt 6 and OpenGL load,
# a font and a virtual display. Only what is missing; silent, without root and without network when nothing is.
#
#   scripts/setup-system.sh [PYTHON]

set -eu

python=${1:-python3}
PATH=$PATH:/usr/sbin:/sbin

say() { echo "setup: $*"; }
fail() {
    echo "setup: $*" >&2
    exit 1
}

any_exists() {
    for path in "$@"; do
        [ -e "$path" ] && return 0
    done
    return 1
}

# The libraries that the PyQt6 wheels and OpenGL open at run time, and the Debian package that brings each.
libraries() {
    cat <<'END'
libEGL.so.1             libegl1
libGL.so.1              libgl1
libX11.so.6             libx11-6
libX11-xcb.so.1         libx11-xcb1
libdbus-1.so.3          libdbus-1-3
libfontconfig.so.1      libfontconfig1
libfreetype.so.6        libfreetype6
libglib-2.0.so.0        libglib2.0-0
libgssapi_krb5.so.2     libgssapi-krb5-2
libxcb-cursor.so.0      libxcb-cursor0
libxcb-glx.so.0         libxcb-glx0
libxcb-icccm.so.4       libxcb-icccm4
libxcb-image.so.0       libxcb-image0
libxcb-keysyms.so.1     libxcb-keysyms1
libxcb-randr.so.0       libxcb-randr0
libxcb-render-util.so.0 libxcb-render-util0
libxcb-shape.so.0       libxcb-shape0
libxcb-sync.so.1        libxcb-sync1
libxcb-util.so.1        libxcb-util1
libxcb-xfixes.so.0      libxcb-xfixes0
libxcb-xkb.so.1         libxcb-xkb1
libxkbcommon-x11.so.0   libxkbcommon-x11-0
libxkbcommon.so.0       libxkbcommon0
END
}

missing_packages() {
    .venv/bin/python -c 'import pip' 2>/dev/null || "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        echo python3-venv
    known=$(ldconfig -p 2>/dev/null || true)
    libraries | while read -r library package; do
        case $known in
            *"	$library "*) ;;
            *) echo "$package" ;;
        esac
    done
    any_exists /usr/lib*/dri/swrast_dri.so /usr/lib*/*/dri/swrast_dri.so /usr/lib*/libgallium-* /usr/lib*/*/libgallium-* ||
        echo libgl1-mesa-dri
    [ -n "$(find /usr/share/fonts /usr/local/share/fonts "${HOME:-/}/.fonts" "${HOME:-/}/.local/share/fonts" \
        \( -name '*.ttf' -o -name '*.otf' -o -name '*.ttc' \) 2>/dev/null | head -n 1)" ] || echo fonts-dejavu-core
    command -v Xvfb >/dev/null || echo xvfb
}

check_python() {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
        fail "'$python' does not run; name a Python of 3.11 or newer: make PYTHON=python3.12 ..."
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "'$python' is Python $version, 3.11 or newer is needed; name another: make PYTHON=python3.12 ..."
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

apt() { as_root apt-get -qq -o DPkg::Lock::Timeout=300 "$@" >>"$log" 2>&1; }

install_packages() {
    if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
        fail "as root, run once: apt-get install --no-install-recommends $*"
    fi
    say "installing system packages: $*"
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    [ "$(id -u)" -eq 0 ] || sudo -v || fail "sudo was refused; as root, run once: apt-get install $*"
    apt update || true # one broken source of many is no reason to stop; the installation tells
    if ! apt install --yes --no-install-recommends "$@"; then
        tail -n 20 "$log" >&2
        fail "apt-get could not install: $*"
    fi
}

check_python
[ "$(uname -s)" = Linux ] || exit 0
missing=$(missing_packages | tr '\n' ' ')
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null; then
    say "no apt-get here; if a window does not open, install what Debian calls: $missing"
    exit 0
fi
# shellcheck disable=SC2086  # a list of package names
install_packages $missing
still=$(missing_packages | tr '\n' ' ')
[ -z "$still" ] || fail "installed, but still not found: $still"
