//! Facts about secrets: which guests see them, and where they never appear.

use wasm_fn_secrets::SecretValue;
use zeroize::Zeroizing;

use super::*;

fn secrets(values: &[(&str, &str)], are_variables: bool) -> Arc<SecretSet> {
    let value = |text: &str| SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap();
    let values = values.iter().map(|(name, text)| (name.parse().unwrap(), value(text))).collect();
    Arc::new(SecretSet::new(values, are_variables).unwrap())
}

/// A configuration with variables of its own, and with secrets that are variables or not.
fn config(secrets_env: bool) -> FunctionConfig {
    let env = [("GREETING".to_owned(), "hi".to_owned())].into();
    FunctionConfig { env, secrets_env, ..FunctionConfig::default() }
}

/// All of a function's log.
fn logged(node: &Node, function: &str) -> Vec<String> {
    node.log(function).into_iter().map(|(_, text)| text).collect()
}

#[tokio::test]
async fn a_guest_reads_its_secrets_by_name_and_nothing_else() {
    let node = Node::start();
    let values = [("API_KEY", "hunter2"), ("PEM", "one\ntwo\n")];
    let version = node.version_with("shop", &prebuilt("secrets"), config(false), secrets(&values, false));
    assert_eq!(ok(&version, "/get/API_KEY").await, "hunter2");
    assert_eq!(ok(&version, "/get/PEM").await, "one\ntwo\n");
    for other in ["GREETING", "api_key", "API_KEY2", "API_KEY%00", "="] {
        let (status, text) = get(&version, &format!("/get/{other}")).await.unwrap();
        assert_eq!(status, StatusCode::NOT_FOUND, "{other}: {text}");
    }
    assert_eq!(ok(&version, "/all").await, "API_KEY=hunter2\nPEM=one\ntwo\n\n\nGREETING=hi\n");
}

#[tokio::test]
async fn secrets_are_variables_only_if_the_configuration_says_so() {
    let node = Node::start();
    for (secrets_env, expected) in [
        (false, "API_KEY=hunter2\n\nGREETING=hi\n"),
        (true, "API_KEY=hunter2\n\nAPI_KEY=hunter2\nGREETING=hi\n"),
    ] {
        let secrets = secrets(&[("API_KEY", "hunter2")], secrets_env);
        let version = node.version_with("shop", &prebuilt("secrets"), config(secrets_env), secrets);
        assert_eq!(ok(&version, "/all").await, expected);
    }
}

#[tokio::test]
async fn a_command_has_its_secrets_as_variables_that_no_request_can_replace() {
    let node = Node::start();
    // The guest shows variables that begin with HTTP_.
    let values = [("HTTP_API_KEY", "hunter2"), ("HTTP_X_MODE", "of the stage")];
    for secrets_env in [false, true] {
        let secrets = secrets(&values, secrets_env);
        let version = node.version_with("shop", &prebuilt("cgi"), config(secrets_env), secrets);
        let request = Request::get("/").header("host", "test").header("x-mode", "of the request");
        compiled(&version).await;
        let answered = version.clone().invoke(invocation(request.body(Full::<Bytes>::default()).unwrap()));
        let body = answered.await.unwrap().into_body().collect().await.unwrap().to_bytes();
        let shown = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(shown.contains("hunter2"), secrets_env, "{shown}");
        assert_eq!(shown.contains("of the stage"), secrets_env, "{shown}");
        assert_eq!(shown.contains("of the request"), !secrets_env, "{shown}");
    }
}

#[tokio::test]
async fn versions_keep_their_own_values() {
    let node = Node::start();
    let version = |value| {
        let secrets = secrets(&[("API_KEY", value)], false);
        node.version_with("shop", &prebuilt("secrets"), config(false), secrets)
    };
    let (old, new) = (version("hunter1"), version("hunter2"));
    // The second request of each may find an instance ready.
    for _ in 0..2 {
        assert_eq!(ok(&old, "/get/API_KEY").await, "hunter1");
        assert_eq!(ok(&new, "/get/API_KEY").await, "hunter2");
    }
    let none = node.version_with("shop", &prebuilt("secrets"), config(false), SecretSet::none());
    assert_eq!(ok(&none, "/all").await, "\nGREETING=hi\n");
}

#[tokio::test]
async fn values_are_masked_in_everything_that_is_kept_of_a_guest() {
    let node = Node::start();
    let secrets = secrets(&[("API_KEY", "hunter2-hunter2")], true);
    let version = node.version_with("shop", &prebuilt("secrets"), config(true), secrets);
    ok(&version, "/log/API_KEY").await;
    assert_eq!(logged(&node, "shop"), ["API_KEY is *** here", "***"]);

    let fault = get(&version, "/hunter2-hunter2/panic/API_KEY").await.unwrap_err();
    assert!(matches!(fault, Fault::Trap { .. }), "{fault}");
    let page = node.runtime.logs(&"shop".parse().unwrap(), 2);
    let text = format!("{page:?} {fault}");
    assert!(text.contains("wrong password \\\\\\\"***") || text.contains("wrong password \\\"***"), "{text}");
    assert!(text.contains("path: \"/***/panic/API_KEY\""), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn reasons_that_quote_a_guest_are_masked() {
    let node = Node::start();
    // A command whose answer is not one: its first line is shown.
    let config = FunctionConfig { secrets_env: true, ..FunctionConfig::default() };
    let broken = wat::parse_str(
        r#"(module
            (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 64) "hunter2-hunter2\n\n")
            (func (export "_start")
                (i32.store (i32.const 0) (i32.const 64))
                (i32.store (i32.const 4) (i32.const 17))
                (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let secrets = secrets(&[("API_KEY", "hunter2-hunter2")], true);
    let version = node.version_with("shop", &broken.unwrap(), config, secrets);
    let fault = get(&version, "/").await.unwrap_err().to_string();
    let log = logged(&node, "shop");
    assert!(fault.contains("***") && !fault.contains("hunter2"), "{fault}");
    assert_eq!(log, [fault]);
}

#[tokio::test]
async fn a_component_that_reads_secrets_is_prepared_with_them() {
    let node = Node::start();
    let digest = node.add(&prebuilt("secrets"));
    let secrets = secrets(&[("API_KEY", "hunter2")], false);
    let prepared = node.runtime.prepare(digest, &config(false), secrets, Arc::new(|_| {})).await.unwrap();
    assert_eq!(prepared.kind, Kind::Http02);
}
