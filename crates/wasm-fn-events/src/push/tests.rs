//! Tests for `push`.

use serde_json::{Value, json};

use super::*;

const SHA: &str = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7";

fn push_event(kind: PushKind, reference: &str, sha: Option<&str>) -> PushEvent {
    PushEvent {
        kind,
        reference: reference.to_owned(),
        sha: sha.map(str::to_owned),
        digest: None,
        author: Some("mona".to_owned()),
        url: Some("https://git.example/page".to_owned()),
        repository: "Octo/app".to_owned(),
        default_branch: None,
        before: None,
        happened: None,
    }
}

fn read(provider: Provider, event_type: &str, body: &Value) -> Result<Option<PushEvent>, PushError> {
    PushEvent::read(provider, Some(event_type), body.to_string().as_bytes())
}

/// A body with one value replaced.
fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut body = body.clone();
    *body.pointer_mut(pointer).unwrap() = value;
    body
}

fn push_body() -> Value {
    json!({
        "ref": "refs/heads/main", "before": "0".repeat(40), "after": SHA, "deleted": false,
        "pusher": {"name": "mona", "email": "mona@example.com"},
        "head_commit": {"id": SHA, "url": "https://git.example/page"},
        "repository": {"full_name": "Octo/app"},
    })
}

fn release_body() -> Value {
    json!({
        "action": "published",
        "release": {
            "tag_name": "v1.2.3", "target_commitish": "main", "draft": false,
            "html_url": "https://git.example/page", "author": {"login": "mona"},
        },
        "repository": {"full_name": "Octo/app"},
    })
}

fn gitlab_body() -> Value {
    json!({
        "object_kind": "push", "ref": "refs/heads/main", "after": SHA, "checkout_sha": SHA,
        "user_name": "Mona", "user_username": "mona",
        "project": {"path_with_namespace": "Octo/app"},
        "commits": [{"id": "0", "url": "no"}, {"id": SHA, "url": "https://git.example/page"}],
    })
}

#[test]
fn pushes_to_branches_and_tags_are_read() {
    for provider in [Provider::GitHub, Provider::Gitea] {
        let body = push_body();
        assert_eq!(read(provider, "push", &body), Ok(Some(push_event(PushKind::Branch, "main", Some(SHA)))));
        let tag = with(&body, "/ref", json!("refs/tags/v1"));
        assert_eq!(read(provider, "push", &tag), Ok(Some(push_event(PushKind::Tag, "v1", Some(SHA)))));
    }
    let body = gitlab_body();
    assert_eq!(
        read(Provider::GitLab, "Push Hook", &body),
        Ok(Some(push_event(PushKind::Branch, "main", Some(SHA))))
    );
    let tag = with(&with(&body, "/ref", json!("refs/tags/v1")), "/object_kind", json!("tag_push"));
    assert_eq!(
        read(Provider::GitLab, "Tag Push Hook", &tag),
        Ok(Some(push_event(PushKind::Tag, "v1", Some(SHA))))
    );
}

#[test]
fn releases_and_packages_are_read() {
    let expected = push_event(PushKind::Release, "v1.2.3", None);
    for provider in [Provider::GitHub, Provider::Gitea] {
        assert_eq!(read(provider, "release", &release_body()), Ok(Some(expected.clone())));
        let of_commit = with(&release_body(), "/release/target_commitish", json!(SHA));
        assert_eq!(read(provider, "release", &of_commit).unwrap().unwrap().sha.as_deref(), Some(SHA));
    }
    let gitlab = json!({
        "object_kind": "release", "action": "create", "tag": "v1.2.3", "url": "https://git.example/page",
        "project": {"path_with_namespace": "Octo/app"},
        "commit": {"id": SHA, "url": "no", "author": {"name": "mona"}},
    });
    assert_eq!(
        read(Provider::GitLab, "Release Hook", &gitlab),
        Ok(Some(PushEvent { sha: Some(SHA.to_owned()), ..expected }))
    );

    let digest = format!("sha256:{}", "0123456789abcdef".repeat(4));
    let package = json!({
        "name": "app", "namespace": "Octo", "html_url": "https://git.example/page",
        "package_version": {
            "version": "sha256:0123", "target_oid": SHA, "container_metadata": {"tag": {"name": "v1", "digest": digest}},
        },
    });
    let expected = push_event(PushKind::Package, "v1", Some(SHA));
    let with_digest = PushEvent { digest: Some(digest), ..expected.clone() };
    for (event_type, member) in [("registry_package", "registry_package"), ("package", "package")] {
        let body = json!({
            "action": "published", member: package, "repository": {"full_name": "Octo/app"}, "sender": {"login": "mona"},
        });
        assert_eq!(read(Provider::GitHub, event_type, &body), Ok(Some(with_digest.clone())));
        let short = with(
            &body,
            &format!("/{member}/package_version/container_metadata/tag/digest"),
            json!("sha256:0123"),
        );
        assert_eq!(read(Provider::GitHub, event_type, &short), Ok(Some(expected.clone())));
        let untagged =
            with(&body, &format!("/{member}/package_version/container_metadata/tag"), json!({"name": ""}));
        assert_eq!(read(Provider::GitHub, event_type, &untagged), Ok(None));
    }
    let gitea = json!({
        "action": "created", "sender": {"login": "mona"},
        "package": {"name": "app", "version": "v1", "type": "container", "owner": {"login": "Octo"}, "html_url": "https://git.example/page"},
    });
    assert_eq!(read(Provider::Gitea, "package", &gitea), Ok(Some(PushEvent { sha: None, ..expected })));
}

#[test]
fn nothing_new_is_no_push() {
    for (provider, event_type, body) in [
        (Provider::GitHub, "ping", json!({"zen": "Design for failure."})),
        (Provider::GitHub, "push", with(&push_body(), "/after", json!("0".repeat(40)))),
        (Provider::GitHub, "push", with(&push_body(), "/ref", json!("refs/notes/commits"))),
        (Provider::GitHub, "release", with(&release_body(), "/action", json!("deleted"))),
        (Provider::GitHub, "release", with(&release_body(), "/release/draft", json!(true))),
        (Provider::GitLab, "Push Hook", with(&gitlab_body(), "/checkout_sha", Value::Null)),
        (Provider::GitLab, "System Hook", json!({"event_name": "project_create"})),
        (Provider::GitLab, "Issue Hook", json!({"object_kind": "issue"})),
        (Provider::Stripe, "push", push_body()),
    ] {
        assert_eq!(read(provider, event_type, &body), Ok(None), "{provider} {event_type} {body}");
    }
    assert_eq!(PushEvent::read(Provider::GitHub, None, b""), Ok(None));
}

#[test]
fn bodies_of_another_form_are_refused() {
    let error = |body: &Value| read(Provider::GitHub, "push", body).unwrap_err().to_string();
    let text = "the body has no valid after, expected 40 or 64 hexadecimal digits";
    assert_eq!(error(&with(&push_body(), "/after", json!("main"))), text);
    let text = "the body has no valid ref, expected 1 to 1024 bytes without control characters";
    assert_eq!(error(&with(&push_body(), "/ref", json!("refs/heads/"))), text);
    assert_eq!(error(&with(&push_body(), "/ref", json!("refs/heads/a\nb"))), text);
    assert_eq!(error(&with(&push_body(), "/ref", json!(format!("refs/heads/{}", "x".repeat(1025))))), text);
    let missing = error(&json!({"ref": "refs/heads/main"}));
    assert!(missing.starts_with("the body is not that of a push: missing field `after`"), "{missing}");
    assert!(PushEvent::read(Provider::GitHub, Some("push"), &[b'['; 100_000]).is_err());
}

#[test]
fn what_is_only_shown_may_be_missing() {
    let body = with(&push_body(), "/pusher/name", json!("a\u{1b}[31m"));
    let body = with(&body, "/head_commit", Value::Null);
    let found = read(Provider::GitHub, "push", &body).unwrap().unwrap();
    assert_eq!((found.author, found.url), (None, None));
}

#[test]
fn events_are_read_as_they_are_kept() {
    let found = |provider, event_type: &str, body: &Value| {
        PushEvent::of_event(provider, event_type, body.to_string().as_bytes()).unwrap().map(|push| push.kind)
    };
    assert_eq!(found(Provider::GitHub, "com.github.push", &push_body()), Some(PushKind::Branch));
    assert_eq!(found(Provider::Gitea, "io.gitea.release", &release_body()), Some(PushKind::Release));
    assert_eq!(found(Provider::GitLab, "com.gitlab.push_hook", &gitlab_body()), Some(PushKind::Branch));
    assert_eq!(found(Provider::GitHub, "com.github.ping", &push_body()), None);
    assert_eq!(found(Provider::GitHub, "io.gitea.push", &push_body()), None);
}

#[test]
fn order_of_pushes_is_read() {
    let before = "ab".repeat(20);
    let mut body = push_body();
    body["before"] = json!(before);
    body["repository"] = json!({"full_name": "o/a", "default_branch": "main", "pushed_at": 1_700_000_000});
    let found = read(Provider::GitHub, "push", &body).unwrap().unwrap();
    assert_eq!((found.default_branch.as_deref(), found.before.as_deref()), (Some("main"), Some(&*before)));
    assert_eq!(found.happened.unwrap().to_string(), "2023-11-14T22:13:20Z");
    for odd in [json!(null), json!("soon"), json!(-1), json!(1e300), json!({"at": 1})] {
        body["repository"]["pushed_at"] = odd.clone();
        assert_eq!(read(Provider::GitHub, "push", &body).unwrap().unwrap().happened, None, "{odd}");
    }
    // A branch that is new has nothing before it.
    assert_eq!(read(Provider::GitHub, "push", &push_body()).unwrap().unwrap().before, None);
}

#[test]
fn later_of_two_pushes_is_known_however_they_come() {
    let order = |received: u64, happened: Option<u64>, commit: &str, before: &str| EventOrder {
        received: Timestamp::from_unix_ms(received),
        happened: happened.map(Timestamp::from_unix_ms),
        commit: Some(commit.to_owned()),
        before: Some(before.to_owned()),
    };
    #[track_caller]
    fn check(first: &EventOrder, then: &EventOrder) {
        assert!(first.is_before(then) && !then.is_before(first), "{first:?} {then:?}");
    }
    // The commits lead from one to the other, whatever the times.
    check(&order(9, Some(9), "a", "0"), &order(1, Some(1), "b", "a"));
    // The host says when.
    check(&order(9, Some(1), "a", "0"), &order(1, Some(2), "c", "b"));
    // Within the same second, and where one time is missing, they are as they came.
    check(&order(1, Some(2), "a", "0"), &order(9, Some(2), "c", "b"));
    check(&order(1, None, "a", "0"), &order(9, Some(1), "c", "b"));
    // One takes the other back.
    check(&order(1, Some(1), "b", "a"), &order(9, Some(2), "a", "b"));
    let one = order(1, Some(1), "a", "0");
    assert!(!one.is_before(&one));
}

#[test]
fn template_is_filled_from_the_push() {
    let branch = push_event(PushKind::Branch, "feature/x", Some(SHA));
    let tag = push_event(PushKind::Tag, "v1.2.3", Some(SHA));
    let expand =
        |template: &str, push: &PushEvent| template.parse::<UrlTemplate>().unwrap().expand(push).unwrap();
    assert_eq!(expand("oci://r.example/app:{sha}", &branch), format!("oci://r.example/app:{SHA}"));
    assert_eq!(
        expand("oci://r.example:5000/{repository}:{tag}", &tag),
        "oci://r.example:5000/octo/app:v1.2.3"
    );
    assert_eq!(
        expand("https://h.example/{ref}/{sha}.wasm?x=1", &branch),
        format!("https://h.example/feature-x/{SHA}.wasm?x=1")
    );
    assert_eq!(expand("oci://r.example/app:latest", &branch), "oci://r.example/app:latest");
}

#[test]
fn values_that_could_change_the_url_are_refused() {
    let template: UrlTemplate = "https://h.example/{repository}/{ref}".parse().unwrap();
    let error = |reference: &str, repository: &str| {
        let push =
            PushEvent { repository: repository.to_owned(), ..push_event(PushKind::Tag, reference, None) };
        template.expand(&push).unwrap_err()
    };
    for reference in [
        "..",
        ".hidden",
        "-x",
        "a b",
        "a%2e",
        "a?b",
        "a#b",
        "a@b",
        "a:b",
        "a{sha}",
        "ä",
        "a\\b",
        &"x".repeat(129),
    ] {
        assert!(
            matches!(error(reference, "o/a"), ExpandError::Value { placeholder: "ref", .. }),
            "{reference}"
        );
    }
    for repository in ["../x", "o/../x", "o//x", "/o", "o/", "o/.", "o:1/x"] {
        assert!(
            matches!(error("v1", repository), ExpandError::Value { placeholder: "repository", .. }),
            "{repository}"
        );
    }
    let branch = push_event(PushKind::Branch, "main", None);
    let missing =
        |template: &str| template.parse::<UrlTemplate>().unwrap().expand(&branch).unwrap_err().to_string();
    assert_eq!(missing("oci://r.example/app:{tag}"), "the push says no tag");
    assert_eq!(missing("oci://r.example/app:{sha}"), "the push says no sha");
    assert_eq!(
        error("a b", "o/a").to_string(),
        r#"the push has "a b" as its ref, expected letters, digits and ._- with a letter, digit or _ first, at most 128 bytes"#,
    );
}

#[test]
fn templates_have_a_plain_host_and_known_placeholders() {
    #[track_caller]
    fn check(template: &str, text: &str) {
        assert_eq!(template.parse::<UrlTemplate>().unwrap_err().to_string(), text);
    }
    check("http://h.example/a", r#"URL "http://h.example/a" does not begin with oci:// or https://"#);
    for template in [
        "https://{repository}/a",
        "https://h.example",
        "oci:///a",
        "https://u:p@h.example/a",
        "https://h.example/",
    ] {
        check(
            template,
            &format!(
                "URL {template:?} has no plain host with a path behind it, expected one like registry.example.com/app"
            ),
        );
    }
    check(
        "https://h.example/{branch}",
        "placeholder {branch} is not known, expected {sha}, {ref}, {tag} or {repository}",
    );
    check(
        "https://h.example/{SHA}",
        "placeholder {SHA} is not known, expected {sha}, {ref}, {tag} or {repository}",
    );
    check("https://h.example/{", "URL has an unmatched brace at byte 18");
    check("https://h.example/a}", "URL has an unmatched brace at byte 19");
    check("https://h.example/a b", "URL has ' ' at byte 19, expected letters, digits and -._~/:@?&=%+");
    check(
        &format!("https://h.example/{}", "x".repeat(1024)),
        "URL is 1042 bytes long, expected at most 1024",
    );
    let template: UrlTemplate = "oci://r.example/app:{sha}".parse().unwrap();
    assert_eq!(template.to_string(), template.as_str());
}
