#!/bin/sh
# Builds the JavaScript guest into dist/hello.wasm. Needs npm.
set -eu
cd "$(dirname "$0")"
# No lock file: it would name the registry of whoever ran this last. package.json pins the version.
npm install --no-package-lock --no-audit --no-fund
mkdir -p dist
npx componentize-qjs --wit wit --world hello --js hello.js --output dist/hello.wasm
