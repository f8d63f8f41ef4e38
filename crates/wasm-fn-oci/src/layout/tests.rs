//! The layout as other tools write and read it.

use std::time::{Duration, SystemTime};

use expect_test::expect;

use super::{Annotations, Manifest, Parts, digest, world};

/// A module without anything in it.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// A component that imports and exports nothing.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// The beginning of 2026.
fn then() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn parts(module: &[u8], annotations: &[(&str, &str)]) -> Parts {
    let annotations = annotations.iter().map(|(key, value)| (String::from(*key), String::from(*value)));
    Parts::of(module, &annotations.collect(), then()).unwrap()
}

#[test]
fn a_component_is_laid_out_as_other_tools_do() {
    let parts = parts(COMPONENT, &[("org.opencontainers.image.revision", "abc")]);
    expect![[r#"{"created":"2026-01-01T00:00:00Z","architecture":"wasm","os":"wasip2","layerDigests":["sha256:24eaf343"],"component":{"exports":[],"imports":[]}}"#]]
    .assert_eq(&shortened(&parts.config));
    expect![[r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:9a05dc22","size":201},"layers":[{"mediaType":"application/wasm","digest":"sha256:24eaf343","size":8}],"annotations":{"org.opencontainers.image.created":"2026-01-01T00:00:00Z","org.opencontainers.image.revision":"abc"}}"#]]
    .assert_eq(&shortened(&parts.manifest));
}

/// Text with digests cut to eight digits.
fn shortened(json: &[u8]) -> String {
    let text = std::str::from_utf8(json).unwrap();
    let mut parts = text.split("sha256:");
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| format!("{text}sha256:{}{}", &part[..8], &part[64..]))
}

#[test]
fn a_module_that_is_no_component_is_of_wasi_0_1() {
    let config = shortened(&parts(MODULE, &[]).config);
    assert!(config.contains(r#""os":"wasip1""#) && !config.contains("component"), "{config}");
}

#[test]
fn a_time_that_the_caller_gives_stays() {
    let parts = parts(MODULE, &[("org.opencontainers.image.created", "2020-02-02T00:00:00Z")]);
    assert_eq!(parts.annotations["org.opencontainers.image.created"], "2020-02-02T00:00:00Z");
}

#[test]
fn what_is_laid_out_is_read_as_the_same() {
    let annotations = [("org.opencontainers.image.source", "https://git.example.com/hello")];
    let parts = parts(COMPONENT, &annotations);
    let manifest: Manifest = serde_json::from_slice(&parts.manifest).unwrap();
    let Ok(module) = manifest.module(None) else { panic!("it is a module") };
    assert_eq!((module.digest, module.bytes), (parts.module, 8));
    assert_eq!(module.annotations, parts.annotations);
}

#[test]
fn what_is_not_webassembly_is_not_laid_out() {
    for bytes in [&b""[..], b"#!/bin/sh\n", b"\0asm", b"\0asm\x02\0\0\0"] {
        let error = Parts::of(bytes, &Annotations::new(), then()).err().unwrap().to_string();
        assert!(error.starts_with("it is not WebAssembly: "), "{error}");
    }
}

#[test]
fn imports_and_exports_are_those_of_the_outermost_component() {
    let component = wat::parse_str(
        r#"(component
            (import "wasi:http/types@0.2.0" (instance $types))
            (component $inner (import "wasi:cli/environment@0.2.0" (instance)))
            (core module)
            (export "wasi:http/incoming-handler@0.2.0" (instance $types)))"#,
    );
    let world = world(&component.unwrap()).unwrap().unwrap();
    assert_eq!(world.imports, ["wasi:http/types@0.2.0"]);
    assert_eq!(world.exports, ["wasi:http/incoming-handler@0.2.0"]);
}

#[test]
fn manifests_of_other_things_are_named() {
    const DIGEST: &str = "sha256:7b1b3d9a7b1b3d9a7b1b3d9a7b1b3d9a7b1b3d9a7b1b3d9a7b1b3d9a7b1b3d9a";
    let layer =
        |kind: &str, digest: &str| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#);
    let wasm = layer("application/wasm", DIGEST);
    let config = |kind: &str| format!(r#""config":{{"mediaType":"{kind}","digest":"{DIGEST}","size":2}}"#);
    let ours = config("application/vnd.wasm.config.v0+json");
    for (json, expected) in [
        (format!(r#"{{{ours},"layers":[{wasm}]}}"#), Ok(())),
        // As `oras push` has it.
        (format!(r#"{{{},"layers":[{wasm}]}}"#, config("application/vnd.oci.empty.v1+json")), Ok(())),
        (format!(r#"{{{ours},"layers":[{wasm}],"annotations":null}}"#), Ok(())),
        (r#"{"manifests":[{},{}]}"#.to_owned(), Err("an index of 2 manifests")),
        (
            format!(
                r#"{{"mediaType":"application/vnd.docker.distribution.manifest.v2+json",{ours},"layers":[]}}"#
            ),
            Err("a container image"),
        ),
        (
            format!(r#"{{{},"layers":[{wasm}]}}"#, config("application/vnd.oci.image.config.v1+json")),
            Err("a container image"),
        ),
        (format!(r#"{{{ours},"layers":[]}}"#), Err("an artifact with 0 layers")),
        (format!(r#"{{{ours},"layers":[{wasm},{wasm}]}}"#), Err("an artifact with 2 layers")),
        (
            format!(r#"{{{ours},"layers":[{}]}}"#, layer("text/plain", DIGEST)),
            Err("an artifact with a layer of type text/plain"),
        ),
        (
            format!(r#"{{{ours},"layers":[{}]}}"#, layer("application/wasm", "sha512:00")),
            Err("an artifact with the digest sha512:00"),
        ),
        ("{}".to_owned(), Err("an artifact with 0 layers")),
    ] {
        let manifest: Manifest = serde_json::from_str(&json).unwrap();
        let found = manifest.module(None).map(|_| ());
        assert_eq!(found, expected.map_err(str::to_owned), "{json}");
    }
}

#[test]
fn digests_are_of_sha_256() {
    assert!(digest(&format!("sha256:{}", "0".repeat(64))).is_some());
    for text in ["", "sha256:", "sha256:00", "0000", "sha512:00"] {
        assert_eq!(digest(text), None, "{text}");
    }
}
