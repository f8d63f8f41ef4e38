//! Whom a configuration trusts, and what it is refused for.

use wasm_fn_access::ClaimValue;

use super::*;
use crate::config::{ConfigFile, Serve};

const OIDC: &str = r#"
[[serve.oidc]]
issuer = "https://token.actions.githubusercontent.com"
audience = "https://node.example.com"
rules = [
    { name = "github-shop", claims = { repository_id = "123" }, roles = ["deployer"], functions = ["shop-*"], stages = ["live"] },
    { name = "all", claims = { org = "shop" }, roles = ["viewer"] },
]
"#;

const CLIENTS: &str = r#"
[serve.admin_tls]
cert = "a.pem"
key = "a.key"
client_ca = "people.pem"
clients = [{ spiffe = "spiffe://example.com/ci", roles = ["deployer"] }, { dns = "CI.test", roles = ["viewer"] }]
"#;

fn read(text: &str) -> Result<Serve, String> {
    let file = ConfigFile::parse(Path::new("conf/wasm-fn.toml"), text).map_err(|error| error.to_string())?;
    let serve = Serve::merge(&crate::args::Serve::default(), file.serve)?;
    serve.check().map(|()| serve)
}

#[test]
fn issuer_is_read_with_its_rules_and_defaults() {
    let serve =
        read(&format!("{OIDC}ca = \"id.pem\"\nclock_skew = \"1m\"\nalgorithms = [\"EdDSA\"]\n")).unwrap();
    let [issuer] = &serve.oidc[..] else { panic!("there is one") };
    assert_eq!(issuer.ca, Some("conf/id.pem".into()));
    assert_eq!(
        (issuer.clock_skew, &issuer.algorithms[..]),
        (Duration::from_secs(60), &[SignatureAlgorithm::EdDsa][..])
    );
    let claims = |name: &str, text: &str| [(name.to_owned(), ClaimValue::Text(text.to_owned()))].into();
    let found = issuer.rules.find(&claims("repository_id", "123")).unwrap();
    assert_eq!(found.rights.scope.to_string(), "function `shop-*` in stage `live`");
    assert_eq!(issuer.rules.find(&claims("org", "shop")).unwrap().rights.scope.to_string(), "all functions");
    assert!(issuer.rules.find(&claims("org", "other")).is_none());
    let usual = read(OIDC).unwrap();
    assert_eq!(usual.oidc[0].clock_skew, CLOCK_SKEW);
    assert_eq!(usual.oidc[0].algorithms, SignatureAlgorithm::DEFAULT);
}

#[test]
fn login_is_offered_where_there_is_a_client() {
    assert_eq!(read(OIDC).unwrap().oidc[0].login, None);
    let login = |fields: &str| {
        let serve = read(&format!("{OIDC}login = {{ {fields} }}\n")).unwrap();
        let PublicClient { client_id, scopes } = serve.oidc[0].login.clone().unwrap();
        format!("{client_id}: {}", scopes.join(" "))
    };
    assert_eq!(login("client_id = \"wasm-fn\""), "wasm-fn: openid");
    assert_eq!(login("client_id = \"a\", scopes = [\"api://node/x\", \"b\"]"), "a: api://node/x b");
    assert_eq!(login("client_id = \"a\", scopes = []"), "a: ");
}

#[test]
fn clients_are_read_by_the_kind_of_their_name() {
    let serve = read(CLIENTS).unwrap();
    let names: Vec<_> = serve.admin_certificates.iter().map(|rule| rule.identity.to_string()).collect();
    assert_eq!(names, ["spiffe://example.com/ci", "dns:ci.test"]);
}

#[test]
fn what_would_trust_too_many_is_refused_with_its_key() {
    let oidc = |from: &str, to: &str| OIDC.replace(from, to);
    let clients = |from: &str, to: &str| CLIENTS.replace(from, to);
    let login = |fields: &str| format!("{OIDC}login = {{ {fields} }}\n");
    let table = [
        (oidc("https://token", "http://token"), "serve.oidc[0].issuer: issuer \"http://token"),
        (oidc("https://node.example.com", ""), "serve.oidc[0].audience: found an empty text"),
        (oidc("{ repository_id = \"123\" }", "{}"), "would match everybody, expected at least one"),
        (oidc("claims = { org = \"shop\" }, ", ""), "rule `all` has no claims"),
        (oidc("repository_id = \"123\"", "repository_id = 123"), "expected a string"),
        (oidc("[\"deployer\"]", "[\"owner\"]"), "serve.oidc[0].rules[0].roles: role \"owner\""),
        (oidc("[\"deployer\"]", "[]"), "serve.oidc[0].rules[0].roles: "),
        (oidc("shop-*", "*-shop"), "serve.oidc[0].rules[0].functions: pattern \"*-shop\""),
        (oidc("[\"live\"]", "[\"L\"]"), "serve.oidc[0].rules[0].stages: "),
        (oidc("\"all\"", "\"github-shop\""), "found two rules `github-shop`"),
        (oidc("\"all\"", "\"a b\""), "serve.oidc[0].rules[1].name: "),
        (format!("{OIDC}algorithms = [\"none\"]"), "algorithm \"none\", expected RS256"),
        (format!("{OIDC}algorithms = [\"RS256\", \"HS256\"]"), "algorithm \"HS256\", expected RS256"),
        (format!("{OIDC}algorithms = []"), "found no algorithm, expected RS256"),
        (format!("{OIDC}clock_skew = \"5m 1s\""), "found 5m 1s, expected 0s to 5m"),
        (
            format!("{OIDC}{OIDC}"),
            "serve.oidc[1].issuer: found https://token.actions.githubusercontent.com twice",
        ),
        (format!("{OIDC}verify = false"), "unknown field `verify`"),
        (oidc("rules = [", "x = ["), "unknown field `x`"),
        (login("client_id = \"\""), "serve.oidc[0].login.client_id: found \"\", expected 1 to 256"),
        (login("client_id = \"a b\""), "login.client_id: found \"a b\""),
        (login("client_id = \"a\", scopes = [\"a b\"]"), "serve.oidc[0].login.scopes: found \"a b\""),
        (login("client_id = \"a\", client_secret = \"s\""), "unknown field `client_secret`"),
        (
            login("client_id = \"https://node.example.com\", scopes = [\"email\"]"),
            "found email, expected also openid: the audience is that of ID tokens",
        ),
        (clients("spiffe://example.com/ci", "https://example.com/ci"), "begins with spiffe://"),
        (
            clients("dns = \"CI.test\"", "dns = \"a\", cn = \"b\""),
            "found 2 of spiffe, dns and cn, expected one",
        ),
        (clients("dns = \"CI.test\", ", ""), "found 0 of spiffe, dns and cn"),
        (clients("CI.test", ""), "found an empty name"),
        (clients("[\"viewer\"]", "[]"), "serve.admin_tls.clients[1].roles: "),
        (clients("client_ca = \"people.pem\"", ""), "without client_ca"),
    ];
    for (text, expected) in table {
        let error = read(&text).unwrap_err();
        assert!(error.contains(expected), "{error}\nexpected {expected}\n{text}");
    }
    let none = OIDC.split("rules = [").next().unwrap();
    assert!(read(none).unwrap_err().contains("found 0 rules, expected 1 to 64"));
}
