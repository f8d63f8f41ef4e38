//! Bodies of hostile callers: no operation answers with a fault of the node, or changes anything for a body
//! that is none.

use super::*;

#[path = "../../../../tests/fuzzing.rs"]
mod engine;

#[test]
fn no_body_is_a_fault_of_the_node() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let api = runtime.block_on(async {
        let api = Api::start().await;
        api.deploy("hello", b"a component", json!({})).await;
        api
    });
    let operations = [
        ("POST", "/v1/functions/hello/deployments"),
        ("PUT", "/v1/functions/hello/traffic"),
        ("POST", "/v1/functions/hello/rollback"),
        ("POST", "/v1/functions/hello/abort"),
        ("POST", "/v1/tokens"),
        ("POST", "/v1/functions/hello/stages/live/secrets"),
        ("PUT", "/v1/functions/hello/stages/live/triggers/nightly"),
        ("POST", "/v1/functions/hello/stages/live/promotions"),
    ];
    let number = std::cell::Cell::new(0);
    engine::fuzz("bodies of the admin API", &engine::corpus("tests/corpus/admin"), |case| {
        let (method, path) = operations[number.get() % operations.len()];
        number.set(number.get() + 1);
        let request = api.request(method, path).body(Full::new(Bytes::copy_from_slice(case))).unwrap();
        let status = runtime.block_on(async { api.open(request).await.status() });
        assert!(!status.is_server_error(), "{method} {path}: {status}");
    });
}
