#!/bin/sh
# Run a command with its windows in a virtual display of its own, drawn by software OpenGL:
#
#   scripts/xvfb.sh COMMAND [ARGUMENT...]
#
# Several may run at once: the server itself picks the free display number. Outside Linux the command runs as it is.

set -eu

[ $# -gt 0 ] || { echo "usage: scripts/xvfb.sh COMMAND [ARGUMENT...]" >&2; exit 2; }
[ "$(uname -s)" = Linux ] || exec "$@"
command -v Xvfb >/dev/null || { echo "xvfb.sh: Xvfb is missing; install it (Debian: xvfb)" >&2; exit 1; }

scratch=$(mktemp -d)
server=
stop() {
    [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
    rm -rf "$scratch"
}
trap stop EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

Xvfb -displayfd 3 -screen 0 1600x1200x24 -nolisten tcp -noreset 3>"$scratch/number" 2>"$scratch/log" &
server=$!
tries=0
until [ -s "$scratch/number" ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
        tail -n 5 "$scratch/log" >&2
        echo "xvfb.sh: the virtual display did not start" >&2
        exit 1
    fi
    sleep 0.1
done

unset WAYLAND_DISPLAY
if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$scratch/runtime
    mkdir -m 700 "$XDG_RUNTIME_DIR"
    export XDG_RUNTIME_DIR
fi
DISPLAY=:$(cat "$scratch/number") QT_QPA_PLATFORM=xcb LIBGL_ALWAYS_SOFTWARE=1 "$@"
