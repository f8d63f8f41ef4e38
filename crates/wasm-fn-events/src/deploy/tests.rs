//! Tests for `deploy`.

use super::*;

fn patterns(texts: &[&str]) -> Vec<RefPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn options(artifact: &str, on: &[PushKind]) -> PushDeployOptions {
    PushDeployOptions {
        artifact: artifact.parse().unwrap(),
        on: on.to_vec(),
        branches: Vec::new(),
        tags: Vec::new(),
        credentials: None,
    }
}

fn push(kind: PushKind, reference: &str) -> PushEvent {
    PushEvent {
        kind,
        reference: reference.to_owned(),
        sha: None,
        digest: None,
        author: None,
        url: None,
        repository: "o/a".to_owned(),
        default_branch: Some("main".to_owned()),
        before: None,
        happened: None,
    }
}

#[test]
fn star_stands_for_any_characters() {
    for (pattern, name, expected) in [
        ("main", "main", true),
        ("main", "main2", false),
        ("release/*", "release/1.2/x", true),
        ("release/*", "release", false),
        ("*", "any/thing", true),
        ("v*.*", "v1.2", true),
        ("v*.*", "v12", false),
        ("v*", "v", true),
        ("a*a", "a", false),
        ("a*b*b", "a-b", false),
        ("a*b*b", "a-bb", true),
        ("**", "x", true),
    ] {
        assert_eq!(pattern.parse::<RefPattern>().unwrap().matches(name), expected, "{pattern} {name}");
    }
    for (text, error) in [
        ("", "pattern is 0 bytes long, expected 1 to 256"),
        ("a b", "pattern has ' ' at byte 1, which no branch or tag has"),
        (
            "refs/heads/main",
            "pattern \"refs/heads/main\" begins with refs/, expected the short name, such as main",
        ),
    ] {
        assert_eq!(text.parse::<RefPattern>().unwrap_err().to_string(), error);
    }
}

#[test]
fn filters_say_which_pushes_deploy() {
    let all = PushKind::ALL;
    let deploy = PushDeploy::new(options("oci://r.example/app:{sha}", &[PushKind::Branch])).unwrap();
    assert_eq!(deploy.check(&push(PushKind::Branch, "main")), Ok(()));
    let why = |deploy: &PushDeploy, push: &PushEvent| deploy.check(push).unwrap_err().to_string();
    assert_eq!(
        why(&deploy, &push(PushKind::Branch, "dev")),
        r#"branch "dev" does not deploy here, expected the default branch, "main""#
    );
    let unsaid = PushEvent { default_branch: None, ..push(PushKind::Branch, "main") };
    assert!(why(&deploy, &unsaid).ends_with("the event says no default"));
    assert_eq!(why(&deploy, &push(PushKind::Tag, "v1")), "a tag does not deploy here");

    let named = PushDeployOptions {
        branches: patterns(&["dev", "release/*"]),
        tags: patterns(&["v*"]),
        ..options("oci://r.example/app:{ref}", &all)
    };
    let named = PushDeploy::new(named).unwrap();
    for wanted in
        [push(PushKind::Branch, "release/2"), push(PushKind::Tag, "v1"), push(PushKind::Package, "v")]
    {
        assert_eq!(named.check(&wanted), Ok(()), "{wanted:?}");
    }
    assert_eq!(
        why(&named, &push(PushKind::Branch, "main")),
        r#"branch "main" does not deploy here, expected dev or release/*"#
    );
    assert_eq!(
        why(&named, &push(PushKind::Release, "1.0")),
        r#"tag "1.0" does not deploy here, expected v*"#
    );
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let error = |options| PushDeploy::new(options).unwrap_err().to_string();
    let branch = [PushKind::Branch];
    assert_eq!(
        error(options("oci://r.example/app:{tag}", &branch)),
        r#"a push says no {tag}, which is in "oci://r.example/app:{tag}", expected another placeholder or event"#
    );
    assert!(error(options("oci://r.example/app:x", &[])).starts_with("no event deploys"));
    let tags = PushDeployOptions { tags: patterns(&["v*"]), ..options("oci://r.example/app:x", &branch) };
    assert_eq!(error(tags), "there are patterns of tags, and no tags deploy, expected none");
    let many = PushDeployOptions {
        branches: vec!["x".parse().unwrap(); 17],
        ..options("oci://r.example/app:x", &branch)
    };
    assert_eq!(error(many), "there are 17 patterns of branches, expected at most 16");
}

#[test]
fn only_a_tag_is_watched() {
    let watch = |artifact: &str, every| {
        WatchSource::new(artifact.parse().unwrap(), std::time::Duration::from_secs(every), None)
    };
    assert_eq!(
        watch("oci://r.example:5000/a/app:prod", 60).unwrap().artifact(),
        "oci://r.example:5000/a/app:prod"
    );
    for artifact in [
        "https://r.example/app:prod",
        "oci://r.example:5000/app",
        "oci://r.example/app:",
        "oci://r.example/app:x@sha256:00",
        "oci://r.example/app:{sha}",
    ] {
        assert!(matches!(watch(artifact, 60), Err(WatchError::NotTag { .. })), "{artifact}");
    }
    for every in [4, 24 * 3600 + 1] {
        assert!(matches!(watch("oci://r.example/app:prod", every), Err(WatchError::Every { .. })), "{every}");
    }
}
