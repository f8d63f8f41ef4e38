#!/bin/sh
# Builds a static binary for any Linux on x86-64, with musl as its C library.
#
#   usage: deploy/build-static.sh            the binary is target/x86_64-unknown-linux-musl/release/wasm-fn
#
# Needs rustup, and Debian's musl-tools or another `musl-gcc`: jemalloc and ring have parts in C. PROFILE=quick
# builds in a third of the time, for trying it out.
set -eu
cd "$(dirname "$0")/.."
TARGET=x86_64-unknown-linux-musl
PROFILE=${PROFILE:-release}

command -v musl-gcc >/dev/null || { echo "no musl-gcc here: install musl-tools" >&2; exit 1; }
if [ ! -d "$(rustc --print sysroot)/lib/rustlib/$TARGET" ]; then
    command -v rustup >/dev/null || { echo "rustc has no $TARGET, and there is no rustup to add it" >&2; exit 1; }
    rustup target add "$TARGET"
fi

export CC_x86_64_unknown_linux_musl=musl-gcc
cargo build --locked --profile "$PROFILE" --target "$TARGET" --package wasm-fn
BINARY=${CARGO_TARGET_DIR:-target}/$TARGET/$PROFILE/wasm-fn
# Not even the loader of shared libraries is named in it.
if readelf --program-headers "$BINARY" | grep -q INTERP; then
    echo "$BINARY is not static" >&2
    exit 1
fi
"$BINARY" --version
echo "$BINARY"
