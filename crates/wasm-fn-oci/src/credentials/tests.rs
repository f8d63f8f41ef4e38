//! Configurations of docker, and programs that keep credentials.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Credentials, CredentialsError, DockerConfig};

/// The credentials in `json` for `registry`, or what is wrong.
fn stored(json: &str, registry: &str) -> Result<Credentials, String> {
    let config = DockerConfig::parse(json.as_bytes()).map_err(|error| error.to_string())?;
    config.stored(registry).map_err(|error| error.to_string())
}

#[test]
fn a_registry_has_the_credentials_of_its_name() {
    // me:secret, hub:hub-secret and old:old-secret
    let json = r#"{
        "auths": {
            "ghcr.io": {"auth": "bWU6c2VjcmV0"},
            "https://index.docker.io/v1/": {"auth": "aHViOmh1Yi1zZWNyZXQ="},
            "https://old.example.com:5000/v2/": {"auth": "b2xkOm9sZC1zZWNyZXQ="},
            "azure.example.com": {"auth": "MDAwMDo=", "identitytoken": "refresh"},
            "token.example.com": {"registrytoken": "bearer"},
            "plain.example.com": {"username": "me", "password": "with:colon"},
            "empty.example.com": {}
        },
        "HttpHeaders": {"User-Agent": "Docker-Client/20.10"}
    }"#;
    for (registry, expected) in [
        ("ghcr.io", Credentials::basic("me", "secret")),
        ("docker.io", Credentials::basic("hub", "hub-secret")),
        ("index.docker.io", Credentials::basic("hub", "hub-secret")),
        ("old.example.com:5000", Credentials::basic("old", "old-secret")),
        ("old.example.com", Credentials::Anonymous),
        ("azure.example.com", Credentials::IdentityToken("refresh".to_owned().into())),
        ("token.example.com", Credentials::RegistryToken("bearer".to_owned().into())),
        ("plain.example.com", Credentials::basic("me", "with:colon")),
        ("empty.example.com", Credentials::Anonymous),
        ("other.example.com", Credentials::Anonymous),
    ] {
        assert!(stored(json, registry).unwrap() == expected, "{registry}");
    }
}

#[test]
fn a_malformed_configuration_is_refused_and_not_shown() {
    for json in ["", "[]", r#"{"auths": {"ghcr.io": {"auth": 1234567}}}"#, r#"{"auths": "hunter2"}"#] {
        let error = stored(json, "ghcr.io").unwrap_err();
        assert!(error.starts_with("docker's configuration is not as expected: no valid JSON"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("1234567"), "{error}");
    }
    for auth in ["?", "aHVudGVyMg=="] {
        let error = stored(&format!(r#"{{"auths": {{"ghcr.io": {{"auth": "{auth}"}}}}}}"#), "ghcr.io");
        let error = error.unwrap_err();
        assert!(error.contains("`auth` of ghcr.io is not base64 of USER:PASSWORD"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_is_empty_and_one_that_is_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.json");
    let config = DockerConfig::read(&path).unwrap();
    assert!(config.stored("ghcr.io").unwrap() == Credentials::Anonymous);
    fs::write(&path, vec![b' '; (1 << 20) + 1]).unwrap();
    let error = DockerConfig::read(&path).err().unwrap().to_string();
    assert!(error.ends_with("config.json: it has more than 1048576 bytes"), "{error}");
    let error = DockerConfig::read(folder.path()).err().unwrap();
    assert!(matches!(error, CredentialsError::Unreadable { .. }), "{error}");
}

#[test]
fn docker_config_names_the_folder() {
    let path = |config: Option<&str>, home: Option<&str>| {
        DockerConfig::path(config.map(Path::new), home.map(Path::new))
    };
    assert_eq!(path(Some("/d"), Some("/h")), Some(PathBuf::from("/d/config.json")));
    assert_eq!(path(None, Some("/h")), Some(PathBuf::from("/h/.docker/config.json")));
    assert_eq!(path(Some(""), Some("/h")), Some(PathBuf::from("/h/.docker/config.json")));
    assert_eq!(path(None, None), None);
}

#[test]
fn pairs_are_read_and_never_shown() {
    assert!("me:a:b\n".parse::<Credentials>().unwrap() == Credentials::basic("me", "a:b"));
    for text in ["", "hunter2", ":hunter2", "hunter2:"] {
        let error = text.parse::<Credentials>().unwrap_err().to_string();
        assert!(error.contains("expected") || error.contains("as expected"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert_eq!(format!("{:?}", Credentials::basic("me", "hunter2")), "Basic(…)");
}

/// The credentials of `config` for ghcr.io, where the program `docker-credential-test` is this script.
async fn asked(script: &str, config: &str) -> Result<Credentials, String> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("docker-credential-test");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let config = DockerConfig::parse(config.as_bytes()).unwrap().with_programs_in(folder.path());
    config.credentials("ghcr.io").await.map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_program_is_asked_for_the_registry() {
    const ANSWER: &str = r#"read -r registry; [ "$1" = get ] || exit 1
printf '{"ServerURL":"%s","Username":"%s","Secret":"secret of %s"}' "$registry" me "$registry""#;
    for config in [
        r#"{"credsStore": "test"}"#,
        r#"{"credsStore": "other", "credHelpers": {"ghcr.io": "test"}}"#,
        // The program comes first, as for docker.
        r#"{"credsStore": "test", "auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"}}}"#,
    ] {
        let found = asked(ANSWER, config).await.unwrap();
        assert!(found == Credentials::basic("me", "secret of ghcr.io"), "{config}");
    }
    let token = r#"echo '{"ServerURL":"","Username":"<token>","Secret":"refresh"}'"#;
    let found = asked(token, r#"{"credsStore": "test"}"#).await.unwrap();
    assert!(found == Credentials::IdentityToken("refresh".to_owned().into()));
}

#[tokio::test]
async fn a_program_without_credentials_leaves_those_of_the_file() {
    let nothing = "echo 'credentials not found in native keychain'; exit 1";
    let found = asked(nothing, r#"{"credsStore": "test"}"#).await.unwrap();
    assert!(found == Credentials::Anonymous);
    let config = r#"{"credsStore": "test", "auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"}}}"#;
    assert!(asked(nothing, config).await.unwrap() == Credentials::basic("me", "secret"));
}

#[tokio::test]
async fn programs_that_fail_are_named() {
    for (script, config, fact) in [
        ("echo 'the keychain is locked'; exit 1", r#"{"credsStore": "test"}"#, "the keychain is locked"),
        ("echo hunter2", r#"{"credsStore": "test"}"#, "its answer is not as expected"),
        ("yes endless", r#"{"credsStore": "test"}"#, "endless endless"),
        ("", r#"{"credsStore": "missing"}"#, "it cannot be started"),
        ("", r#"{"credsStore": "../test"}"#, "its name has other characters"),
    ] {
        let error = asked(script, config).await.unwrap_err();
        assert!(error.starts_with("docker-credential-"), "{error}");
        assert!(error.contains("for ghcr.io") && error.contains(fact), "{error}");
        assert!(!error.contains("hunter2") && error.len() < 400, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_does_not_answer_is_ended() {
    let error = asked("exec sleep 3600", r#"{"credsStore": "test"}"#).await.unwrap_err();
    assert!(error.ends_with("it did not answer within 30s"), "{error}");
}
