# The program is built in the first stage and runs in the second, which has no shell and no package manager, as
# a user without rights.
#
#   docker build -t wasm-fn .
#   docker run --rm -p 8080:8080 -v wasm-fn-data:/data wasm-fn

FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc=4:12.* libc6-dev=2.36-* make=4.3-* \
    && rm -rf /var/lib/apt/lists/*
# Compiles as somebody without rights too: build scripts are other people's code.
RUN useradd --create-home --uid 1000 builder && mkdir -p /src /data && chown 1000:1000 /src && chown 65532:65532 /data
USER 1000
WORKDIR /src
COPY --chown=1000:1000 . .
RUN cargo build --release --locked --package wasm-fn

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="wasm-fn" \
    org.opencontainers.image.description="WebAssembly function runtime with traffic splitting" \
    org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /src/target/release/wasm-fn /usr/bin/wasm-fn
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
VOLUME /data
# Where it looks for wasm-fn.toml, if you mount one.
WORKDIR /etc/wasm-fn
# The admin API stays inside the container until you choose otherwise.
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["/usr/bin/wasm-fn", "functions", "--data-dir", "/data"]
ENTRYPOINT ["/usr/bin/wasm-fn"]
CMD ["serve", "--listen", "0.0.0.0:8080", "--admin", "127.0.0.1:8081", "--data-dir", "/data"]
