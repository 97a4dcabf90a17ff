#!/bin/sh
# Make .venv and install the plugin into it with one of its extras. Nothing is done where the stamp in .venv says
# that this folder and this pyproject.toml were installed already.
#
#   scripts/setup-venv.sh PYTHON test|docs|dist|dev

set -eu

python=$1
extra=$2
state="$(pwd) $(cksum <pyproject.toml)"
runs() { .venv/bin/python -c "$1" 2>/dev/null; }
stamped() { [ "$(cat ".venv/.installed-$1" 2>/dev/null)" = "$state" ]; }

if runs 'import pip' && { stamped "$extra" || stamped dev; }; then
    exit 0
fi

# A folder that was moved or copied, or whose Python is gone, leaves an environment that points elsewhere.
folder=$(cat .venv/.folder 2>/dev/null || pwd)
if [ "$folder" != "$(pwd)" ] || ! runs ''; then
    rm -rf .venv
fi
runs 'import pip' || "$python" -m venv .venv
pwd >.venv/.folder

echo "setup: installing the plugin and its Python packages into .venv, a few minutes the first time"
PIP_DISABLE_PIP_VERSION_CHECK=1 .venv/bin/python -m pip install --quiet --quiet --editable ".[$extra]"
echo "$state" >".venv/.installed-$extra"
