//! What is a reference, and what is not.

use wasm_fn_core::Digest;

use super::Reference;

/// The reference that `text` is, or what is wrong with it.
fn parsed(text: &str) -> Result<Reference, String> {
    text.parse().map_err(|error: super::ReferenceError| error.to_string())
}

#[test]
fn references_have_a_registry_a_repository_and_a_tag_or_a_digest() {
    let digest = "0123456789abcdef".repeat(4);
    let by_digest = format!("oci://ghcr.io/acme/hello@sha256:{digest}");
    let both = format!("oci://ghcr.io/acme/hello:v1@sha256:{digest}");
    for (text, registry, repository, tag, asked) in [
        ("oci://ghcr.io/acme/hello:v1", "ghcr.io", "acme/hello", Some("v1"), "v1"),
        ("oci://ghcr.io/acme/hello", "ghcr.io", "acme/hello", Some("latest"), "latest"),
        ("oci://localhost:5000/hello:v1", "localhost:5000", "hello", Some("v1"), "v1"),
        ("oci://localhost/hello:v1", "localhost", "hello", Some("v1"), "v1"),
        ("oci://127.0.0.1:5000/a/b/c:x", "127.0.0.1:5000", "a/b/c", Some("x"), "x"),
        ("OCI://ghcr.io/acme/hello:v1", "ghcr.io", "acme/hello", Some("v1"), "v1"),
        (&by_digest, "ghcr.io", "acme/hello", None, &format!("sha256:{digest}")),
        (&both, "ghcr.io", "acme/hello", Some("v1"), &format!("sha256:{digest}")),
    ] {
        let found = parsed(text).unwrap();
        assert_eq!((found.registry(), found.repository()), (registry, repository), "{text}");
        assert_eq!((found.tag(), found.manifest().as_str()), (tag, asked), "{text}");
        assert_eq!(found.digest().is_some(), text.contains('@'), "{text}");
    }
}

#[test]
fn texts_that_are_no_references_are_refused_with_what_was_found() {
    let long = format!("oci://ghcr.io/{}", "a".repeat(300));
    for (text, reason) in [
        ("ghcr.io/acme/hello", "does not begin with oci://"),
        ("", "does not begin with oci://"),
        ("oci://", "names no repository"),
        ("oci://ghcr.io", "names no repository"),
        ("oci://ghcr.io/", "is not a valid reference"),
        ("oci:///hello", "names no registry"),
        ("oci://registry/hello", "has the registry \"registry\" without domain or port"),
        ("oci://ghcr.io/Acme/hello", "is not a valid reference"),
        ("oci://ghcr.io/acme/hello:", "is not a valid reference"),
        ("oci://ghcr.io/acme/hello:a b", "is not a valid reference"),
        ("oci://ghcr.io/acme/../hello", "is not a valid reference"),
        ("oci://ghcr.io/acme/hello?x=1", "is not a valid reference"),
        ("oci://ghcr.io/acme/hello@", "has a digest other than"),
        ("oci://ghcr.io/acme/hello@sha256:abc", "has a digest other than"),
        (&format!("oci://ghcr.io/acme/hello@sha512:{}", "a".repeat(128)), "has a digest other than"),
        (&format!("oci://ghcr.io/acme/hello@sha256:{}", "A".repeat(64)), "has a digest other than"),
        ("oci://me:secret@ghcr.io/acme/hello", "has credentials, which belong into docker's config.json"),
        (&long, "has a repository of more than 255 characters"),
    ] {
        let error = parsed(text).expect_err(text);
        assert!(error.contains(reason), "{text}: {error}");
        assert!(
            error.ends_with("expected oci://REGISTRY[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]"),
            "{error}"
        );
        assert!(error.len() < 450, "{error}");
    }
}

#[test]
fn a_reference_is_bound_to_a_digest_and_keeps_its_tag() {
    let digest = Digest([7; 32]);
    for (text, bound) in [
        ("oci://ghcr.io/acme/hello:v1", format!("oci://ghcr.io/acme/hello:v1@sha256:{digest}")),
        (
            &format!("oci://ghcr.io/acme/hello@sha256:{}", Digest([8; 32])),
            format!("oci://ghcr.io/acme/hello@sha256:{digest}"),
        ),
    ] {
        let found = parsed(text).unwrap().with_digest(digest);
        assert_eq!(found.to_string(), bound);
        assert_eq!(parsed(&bound).unwrap(), found);
        assert_eq!(found.manifest(), format!("sha256:{digest}"));
    }
}

#[test]
fn registries_of_this_machine_are_told_apart_and_docker_hub_has_an_address() {
    for (text, loopback) in [
        ("oci://localhost/a", true),
        ("oci://localhost:5000/a", true),
        ("oci://127.0.0.1:5000/a", true),
        ("oci://127.8.9.10/a", true),
        ("oci://128.0.0.1/a", false),
        ("oci://localhost.example.com/a", false),
        ("oci://ghcr.io/a", false),
    ] {
        assert_eq!(parsed(text).unwrap().is_loopback(), loopback, "{text}");
    }
    assert_eq!(parsed("oci://docker.io/hello").unwrap().host(), "index.docker.io");
    assert_eq!(parsed("oci://docker.io/hello").unwrap().repository(), "library/hello");
}

#[test]
fn what_is_meant_as_a_reference_is_no_path() {
    assert!(Reference::is_meant("oci://x"));
    assert!(Reference::is_meant("OCI://"));
    for text in ["oci:/x", "x/oci://y", "oci", "", "ö-oci://"] {
        assert!(!Reference::is_meant(text), "{text}");
    }
}
