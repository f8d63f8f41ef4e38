//! Tests for `source`.

use super::*;

#[test]
fn sources_are_parts_of_registries_and_beginnings_of_urls() {
    for (source, url, expected) in [
        ("ghcr.io/acme/*", "oci://ghcr.io/acme/app:1", true),
        ("ghcr.io/acme/*", "oci://GHCR.io/acme/app:1", true),
        ("ghcr.io/acme/*", "oci://ghcr.io/acmeother/app:1", false),
        ("ghcr.io/acme/*", "oci://ghcr.io.evil.example/acme/app:1", false),
        ("ghcr.io/acme/*", "https://ghcr.io/acme/app", false),
        ("ghcr.io/acme/app", "oci://ghcr.io/acme/app:1", true),
        ("ghcr.io/acme/app", "oci://ghcr.io/acme/app@sha256:00", true),
        ("ghcr.io/acme/app", "oci://ghcr.io/acme/app2:1", false),
        ("oci://ghcr.io", "oci://ghcr.io/any/app:1", true),
        ("ghcr.io", "oci://ghcr.io:8443/any/app:1", false),
        ("localhost:5000", "oci://localhost:5000/app:1", true),
        ("https://github.com/acme/", "https://github.com/acme/app/a.wasm?x=1", true),
        ("https://github.com/acme/", "https://github.com/acme", false),
        ("https://github.com/acme/", "https://github.com/acme/../evil/a.wasm", false),
        ("https://github.com/acme/", "https://github.com/acme/%2e%2e/evil/a.wasm", false),
        ("https://github.com/acme", "https://github.com/acmeevil/a.wasm", false),
    ] {
        assert_eq!(source.parse::<ArtifactSource>().unwrap().has(url), expected, "{source} {url}");
    }
    for source in ["", "*", "ghcr.io*", "http://h.example/", "u@h.example/", "a*b/c", "https://"] {
        assert!(source.parse::<ArtifactSource>().is_err(), "{source}");
    }
}
