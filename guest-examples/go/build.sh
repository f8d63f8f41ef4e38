#!/bin/sh
# Builds the Go guest into dist/hello.wasm. Needs Go 1.21 or later.
set -eu
cd "$(dirname "$0")"
mkdir -p dist
GOOS=wasip1 GOARCH=wasm go build -o dist/hello.wasm .
