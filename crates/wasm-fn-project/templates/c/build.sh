#!/bin/sh
# Builds dist/function.wasm with the first compiler for WASI that is there.
set -eu
cd "$(dirname "$0")"
mkdir -p dist
if command -v zig >/dev/null 2>&1; then
    set -- zig cc -target wasm32-wasi
elif python3 -c 'import ziglang' >/dev/null 2>&1; then
    set -- python3 -m ziglang cc -target wasm32-wasi
elif [ -n "${WASI_SDK_PATH:-}" ]; then
    set -- "$WASI_SDK_PATH/bin/clang"
elif [ -e /usr/include/wasm32-wasi/stdio.h ] && command -v clang >/dev/null 2>&1; then
    set -- clang --target=wasm32-wasi
else
    echo "zig: not found" >&2
    exit 127
fi
"$@" -Os -s -Wall -o dist/function.wasm src/*.c
