#!/bin/sh
# Builds the Python guest into dist/hello.wasm. Needs Python 3.10 or later with venv.
set -eu
cd "$(dirname "$0")"
[ -d .venv ] || python3 -m venv .venv
.venv/bin/pip install --quiet --requirement requirements.txt
mkdir -p dist
.venv/bin/componentize-py --wit-path wit --world hello componentize app --python-path src --output dist/hello.wasm
