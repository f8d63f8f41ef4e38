//! Tests of uploads and deployments.

use super::*;

#[tokio::test]
async fn component_is_uploaded_once_and_deployed() {
    let api = Api::start().await;
    let digest = hex::encode(Sha256::digest(b"hello"));
    let path = format!("/v1/components/{digest}");
    assert_eq!(api.raw("HEAD", &path, "").await.status, 404);
    let uploaded = api.raw("PUT", &path, "hello").await;
    assert_eq!(uploaded.json(), json!({ "component": digest, "bytes": 5 }));
    let head = api.raw("HEAD", &path, "").await;
    assert_eq!((head.status, head.headers[header::CONTENT_LENGTH].as_bytes()), (200, &b"5"[..]));

    let deployed = api.deploy("hello", b"hello", json!({ "message": "first" })).await;
    assert_eq!(
        deployed.json(),
        json!({
            "function": "hello", "stage": "live", "version": "v1", "kind": "cgi", "unchanged": false,
            "first": true, "split": [{"version": "v1", "weight": "100%"}], "routes": ["/hello/*"],
            "growth": ["memory 128.0 MiB", "cpu 10s"], "revision": 1,
        })
    );
    let again = api.deploy("hello", b"hello", json!({})).await.json();
    assert_eq!(
        (&again["unchanged"], &again["version"], &again["revision"]),
        (&json!(true), &json!("v1"), &json!(1))
    );

    let started = api.deploy("hello", b"better", canary()).await.json();
    let split = json!([{"version": "v2", "weight": "10%"}, {"version": "v1", "weight": "90%"}]);
    assert_eq!(started["split"], split);
    assert_eq!(started["rollout"]["canary"], "v2");
    assert_eq!(started["rollout"]["strategy"], json!({ "name": "canary", "steps": ["10%"] }));
    let typed: wasm_fn_api::DeployResult = serde_json::from_value(started).unwrap();
    assert_eq!(typed.rollout.unwrap().from_split[0].version, "v1");
}

#[tokio::test]
async fn followed_deployment_ends_with_its_result_or_problem() {
    let api = Api::start().await;
    for (bytes, last) in [(&b"good"[..], "done"), (b"bad", "error")] {
        let component = api.upload(bytes).await;
        let body = json!({ "component": component }).to_string();
        let request = api
            .request("POST", "/v1/functions/hello/deployments")
            .header(header::ACCEPT, "application/json;q=0.5, application/x-ndjson")
            .body(Full::new(body.into()))
            .unwrap();
        let answer = api.send(request).await;
        assert_eq!((answer.status, &answer.headers[header::CONTENT_TYPE]), (200, &NDJSON.parse().unwrap()));
        let lines = answer.lines();
        let events: Vec<_> = lines.iter().map(|line| line["event"].as_str().unwrap()).collect();
        assert_eq!((events[0], *events.last().unwrap()), ("progress", last));
        assert_eq!(lines[0], json!({ "event": "progress", "stage": "checking", "done": 0, "total": 0 }));
        for line in lines {
            serde_json::from_value::<wasm_fn_api::DeployEvent>(line).unwrap();
        }
        if last == "error" {
            let problem = &answer.lines()[1]["problem"];
            assert_eq!(problem["code"], "component-invalid");
            assert_eq!(problem["help"], "do not");
        }
    }
    assert_eq!(api.revision(), 1);
}

#[tokio::test]
async fn malformed_requests_are_refused_by_name_and_change_nothing() {
    let api = Api::start().await;
    let component = api.upload(b"hello").await;
    let path = "/v1/functions/hello/deployments";
    let with = |more: Value| {
        let mut body = json!({ "component": component });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let steps = |steps: &[&str]| with(json!({ "strategy": { "name": "canary", "steps": steps } }));
    let gate = |gate: Value| with(json!({ "gate": gate }));
    let checks = |checks: Value| {
        with(json!({ "strategy": { "name": "blue-green" }, "rollout": { "checks": checks } }))
    };
    let deep = "[".repeat(5000);
    for (path, body, expected) in [
        (path, String::new(), (400, "invalid-request")),
        (path, "{".to_owned(), (400, "invalid-request")),
        (path, deep, (400, "invalid-request")),
        (path, "[]".to_owned(), (400, "invalid-request")),
        (path, with(json!({ "nonsense": 1 })), (400, "invalid-request")),
        (path, with(json!({ "config": { "memory": 1 } })), (400, "invalid-request")),
        (path, with(json!({ "config": { "memory_bytes": 1 } })), (400, "invalid-config")),
        (path, with(json!({ "config": { "routes": ["x"] } })), (400, "invalid-config")),
        (path, with(json!({ "component": "abc" })), (400, "invalid-digest")),
        (path, with(json!({ "component": "a".repeat(64) })), (422, "component-missing")),
        (path, with(json!({ "stage": "Live" })), (400, "invalid-name")),
        (path, with(json!({ "stage": "" })), (400, "invalid-name")),
        (path, with(json!({ "strategy": { "name": "waterfall" } })), (400, "invalid-request")),
        (path, with(json!({ "strategy": { "name": "linear", "by": "0%" } })), (400, "invalid-strategy")),
        (path, with(json!({ "strategy": { "name": "linear", "every_ms": 0 } })), (400, "invalid-strategy")),
        (path, with(json!({ "rollout": { "watch_ms": 10_000_000_000_000_u64 } })), (400, "invalid-strategy")),
        (path, with(json!({ "rollout": { "nonsense": 1 } })), (400, "invalid-request")),
        (path, gate(json!({ "alpha": 0.0 })), (400, "invalid-gate")),
        (path, gate(json!({ "alpha": 0.5 })), (400, "invalid-gate")),
        (path, gate(json!({ "latency_p42": { "tolerate": 2.0 } })), (400, "invalid-request")),
        (path, gate(json!({ "errors": { "tolerate": 0.5 } })), (400, "invalid-gate")),
        (path, checks(json!([{ "path": "nowhere" }])), (400, "invalid-check")),
        (path, checks(json!([{ "path": "/", "expect": { "body": "(" } }])), (400, "invalid-check")),
        (path, with(json!({ "rollout": { "checks": [{ "path": "/" }] } })), (400, "invalid-check")),
        (path, with(json!({ "message": "a".repeat(5000) })), (400, "invalid-request")),
        (path, with(json!({ "expected_revision": 9 })), (409, "revision-conflict")),
        (path, steps(&["0%"]), (400, "invalid-strategy")),
        (path, steps(&["100%"]), (400, "invalid-strategy")),
        (path, steps(&["101%"]), (400, "invalid-strategy")),
        (path, steps(&["ten%"]), (400, "invalid-strategy")),
        (path, steps(&["0% of beta"]), (400, "invalid-strategy")),
        (path, steps(&["110% of beta"]), (400, "invalid-strategy")),
        (path, steps(&["10% of"]), (400, "invalid-strategy")),
        (path, steps(&["10% of be ta"]), (400, "invalid-strategy")),
        (path, steps(&["Beta"]), (400, "invalid-strategy")),
        (path, steps(&["10%", "beta"]), (400, "invalid-strategy")),
        (path, steps(&[]), (400, "invalid-strategy")),
        (path, steps(&["10%", "10%"]), (400, "invalid-strategy")),
        (path, steps(&["50%", "10%"]), (400, "invalid-strategy")),
        ("/v1/functions/He%20llo/deployments", with(json!({})), (400, "invalid-name")),
        ("/v1/functions/%ff/deployments", with(json!({})), (400, "invalid-request")),
    ] {
        let answer = api.raw("POST", path, body.clone()).await;
        assert_eq!(answer.problem(), (expected.0, expected.1.to_owned()), "{path} {body}");
    }
    assert_eq!(api.revision(), 0);
}

#[tokio::test]
async fn bodies_beyond_their_limit_are_refused() {
    let api = Api::start().await;
    let large = vec![b' '; (1 << 20) + 1];
    let answer = api.raw("POST", "/v1/functions/hello/deployments", large).await;
    assert_eq!(answer.problem(), (413, "too-large".to_owned()));

    let bytes = vec![0; usize::try_from(COMPONENT_BYTES_MAX).unwrap() + 1];
    let path = format!("/v1/components/{}", hex::encode(Sha256::digest(&bytes)));
    assert_eq!(api.raw("PUT", &path, bytes.clone()).await.problem(), (413, "too-large".to_owned()));
    // Without a length, the limit applies while the body is read.
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n",
        bytes.len()
    );
    let mut stream = tokio::net::TcpStream::connect(api.address).await.unwrap();
    let sent = [head.as_bytes(), &bytes, b"\r\n0\r\n\r\n"].concat();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &sent).await.unwrap();
    let mut answer = [0; 12];
    tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    assert_eq!(api.node.components(), 0);
}

#[tokio::test]
async fn upload_that_is_not_what_it_says_is_refused() {
    let api = Api::start().await;
    let path = format!("/v1/components/{}", "a".repeat(64));
    assert_eq!(api.raw("PUT", &path, "hello").await.problem(), (422, "digest-mismatch".to_owned()));
    let bad = api.raw("PUT", "/v1/components/ABC", "hello").await;
    assert_eq!(bad.problem(), (400, "invalid-digest".to_owned()));
    assert_eq!(api.node.components(), 0);
}

#[tokio::test]
async fn client_that_leaves_during_its_upload_leaves_nothing() {
    let api = Api::start().await;
    let path = format!("/v1/components/{}", "a".repeat(64));
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-length: 9\r\n\r\nhell"
    );
    let mut stream = tokio::net::TcpStream::connect(api.address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
    while api.node.components() == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while api.node.components() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn failing_disk_is_the_nodes_fault_and_changes_nothing() {
    let api = Api::start().await;
    api.node.store.fails.store(true, SeqCst);
    let answer = api.deploy("hello", b"hello", json!({})).await;
    assert_eq!(answer.problem(), (500, "internal".to_owned()));
    api.node.store.fails.store(false, SeqCst);
    assert_eq!(api.deploy("hello", b"hello", json!({})).await.json()["revision"], 1);
}

#[tokio::test]
async fn settings_that_wait_for_the_promotion_are_named() {
    let api = Api::start().await;
    let first = api.deploy("hello", b"1", json!({ "config": { "routes": ["/a"] } })).await.json();
    assert_eq!(first.get("pending"), None);
    let cohort = json!({ "header": "x-beta", "values": ["1"], "to": "canary" });
    let config = json!({ "routes": ["/b"], "sticky": "cookie:sid", "cohorts": [cohort] });
    let body = json!({ "config": config, "strategy": { "name": "canary", "steps": ["10%"] } });
    let second = api.deploy("hello", b"1", body.clone()).await.json();
    assert_eq!(
        (&second["routes"], &second["pending"]),
        (&json!(["/a"]), &json!(["routes", "sticky", "cohorts"]))
    );
    let again = api.deploy("hello", b"1", body).await.json();
    assert_eq!((&again["unchanged"], &again["pending"]), (&json!(true), &second["pending"]));
    // Other stages keep their default route, whatever the configuration says.
    let staging = json!({ "config": { "routes": ["/b"] }, "stage": "staging" });
    api.deploy("hello", b"1", staging).await;
    let other =
        json!({ "config": { "routes": ["/c"] }, "stage": "staging", "strategy": { "name": "no-traffic" } });
    assert_eq!(api.deploy("hello", b"1", other).await.json().get("pending"), None);
    let all = json!({ "config": { "routes": ["/d"] }, "replace": true });
    assert_eq!(api.deploy("hello", b"1", all).await.json().get("pending"), None);
}

#[tokio::test]
async fn version_that_could_do_more_is_refused_with_the_list() {
    let api = Api::start().await;
    api.deploy("hello", b"first", json!({})).await;
    let more = json!({ "config": { "egress": ["https://a.test"], "env": { "A": "secret" } } });
    let accepted = json!({ "config": more["config"], "allow_new": true });
    let problem = api.deploy("hello", b"imports wasi:keyvalue/store", more).await;
    let detail = "this version of `hello` could do more than v1, which is stable in stage `live`, expected that to \
        be accepted: egress https://a.test; env A";
    assert_eq!((problem.status, &problem.json()["code"]), (409, &json!("capabilities-grow")));
    assert_eq!(problem.json()["detail"], detail);
    assert_eq!(api.revision(), 1);
    let deployed = api.deploy("hello", b"imports wasi:keyvalue/store", accepted).await.json();
    let growth = json!(["import wasi:keyvalue/store", "egress https://a.test", "env A"]);
    assert_eq!(deployed["growth"], growth);
    let history = api.get("/v1/functions/hello/history").await.json();
    assert_eq!(history["entries"][0]["growth"], growth);
    assert_eq!(history["entries"][1].get("growth"), None, "nothing had to be accepted");
}
