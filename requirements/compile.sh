#!/bin/sh
# Pins and hashes every extra of pyproject.toml for Python 3.11 and newer, on every platform: `make requirements`.
# The same versions everywhere: `dev` holds everything and is the constraint of all others.
# Takes the environment whose uv and pip to use. Versions stay as they are while they still fit; `make requirements UPGRADE=1` takes the newest.
set -eu
cd "$(dirname "$0")/.."
uv="$1/bin/uv"

pin() { # output, further arguments
  output="requirements/$1.txt"
  shift
  "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command "make requirements" ${UPGRADE:+--upgrade} --output-file "$output" "$@"
}

pin dev --extra dev --constraint requirements/constraints.in pyproject.toml
for extra in client train broker local; do
  pin "$extra" --extra "$extra" --constraint requirements/dev.txt pyproject.toml
done
# What the images of the services hold: there tracing is turned on by the environment alone.
for extra in server classifier; do
  pin "$extra" --extra "$extra" --extra tracing --constraint requirements/dev.txt pyproject.toml
done
pin client-image --extra client --extra report --extra tracing --constraint requirements/dev.txt pyproject.toml
pin bootstrap --constraint requirements/dev.txt requirements/bootstrap.in
pin charts --no-deps requirements/charts.in
pin go --no-deps requirements/go.in
pin checkov requirements/checkov.in

# pip is the way for who has no uv, and looks at things that uv does not (an upper bound in Requires-Python): every Python must pass.
for version in 3.11 3.12 3.13; do
  echo "checking that pip can install requirements/dev.txt on Python $version ..."
  "$1/bin/python" -m pip install --dry-run --quiet --ignore-installed --require-hashes --only-binary :all: --python-version "$version" \
    --target build/nowhere -r requirements/dev.txt
done
