#!/bin/sh
# Builds the guest into dist/hello.wasm, by the world in wit/. Needs npm. The bench runs it in a copy of this
# folder, beside which it puts the world of the Python example.
set -eu
cd "$(dirname "$0")"
# No lock file: it would name the registry of whoever ran this last. package.json pins the version.
npm install --no-package-lock --no-audit --no-fund
mkdir -p dist
npx componentize-js hello.js --wit wit --world-name hello --disable http --disable fetch-event --out dist/hello.wasm
