#!/bin/sh
# Builds the Rust handler into dist/hello.wasm. Needs Rust with the target wasm32-wasip2.
set -eu
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip2 --target-dir target
mkdir -p dist
cp target/wasm32-wasip2/release/hello.wasm dist/
