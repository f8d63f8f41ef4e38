//! Tests of the page's files and sessions.

use super::*;

/// Fields of the head of a request.
type Fields<'a> = &'a [(&'a str, &'a str)];

impl Api {
    /// A request without a token, with these fields.
    async fn plain(&self, method: &str, path: &str, fields: Fields<'_>, body: &str) -> Answer {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri);
        let request = fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.send(request.body(Full::new(body.to_owned().into())).unwrap()).await
    }

    /// Logs in with the token that is shown. Returns the cookie and the key.
    async fn log_in(&self) -> (String, String) {
        let body = json!({ "token": self.token }).to_string();
        let answer = self.plain("POST", "/ui/session", &[("sec-fetch-site", "same-origin")], &body).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let cookie = answer.headers[header::SET_COOKIE].to_str().unwrap();
        assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
        assert!(!answer.text.contains(&self.token) && !cookie.contains(&self.token));
        let cookie = cookie.split(';').next().unwrap().to_owned();
        (cookie, answer.json()["key"].as_str().unwrap().to_owned())
    }
}

const SITE: (&str, &str) = ("sec-fetch-site", "same-origin");
const KEY: &str = "x-wasm-fn-session-key";

#[tokio::test]
async fn files_of_the_page_are_there_without_a_token() {
    let api = Api::start().await;
    assert_eq!(api.plain("GET", "/ui", &[], "").await.headers[header::LOCATION], "/ui/");
    let page = api.plain("GET", "/ui/", &[], "").await;
    assert_eq!(
        (page.status, &page.headers[header::CONTENT_TYPE]),
        (200, &"text/html; charset=utf-8".parse().unwrap())
    );
    assert!(page.headers.contains_key(header::CONTENT_SECURITY_POLICY));
    assert_eq!(api.plain("GET", "/ui/views/rollout.js", &[], "").await.status, 200);
    for path in ["/ui/nonsense", "/ui/../v1/caller", "/ui/%3Cscript%3E"] {
        assert_eq!(api.plain("GET", path, &[], "").await.problem().0, 404, "{path}");
    }
}

#[tokio::test]
async fn session_does_what_its_token_may_and_ends_with_it() {
    let mut api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let rights = json!({ "roles": ["viewer"] });
    let created = api.call("POST", "/v1/tokens", json!({ "name": "ci", "rights": rights })).await.json();
    let admin = std::mem::replace(&mut api.token, created["secret"].as_str().unwrap().to_owned());
    let (cookie, key) = api.log_in().await;
    let fields: Fields<'_> = &[("cookie", &cookie), (KEY, &key), SITE];
    let caller = api.plain("GET", "/v1/caller", fields, "").await;
    assert_eq!((caller.status, caller.json()["token"]["name"].as_str()), (200, Some("ci")), "{caller:?}");
    let refused = api.plain("POST", "/v1/functions/hello/rollback", fields, "{}").await;
    assert_eq!(refused.problem(), (403, "forbidden".to_owned()));
    api.token = admin;
    assert_eq!(api.raw("DELETE", "/v1/tokens/ci", "").await.status, 200);
    let answer = api.plain("GET", "/v1/caller", fields, "").await;
    assert_eq!(answer.problem(), (401, "unauthorized".to_owned()));
}

#[tokio::test]
async fn cookie_alone_is_nobody_and_so_is_the_key() {
    let api = Api::start().await;
    let (cookie, key) = api.log_in().await;
    let other = api.log_in().await.1;
    let attempts: [Fields<'_>; 4] = [
        &[("cookie", &cookie), SITE],
        &[(KEY, &key), SITE],
        &[("cookie", &cookie), (KEY, &other), SITE],
        &[("cookie", "wasm-fn-session=x"), (KEY, &key), SITE],
    ];
    for fields in attempts {
        assert_eq!(api.plain("GET", "/v1/caller", fields, "").await.problem().0, 401, "{fields:?}");
    }
    let fields: Fields<'_> = &[("cookie", &format!("a=b; {cookie}; c=d")), (KEY, &key), SITE];
    assert_eq!(api.plain("GET", "/v1/caller", fields, "").await.status, 200);
    assert_eq!(api.plain("DELETE", "/ui/session", fields, "").await.status, 204);
    assert_eq!(api.plain("GET", "/v1/caller", fields, "").await.problem().0, 401, "logged out");
}

#[tokio::test]
async fn nothing_is_changed_from_another_origin() {
    let api = Api::start().await;
    api.deploy("hello", b"1", json!({})).await;
    let (cookie, key) = api.log_in().await;
    let own = format!("http://{}", api.address);
    let with = |more: &[(&'static str, String)]| {
        let mut fields = vec![("cookie", cookie.clone()), (KEY, key.clone())];
        fields.extend(more.iter().cloned());
        fields
    };
    let text = |value: &str| value.to_owned();
    let body = json!({ "split": [{ "version": "v1", "weight": "100%" }] }).to_string();
    for (more, refused) in [
        (vec![], true),
        (vec![("sec-fetch-site", text("cross-site"))], true),
        (vec![("sec-fetch-site", text("same-site"))], true),
        (vec![("sec-fetch-site", text("none"))], true),
        (vec![("sec-fetch-site", text("cross-site")), ("origin", own.clone())], true),
        (vec![("origin", text("null"))], true),
        (vec![("origin", text("http://127.0.0.1:1"))], true),
        (vec![("origin", text("https://evil.example"))], true),
        (vec![("origin", own.clone())], false),
        (vec![("sec-fetch-site", text("same-origin"))], false),
    ] {
        let fields = with(&more);
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = api.plain("PUT", "/v1/functions/hello/traffic", &fields, &body).await;
        if refused {
            assert_eq!(answer.problem(), (403, "cross-origin".to_owned()), "{more:?}");
        } else {
            assert_eq!(answer.status, 200, "{more:?}: {answer:?}");
        }
        // Nobody is logged in, or out, from elsewhere either.
        let login = json!({ "token": TOKEN }).to_string();
        let answer = api.plain("POST", "/ui/session", &fields, &login).await;
        assert_eq!(answer.status == 403, refused, "{more:?}");
    }
    let read = [("cookie", cookie.as_str()), (KEY, &key), ("sec-fetch-site", "cross-site")];
    assert_eq!(api.plain("GET", "/v1/caller", &read, "").await.problem().1, "cross-origin");
}

#[tokio::test]
async fn wrong_tokens_begin_no_session_and_are_told_to_wait() {
    let api = Api::start().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        let answer =
            api.plain("POST", "/ui/session", &[SITE], &json!({ "token": "wfn_x" }).to_string()).await;
        assert!(!answer.headers.contains_key(header::SET_COOKIE));
        statuses.push(answer.status);
    }
    assert_eq!((statuses[0], statuses[19]), (401, 429), "{statuses:?}");
    assert_eq!(api.plain("POST", "/ui/session", &[SITE], "{}").await.problem().1, "invalid-request");
    api.log_in().await;
}

#[tokio::test]
async fn login_at_an_issuer_begins_only_from_the_page_and_where_it_is_offered() {
    let api = Api::start().await;
    let own = format!("http://{}", api.address);
    let begin = async |fields: Fields<'_>, issuer: &str| {
        api.plain("POST", "/ui/login", fields, &json!({ "issuer": issuer }).to_string()).await
    };
    let elsewhere = begin(&[("origin", "https://evil.example")], "https://id.example.com").await;
    assert_eq!(elsewhere.problem().1, "cross-origin");
    // Where to come back to is what the browser says, which has to say something.
    assert_eq!(begin(&[SITE], "https://id.example.com").await.problem().1, "cross-origin");
    let other = begin(&[SITE, ("origin", &own)], "https://evil.example").await;
    assert_eq!(other.problem(), (400, "invalid-request".to_owned()));
    assert!(other.text.contains("https://id.example.com"), "it says which there are: {}", other.text);
    let body = json!({ "issuer": "https://evil.example", "verifier": "v", "code": "c" }).to_string();
    let code = api.plain("POST", "/ui/login/code", &[SITE, ("origin", &own)], &body).await;
    assert_eq!(code.problem().1, "invalid-request");
}
