//! Each provider's rules, and what is refused by all of them alike.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;

/// A request, and how its provider signs it.
struct Signed {
    provider: Provider,
    secret: &'static [u8],
    body: &'static [u8],
    headers: Vec<(&'static str, String)>,
    now: Timestamp,
    verified: Verified,
}

fn verified(id: Option<&str>, event_type: Option<&str>, seconds: u64) -> Verified {
    Verified {
        delivery_id: id.map(str::to_owned),
        event_type: event_type.map(str::to_owned),
        time: Timestamp::from_unix_seconds(seconds),
    }
}

/// "Validating webhook deliveries" on docs.github.com: "Testing the webhook payload validation".
fn github() -> Signed {
    let digits = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    Signed {
        provider: Provider::GitHub,
        secret: b"It's a Secret to Everybody",
        body: b"Hello, World!",
        headers: vec![
            ("x-hub-signature-256", format!("sha256={digits}")),
            ("x-github-delivery", id.into()),
            ("x-github-event", "push".into()),
        ],
        now: NOW,
        verified: verified(Some(id), Some("push"), 1_790_769_600),
    }
}

/// GitLab publishes no example.
fn gitlab() -> Signed {
    let id = "f5e5f430-f57b-4e6e-9fac-d9128cd7232f";
    Signed {
        provider: Provider::GitLab,
        secret: b"correct horse battery staple",
        body: b"{}",
        headers: vec![
            ("x-gitlab-token", "correct horse battery staple".into()),
            ("idempotency-key", id.into()),
            ("x-gitlab-event-uuid", "13792a34-cac6-4fda-95a8-c58e00a3954e".into()),
            ("x-gitlab-event", "Push Hook".into()),
        ],
        now: NOW,
        verified: verified(Some(id), Some("Push Hook"), 1_790_769_600),
    }
}

const GITLAB_SIGNING: &[u8] = b"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// As for Standard Webhooks, whose example has the same secret and body.
fn gitlab_signed() -> Signed {
    let mut signed = Signed { provider: Provider::GitLab, ..standard() };
    signed.headers.push(("x-gitlab-event", "Push Hook".into()));
    signed.headers.push(("idempotency-key", "not signed".into()));
    signed.verified.event_type = Some("Push Hook".into());
    signed
}

/// Gitea publishes no example.
fn gitea() -> Signed {
    let body = br#"{"ref":"refs/heads/main"}"#;
    let id = "f6266f16-1bf3-46a5-9ea4-602e06ead473";
    Signed {
        provider: Provider::Gitea,
        secret: b"3gEsCfjlV2ugRwgpU#w1*WaW*wa4NXgGmpCfkbG3",
        body,
        headers: vec![
            ("x-gitea-signature", hex::encode(hmac(b"3gEsCfjlV2ugRwgpU#w1*WaW*wa4NXgGmpCfkbG3", body))),
            ("x-gitea-delivery", id.into()),
            ("x-gitea-event", "push".into()),
        ],
        now: NOW,
        verified: verified(Some(id), Some("push"), 1_790_769_600),
    }
}

/// Stripe publishes no example with its secret. The whole text of a secret is the key, `whsec_` included.
fn stripe() -> Signed {
    let body = br#"{"id":"evt_1Mtwd","object":"event","type":"charge.succeeded","data":{}}"#;
    let secret = b"whsec_test_secret";
    let digits = hex::encode(hmac(secret, &[b"1790769500.", &body[..]].concat()));
    let old = "6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39";
    Signed {
        provider: Provider::Stripe,
        secret,
        body,
        headers: vec![("stripe-signature", format!("t=1790769500,v1={old},v1={digits},v0={old}"))],
        now: NOW,
        verified: verified(Some("evt_1Mtwd"), Some("charge.succeeded"), 1_790_769_500),
    }
}

/// "Verifying requests from Slack" on docs.slack.dev.
fn slack() -> Signed {
    let digits = "a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    Signed {
        provider: Provider::Slack,
        secret: b"8f742231b10e8888abcd99yyyzzz85a5",
        body: b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
        headers: vec![
            ("x-slack-signature", format!("v0={digits}")),
            ("x-slack-request-timestamp", "1531420618".into()),
        ],
        now: Timestamp::from_unix_seconds(1_531_420_620),
        verified: verified(None, None, 1_531_420_618),
    }
}

/// The reference implementation's test of `sign`, with another signature before and an asymmetric one behind.
fn standard() -> Signed {
    let right = "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=";
    let other = "v1,tFtCZ5RDCPxzWQRWXWPgrCgE2frDBe9gjpbWQxnVfsQ=";
    let asymmetric =
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    let id = "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk";
    Signed {
        provider: Provider::Standard,
        secret: GITLAB_SIGNING,
        body: br#"{"email":"test@example.com","username":"test_user"}"#,
        headers: vec![
            ("webhook-signature", format!("{other} {right} {asymmetric}")),
            ("webhook-timestamp", "1649367553".into()),
            ("webhook-id", id.into()),
        ],
        now: Timestamp::from_unix_seconds(1_649_367_560),
        verified: verified(Some(id), None, 1_649_367_553),
    }
}

fn all() -> [Signed; 7] {
    [github(), gitlab(), gitlab_signed(), gitea(), stripe(), slack(), standard()]
}

impl Signed {
    fn headers(&self) -> HeaderMap {
        let pairs: Vec<_> = self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        headers(&pairs)
    }

    fn verify(&self) -> Result<Verified, WebhookError> {
        self.provider.verify(&self.headers(), self.body, &[self.secret], self.now)
    }

    /// What is said if the first header has this value.
    fn with(&self, value: &str) -> WebhookError {
        let mut headers = self.headers();
        let name = self.headers[0].0;
        headers.insert(name, value.parse().unwrap());
        self.provider.verify(&headers, self.body, &[self.secret], self.now).unwrap_err()
    }

    /// Whether its time is signed.
    fn has_time(&self) -> bool {
        self.verified.time != NOW
    }
}

#[test]
fn signed_requests_are_verified() {
    for signed in all() {
        assert_eq!(signed.verify().as_ref(), Ok(&signed.verified), "{}", signed.provider);
    }
}

#[test]
fn any_of_the_secrets_may_have_signed() {
    for signed in all() {
        let other: &[u8] = b"whsec_b3RoZXIgc2VjcmV0IG9mIG9sZA==";
        for secrets in [[other, signed.secret], [signed.secret, other]] {
            let found = signed.provider.verify(&signed.headers(), signed.body, &secrets, signed.now);
            assert_eq!(found.as_ref(), Ok(&signed.verified), "{}", signed.provider);
        }
        let found = signed.provider.verify(&signed.headers(), signed.body, &[other], signed.now);
        let expected = match signed.provider {
            // It asks for what its only secret needs.
            Provider::GitLab if !signed.has_time() => WebhookError::Missing { header: "webhook-signature" },
            _ => WebhookError::Signature,
        };
        assert_eq!(found, Err(expected), "{}", signed.provider);
    }
}

#[test]
fn changed_bodies_are_refused() {
    for signed in all() {
        let mut body = signed.body.to_vec();
        body[0] ^= 1;
        let found = signed.provider.verify(&signed.headers(), &body, &[signed.secret], signed.now);
        // GitLab's secret tokens do not protect the body.
        let expected = match signed.provider {
            Provider::GitLab if !signed.has_time() => Ok(signed.verified),
            _ => Err(WebhookError::Signature),
        };
        assert_eq!(found, expected, "{}", signed.provider);
    }
}

#[test]
fn missing_and_doubled_headers_are_refused() {
    for signed in all() {
        let needed: &[&str] = match (signed.provider, signed.has_time()) {
            (Provider::Slack, _) => &["x-slack-signature", "x-slack-request-timestamp"],
            (Provider::Standard, _) | (Provider::GitLab, true) => {
                &["webhook-signature", "webhook-timestamp", "webhook-id"]
            }
            _ => &[signed.headers[0].0],
        };
        for &header in needed {
            let mut headers = signed.headers();
            headers.remove(header);
            let found = signed.provider.verify(&headers, signed.body, &[signed.secret], signed.now);
            assert_eq!(found, Err(WebhookError::Missing { header }), "{}", signed.provider);
        }
        for &(header, ref value) in &signed.headers {
            if signed.provider == Provider::GitLab && header == "x-gitlab-event-uuid"
                || signed.has_time() && header == "idempotency-key"
            {
                continue; // another id is there, and this one is not looked at
            }
            let mut headers = signed.headers();
            headers.append(header, value.parse().unwrap());
            let found = signed.provider.verify(&headers, signed.body, &[signed.secret], signed.now);
            assert_eq!(found, Err(WebhookError::Doubled { header }), "{}", signed.provider);
        }
    }
}

#[test]
fn times_must_be_near_and_are_checked_after_the_signature() {
    for signed in all().into_iter().filter(Signed::has_time) {
        let verify =
            |body: &[u8], now| signed.provider.verify(&signed.headers(), body, &[signed.secret], now);
        let (time, second) = (signed.verified.time, Duration::from_secs(1));
        let (late, early) = (time.saturating_add(TOLERANCE), time.saturating_sub(TOLERANCE));
        assert!(verify(signed.body, late).is_ok() && verify(signed.body, early).is_ok());
        let age = TOLERANCE + second;
        assert_eq!(verify(signed.body, late.saturating_add(second)), Err(WebhookError::TooOld { age }));
        assert_eq!(
            verify(signed.body, early.saturating_sub(second)),
            Err(WebhookError::InFuture { ahead: age })
        );
        // Who cannot sign does not learn what the clock is.
        assert_eq!(verify(b"other", late.saturating_add(second)), Err(WebhookError::Signature));
    }
}

#[test]
fn malformed_signatures_are_refused_and_wrong_ones_are_wrong() {
    let digits = "0".repeat(64);
    let hash = STANDARD.encode([0; 32]);
    for (signed, wrong, malformed) in [
        (
            github(),
            format!("sha256={digits}"),
            vec![
                "".into(),
                digits.clone(),
                format!("sha1={digits}"),
                format!("sha256={}", &digits[1..]),
                format!("sha256={digits}0"),
                format!("sha256={}g", &digits[1..]),
            ],
        ),
        (gitea(), digits.clone(), vec!["".into(), format!("sha256={digits}"), digits[1..].into()]),
        (
            slack(),
            format!("v0={digits}"),
            vec!["".into(), format!("v1={digits}"), format!("v0={}", &digits[2..])],
        ),
        (
            stripe(),
            format!("t=1790769500,v1={digits}"),
            vec![
                "".into(),
                "t=1790769500".into(),
                format!("v1={digits}"),
                format!("t=,v1={digits}"),
                format!("t=-1,v1={digits}"),
                format!("t=1,t=2,v1={digits}"),
                format!("t=1,v0={digits}"),
                format!("t=1,v1={}", &digits[1..]),
                format!("t=1{}", format!(",v1={digits}").repeat(9)),
            ],
        ),
        (
            standard(),
            format!("v1,{hash}"),
            vec![
                "".into(),
                hash.clone(),
                "v1,".into(),
                format!("v1a,{hash}"),
                format!("v2,{hash}"),
                "v1,AAAA".into(),
                [format!("v1,{hash}").as_str(); 9].join(" "),
            ],
        ),
    ] {
        assert_eq!(signed.with(&wrong), WebhookError::Signature, "{}", signed.provider);
        for value in malformed {
            let error = signed.with(&value);
            let header = signed.headers[0].0;
            assert!(
                matches!(error, WebhookError::Malformed { header: found, .. } if found == header),
                "{value}: {error}"
            );
        }
    }
    assert_eq!(gitlab().with("correct horse battery stapl"), WebhookError::Signature);
    assert_eq!(gitlab().with(""), WebhookError::Signature);
}

#[test]
fn signature_in_upper_case_is_the_same_number() {
    let mut signed = github();
    signed.headers[0].1 = signed.headers[0].1.replace("757107ea", "757107EA");
    assert_eq!(signed.verify().as_ref(), Ok(&signed.verified));
}

#[test]
fn ids_that_are_no_short_text_are_refused() {
    for (value, is_fine) in
        [("x".repeat(256), true), ("x".repeat(257), false), ("a\tb".into(), false), ("ü".into(), false)]
    {
        let mut signed = github();
        signed.headers[1].1 = value.clone();
        assert_eq!(signed.verify().is_ok(), is_fine, "{value}");
    }
    let mut signed = github();
    signed.headers.truncate(1);
    assert_eq!(signed.verify(), Ok(verified(None, None, 1_790_769_600)));
}

#[test]
fn gitlab_asks_for_what_the_triggers_secrets_need() {
    let plain: &[u8] = b"correct horse battery staple";
    let signed = gitlab_signed();
    let verify = |headers: &HeaderMap, secrets: &[&[u8]]| {
        Provider::GitLab.verify(headers, signed.body, secrets, signed.now)
    };
    // A signing token is not satisfied by itself as a secret token.
    let text = std::str::from_utf8(GITLAB_SIGNING).unwrap();
    let leaked = headers(&[("x-gitlab-token", text)]);
    assert_eq!(
        verify(&leaked, &[GITLAB_SIGNING]),
        Err(WebhookError::Missing { header: "webhook-signature" })
    );
    // With both kinds either is enough, and a signature that is there must be right.
    let both = [plain, GITLAB_SIGNING];
    assert!(verify(&headers(&[("x-gitlab-token", "correct horse battery staple")]), &both).is_ok());
    assert_eq!(verify(&signed.headers(), &both), Ok(signed.verified.clone()));
    let mut wrong = signed.headers();
    wrong.insert("webhook-signature", format!("v1,{}", STANDARD.encode([0; 32])).parse().unwrap());
    wrong.insert("x-gitlab-token", "correct horse battery staple".parse().unwrap());
    assert_eq!(verify(&wrong, &both), Err(WebhookError::Signature));
}

#[test]
fn gitlab_without_an_idempotency_key_is_known_by_its_event_uuid() {
    let mut signed = gitlab();
    signed.headers.remove(1);
    assert_eq!(signed.verify().unwrap().delivery_id.as_deref(), Some("13792a34-cac6-4fda-95a8-c58e00a3954e"));
}

#[test]
fn standard_secrets_are_base64_and_ids_have_no_dot() {
    let signed = standard();
    let verify =
        |secret: &[u8]| Provider::Standard.verify(&signed.headers(), signed.body, &[secret], signed.now);
    assert!(verify(b"C2FVsBQIhrscChlQIMV+b5sSYspob7oD").is_ok());
    for secret in [&b"not base64!"[..], b"whsec_", b"whsec_*"] {
        let error = verify(secret).unwrap_err();
        assert!(matches!(error, WebhookError::Secret { .. }) && error.is_ours());
    }
    let mut headers = signed.headers();
    headers.insert("webhook-id", "msg.1".parse().unwrap());
    let found = Provider::Standard.verify(&headers, signed.body, &[signed.secret], signed.now);
    assert!(matches!(found, Err(WebhookError::Malformed { header: "webhook-id", .. })));
}

#[track_caller]
fn check_slack(body: &'static [u8], id: Option<&str>, event_type: Option<&str>, challenge: Option<&str>) {
    let digits = hex::encode(hmac(b"key", &[b"v0:1790769600:", body].concat()));
    let headers = headers(&[
        ("x-slack-signature", &format!("v0={digits}")),
        ("x-slack-request-timestamp", "1790769600"),
    ]);
    let found = Provider::Slack.verify(&headers, body, &[b"key"], NOW).unwrap();
    assert_eq!(found, verified(id, event_type, 1_790_769_600));
    assert_eq!(Provider::Slack.handshake(&found, body).as_deref(), challenge);
}

#[test]
fn slack_events_are_known_by_what_is_in_the_envelope() {
    check_slack(
        br#"{"type":"event_callback","event_id":"Ev08MFMKH6","event":{"type":"app_mention"}}"#,
        Some("Ev08MFMKH6"),
        Some("app_mention"),
        None,
    );
    check_slack(
        br#"{"type":"url_verification","challenge":"3eZbrw1a"}"#,
        None,
        Some("url_verification"),
        Some("3eZbrw1a"),
    );
    check_slack(br#"{"type":"block_actions","challenge":"no"}"#, None, Some("block_actions"), None);
    for body in [&b"payload=%7B%7D"[..], b"[]", b"{\"type\":1,\"event_id\":{}}", b"", b"\xff"] {
        check_slack(body, None, None, None);
    }
}
