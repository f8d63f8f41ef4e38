#!/bin/sh
# Builds the Rust program into dist/hello.wasm. Needs Rust with the target wasm32-wasip1.
set -eu
cd "$(dirname "$0")"
cargo build --release --target wasm32-wasip1 --target-dir target
mkdir -p dist
cp target/wasm32-wasip1/release/hello.wasm dist/
