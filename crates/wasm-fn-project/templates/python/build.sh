#!/bin/sh
# Builds dist/function.wasm. The first build installs the packages of requirements.txt into .venv.
set -eu
cd "$(dirname "$0")"
if [ ! -e .venv/installed ] || [ requirements.txt -nt .venv/installed ]; then
    python3 -m venv .venv
    .venv/bin/pip install --quiet --disable-pip-version-check --requirement requirements.txt
    touch .venv/installed
fi
mkdir -p dist
.venv/bin/componentize-py --wit-path wit --world function componentize app --python-path src \
    --output dist/function.wasm
