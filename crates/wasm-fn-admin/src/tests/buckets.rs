//! Tests of buckets over HTTP: listed, read, set, deleted and refused.

use super::*;

const CARTS: &str = "/v1/functions/hello/stages/live/buckets/carts";

async fn deployed() -> Api {
    let api = Api::start().await;
    let carts = json!({ "bytes_max": 1024, "keys_max": 3, "value_bytes_max": 100, "durability": "relaxed" });
    let config = json!({ "config": { "buckets": { "carts": carts } } });
    let growth = api.deploy("hello", b"1", config).await.json()["growth"].clone();
    assert_eq!(growth[0], "bucket carts");
    api
}

#[tokio::test]
async fn values_are_set_read_listed_and_deleted() {
    let api = deployed().await;
    assert_eq!(&*api.node.stage("hello").stable().target, "hello v1 carts@live");
    let before = api.get("/v1/functions/hello").await.json()["revision"].clone();
    let nothing = api.get(&format!("{CARTS}/value?key=a")).await;
    assert_eq!(nothing.problem(), (404, "no-such-key".to_owned()));
    let set = api.raw("PUT", &format!("{CARTS}/value?key=a%2F..%2Fb"), "text").await.json();
    assert_eq!((&set["key"], &set["revision"]), (&json!("a/../b"), &json!(1)));
    api.raw("PUT", &format!("{CARTS}/value?key="), &b"\xff\0"[..]).await.json();
    let text = api.get(&format!("{CARTS}/value?key=a%2F..%2Fb")).await.json();
    assert_eq!((&text["value"], &text["bytes"]), (&json!("text"), &json!(4)));
    let bytes = api.get(&format!("{CARTS}/value?key=")).await.json();
    assert_eq!((&bytes["value"], &bytes["value_base64"]), (&Value::Null, &json!("/wA=")));

    let list = api.get(&format!("{CARTS}/keys?limit=1")).await.json();
    assert_eq!((&list["keys"], &list["more"]), (&json!([""]), &json!(true)));
    assert_eq!((&list["keys_used"], &list["keys_max"]), (&json!(2), &json!(3)));
    assert_eq!((&list["bytes_used"], &list["bytes_max"]), (&json!(12), &json!(1024)));
    let rest = api.get(&format!("{CARTS}/keys?after=&prefix=a")).await.json();
    assert_eq!((&rest["keys"], &rest["more"]), (&json!(["a/../b"]), &json!(false)));

    let metrics = api.get("/metrics").await.text;
    for line in [
        r#"wasm_fn_bucket_bytes{function="hello",stage="live",bucket="carts"} 12"#,
        r#"wasm_fn_bucket_keys{function="hello",stage="live",bucket="carts"} 2"#,
        r#"wasm_fn_bucket_operations_total{result="written"} 2"#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let deleted = api.raw("DELETE", &format!("{CARTS}/value?key="), "").await.json();
    assert_eq!((&deleted["key"], &deleted["revision"]), (&json!(""), &Value::Null));
    let gone = api.raw("DELETE", &format!("{CARTS}/value?key="), "").await;
    assert_eq!(gone.problem(), (404, "no-such-key".to_owned()));

    // What changed something is in the journal, without the value, and leaves the function's revision.
    let history = api.get("/v1/functions/hello/history").await.json();
    let changes = history["entries"].as_array().unwrap().iter().take(3);
    let changes: Vec<_> = changes.map(|entry| (&entry["action"], &entry["value"])).collect();
    let value = |key: &str| json!({ "bucket": "carts", "key": key });
    let expected = [("delete-value", value("")), ("set-value", value("")), ("set-value", value("a/../b"))];
    let expected = expected.map(|(action, value)| (json!(action), value));
    assert_eq!(changes, expected.iter().map(|(action, value)| (action, value)).collect::<Vec<_>>());
    assert!(!history.to_string().contains("text\""), "{history}");
    assert_eq!(api.get("/v1/functions/hello").await.json()["revision"], before);
}

#[tokio::test]
async fn what_the_bucket_does_not_take_is_refused() {
    let api = deployed().await;
    let put = async |key: &str, value: Vec<u8>| {
        let answer = api.raw("PUT", &format!("{CARTS}/value?key={key}"), value).await;
        let (status, code) = answer.problem();
        (status, code, answer.json()["detail"].as_str().unwrap().to_owned())
    };
    let (status, code, detail) = put(&"k".repeat(10 << 10), b"v".to_vec()).await;
    assert_eq!((status, &*code), (400, "invalid-key"));
    assert_eq!(detail, "key has 10240 bytes, expected at most 1024");
    let (status, code, _) = put("k", vec![0; 101]).await;
    assert_eq!((status, &*code), (413, "too-large"));
    for key in ["a", "b", "c"] {
        assert_eq!(api.raw("PUT", &format!("{CARTS}/value?key={key}"), "v").await.status, 200);
    }
    let (status, code, detail) = put("d", b"v".to_vec()).await;
    assert_eq!((status, &*code), (409, "bucket-full"));
    assert_eq!(detail, "bucket `carts` is full: 4 keys with this write, expected at most 3");

    for (path, expected) in [
        ("/v1/functions/hello/stages/live/buckets/cards/keys", (404, "no-such-bucket")),
        ("/v1/functions/hello/stages/staging/buckets/carts/keys", (404, "no-such-stage")),
        ("/v1/functions/hell/stages/live/buckets/carts/keys", (404, "no-such-function")),
        ("/v1/functions/hello/stages/live/buckets/Carts/keys", (400, "invalid-name")),
        ("/v1/functions/hello/stages/live/buckets/carts/keys?limit=0", (400, "invalid-request")),
        ("/v1/functions/hello/stages/live/buckets/carts/value", (400, "invalid-request")),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{path}");
    }
    let named = api.get("/v1/functions/hello/stages/live/buckets/cards/keys").await.json();
    assert_eq!(named["detail"], "no version of `hello` has a bucket `cards`, expected one of carts");
}

#[tokio::test]
async fn functions_and_stages_are_forgotten_when_they_are_deleted() {
    let api = deployed().await;
    let more = json!({ "stage": "staging", "config": { "buckets": { "carts": {} } }, "allow_new": true });
    assert_eq!(api.deploy("hello", b"1", more).await.status, 200);
    assert_eq!(api.raw("DELETE", "/v1/functions/hello/stages/staging", "").await.status, 200);
    assert_eq!(api.raw("DELETE", "/v1/functions/hello", "").await.status, 200);
    assert_eq!(*api.node.host.forgotten.lock().unwrap(), ["hello@staging", "hello"]);
}
