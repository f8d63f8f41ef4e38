#!/bin/sh
# Builds the WebAssembly standard library of the installed Rust toolchain from Debian's rust-src, for
# machines where `rustup target add` cannot reach its server.
#
#   usage: rust-wasm-sysroot.sh DEST TARGET...     TARGET: wasm32-wasip1 or wasm32-wasip2
#
# Afterwards `--sysroot=DEST` makes rustc build for these targets and for the host. Needs apt-get and
# dpkg, a Debian mirror in the machine's apt sources that carries rust-src in exactly rustc's version
# (SUITE says in which suite; trixie-backports unless set), and a rustc that ships rust-lld and
# wasm-component-ld, as rustup's does.
set -eu
[ $# -ge 2 ] || { echo "usage: $0 DEST TARGET..." >&2; exit 2; }
DEST=$(mkdir -p "$1" && cd "$1" && pwd)
shift
SUITE=${SUITE:-trixie-backports}
VERSION=$(rustc -V | cut -d' ' -f2)
COMMIT=$(rustc -vV | sed -n 's/^commit-hash: //p')
HOST=$(rustc -vV | sed -n 's/^host: //p')
WORK=$DEST/work

# Prints the address of the first Debian mirror in the apt sources, in either of their formats.
mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
        sed -nE 's/^(URIs:|deb( \[[^]]*\])?) +([^ ]+\/debian)\/?( .*)?$/\3/p' | head -n 1
}

# Runs an apt tool on lists of its own, so that the machine's package state stays as it is.
apt_in_work() {
    tool=$1
    shift
    "$tool" -o Dir::Etc::sourcelist="$WORK/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$WORK/lists" -o Dir::Cache="$WORK/cache" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}

for tool in apt-get apt-cache dpkg; do
    command -v "$tool" >/dev/null || { echo "no $tool here: this script needs a Debian machine" >&2; exit 1; }
done
MIRROR=$(mirror)
[ -n "$MIRROR" ] || { echo "no Debian mirror in the apt sources" >&2; exit 1; }

mkdir -p "$WORK/lists/partial" "$WORK/cache/archives/partial" "$WORK/debs"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $MIRROR $SUITE main" >"$WORK/sources.list"
apt_in_work apt-get update -qq
PACKAGE=$(apt_in_work apt-cache madison rust-src | awk -v v="$VERSION" '$3 ~ "^"v"[+]" {print $3; exit}')
[ -n "$PACKAGE" ] || { echo "$SUITE has no rust-src $VERSION, the version of rustc" >&2; exit 1; }
(cd "$WORK/debs" && apt_in_work apt-get download -qq rust-src="$PACKAGE" wasi-libc)
for deb in "$WORK"/debs/*.deb; do dpkg -x "$deb" "$WORK/x"; done

SOURCES=$WORK/x/usr/src/rustc-$VERSION
export CARGO_TARGET_DIR="$WORK/target" RUSTC_BOOTSTRAP=1
# The standard library uses unstable features throughout; guests built with lto need its bitcode; the
# remapping gives panics the same source paths as in the official build.
unset CARGO_ENCODED_RUSTFLAGS
export RUSTFLAGS="-Zforce-unstable-if-unmarked -Cembed-bitcode=yes --remap-path-prefix=$SOURCES=/rustc/$COMMIT"
for target in "$@"; do
    case $target in
    wasm32-wasip1) libc=wasm32-wasi ;;
    wasm32-wasip2) libc=wasm32-wasip2 ;;
    *) echo "unknown target $target, expected wasm32-wasip1 or wasm32-wasip2" >&2; exit 2 ;;
    esac
    cargo build --release --locked --manifest-path "$SOURCES/library/sysroot/Cargo.toml" --target "$target"
    lib=$DEST/lib/rustlib/$target/lib
    rm -rf "$lib"
    mkdir -p "$lib/self-contained"
    cp "$CARGO_TARGET_DIR/$target/release/deps/"*.rlib "$lib/"
    for file in crt1-command.o crt1-reactor.o libc.a; do
        cp "$WORK/x/usr/lib/$libc/$file" "$lib/self-contained/"
    done
done
ln -sfn "$(rustc --print sysroot)/lib/rustlib/$HOST" "$DEST/lib/rustlib/$HOST"
rm -rf "$WORK"
