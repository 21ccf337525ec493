#!/bin/sh
# Makes the project's own Python environment: `requirements/install.sh .venv local`.
#
# Finds a Python that TensorFlow has wheels for, makes the folder, installs requirements/NAME.txt by hash, wheels only, then this
# project in place. Safe to repeat: what is installed already stays. PYTHON=... names the Python to use.
set -eu

venv="$1"
name="$2"
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/.."

say() { printf '%s\n' "$*"; }
fail() {
  printf '\n%s\n' "$*" >&2
  exit 1
}

# Prints "ok", or why a Python will not do. TensorFlow 2.21 has wheels for CPython 3.11 to 3.13 (and 3.10, which we do not support).
CHECK='
import platform, struct, sys, sysconfig
if not (3, 11) <= sys.version_info[:2] <= (3, 13) or sys.implementation.name != "cpython":
    print("is", platform.python_implementation(), platform.python_version())
elif sysconfig.get_config_var("Py_GIL_DISABLED") or struct.calcsize("P") != 8:
    print("is a free-threaded or 32-bit build")
else:
    try:
        import ensurepip, venv
        print("ok")
    except ImportError:
        print("has no venv module")
'

find_python() {
  seen="" no_venv="" python=""
  for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
    command -v "$candidate" > /dev/null 2>&1 || continue
    # A version manager leaves commands behind for versions that are not active: they fail, and the next one is tried.
    verdict="$("$candidate" -c "$CHECK" 2> /dev/null)" || continue
    case "$verdict" in
      ok) python="$candidate" && return ;;
      "has no venv"*) no_venv="${no_venv:-$candidate}" ;;
    esac
    seen="$seen
  $(command -v "$candidate") $verdict"
  done
  if [ -n "$no_venv" ]; then
    version="$("$no_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')"
    fail "$no_venv is here, but without its venv module. Install it and run make again:
  sudo apt-get install python$version-venv"
  fi
  fail "No Python that TensorFlow runs on was found: it needs 3.11, 3.12 or 3.13, 64-bit.${seen:+
Found:$seen}
Install one and run make again, or name it: make PYTHON=/path/to/python3.12 ...
  Debian 12, Ubuntu 24.04:  sudo apt-get install python3 python3-venv
  macOS:                    brew install python@3.13
  Fedora:                   sudo dnf install python3.13"
}

start=$(date +%s)
if ! "$venv/bin/python" -m pip --version > /dev/null 2>&1; then
  find_python
  say "Making $venv with $("$python" --version) ($(command -v "$python"))."
  rm -rf "$venv"
  "$python" -m venv "$venv" || fail "$python could not make $venv: see above."
fi
python="$venv/bin/python"

say "Installing requirements/$name.txt into $venv (the first time downloads TensorFlow and takes a few minutes) ..."
installer=pip
if "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/bootstrap.txt; then
  installer=uv
fi

# uv is several times faster; pip knows every proxy and mirror that a machine may be set up with.
if [ "$installer" = uv ] && {
  "$venv/bin/uv" pip install --python "$python" --require-hashes --only-binary :all: -r "requirements/$name.txt" \
    && "$venv/bin/uv" pip install --python "$python" --no-deps --no-build-isolation -e .
} > "$venv/uv.log" 2>&1; then
  :
else
  [ "$installer" = pip ] || say "uv could not install them ($venv/uv.log says why): trying pip, which is slower ..."
  "$python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r "requirements/$name.txt" \
    || fail "The requirements could not be installed: see above. Is this machine online, and is pip set up for its proxy or mirror?"
  "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . \
    || fail "The project itself could not be installed into $venv: see above."
fi
touch "$venv/.installed-$name"
# `dev` holds everything that `local` does.
[ "$name" != dev ] || touch "$venv/.installed-local"
say "Ready after $(($(date +%s) - start)) s."
