//! What a client makes of streams.

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use wasm_fn_api as api;

use super::{Functions, Statuses};
use crate::{
    args,
    client::{Client, ClientError},
    config::Connection,
};

/// A client of a server that answers one connection after the other with the next of `answers`, which are
/// whole responses, and closes it.
async fn client(answers: Vec<String>) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let args = args::Connection {
        server: listener.local_addr().unwrap().to_string(),
        token: Some("wfn_test".to_owned()),
        data_dir: "".into(),
        ca: None,
        cert: None,
        key: None,
        at_least_revision: None,
        output: args::Format::Table,
    };
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.windows(4).any(|end| end == b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    Client::new(Connection::resolve(&args).unwrap())
}

/// A whole stream of these events.
fn events(events: &[serde_json::Value]) -> String {
    let mut text = ":\n\nevent: message\n".to_owned();
    for event in events {
        text += &format!("data: {event}\n\n:\n\n");
    }
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{text}")
}

fn summary(function: &str) -> serde_json::Value {
    let stage =
        json!({ "stage": "live", "stable": "v1", "split": [], "routes": [], "requests": 1, "failures": 0 });
    json!({ "function": function, "latest": "v1", "stages": [stage] })
}

fn traffic(function: &str, requests: u64) -> serde_json::Value {
    json!({ "function": function, "stage": "live", "requests": requests, "failures": 1, "latency_p99_ms": 2.5 })
}

fn names(functions: &Functions<'_>) -> Vec<String> {
    functions.list().functions.into_iter().map(|function| function.function).collect()
}

#[tokio::test]
async fn functions_are_put_together_from_changes() {
    let client = client(vec![events(&[
        json!({ "revision": 1, "more": true, "functions": [summary("b")] }),
        json!({ "revision": 1, "functions": [summary("a")], "traffic": [traffic("b", 7)] }),
        json!({ "revision": 2, "removed": ["a"], "functions": [summary("c")] }),
    ])])
    .await;
    let mut functions = Functions::new(&client);
    assert_eq!(functions.next().await.unwrap(), ["a", "b"]);
    assert_eq!(names(&functions), ["a", "b"]);
    let numbers: Vec<_> = functions
        .known()
        .map(|known| {
            (known.summary.stages[0].requests, known.summary.stages[0].failures, known.latency_p99_ms)
        })
        .collect();
    assert_eq!(numbers, [(1, 0, None), (7, 1, Some(2.5))]);
    assert_eq!(functions.next().await.unwrap(), ["a", "c"]);
    assert_eq!((names(&functions), functions.list().revision), (vec!["b".to_owned(), "c".to_owned()], 2));
}

#[tokio::test]
async fn a_stream_that_ends_is_opened_again_and_what_is_gone_meanwhile_is_dropped() {
    let client = client(vec![
        events(&[json!({ "revision": 1, "functions": [summary("a"), summary("b")] })]),
        events(&[json!({ "revision": 5, "functions": [summary("b")] })]),
    ])
    .await;
    let mut functions = Functions::new(&client);
    assert_eq!(functions.next().await.unwrap(), ["a", "b"]);
    assert_eq!(functions.next().await.unwrap(), ["b"]);
    assert_eq!(names(&functions), ["b"]);
    // Nothing answers any more; that may pass, and what is known stays.
    let error = functions.next().await.unwrap_err();
    assert!(error.is_passing(), "{error}");
    assert_eq!(names(&functions), ["b"]);
}

#[tokio::test]
async fn a_stream_without_events_is_an_error_that_may_pass() {
    let client = client(vec![events(&[])]).await;
    let error = Functions::new(&client).next().await.unwrap_err();
    assert!(matches!(error, ClientError::Ended { .. }) && error.is_passing(), "{error}");
}

#[tokio::test]
async fn what_is_no_event_is_refused() {
    let client = client(vec![events(&[json!({ "event": "unheard-of" })])]).await;
    let error = Statuses::new(&client, "hello").next().await.unwrap_err();
    assert!(matches!(error, ClientError::Unexpected { .. }) && !error.is_passing(), "{error}");
}

#[tokio::test]
async fn a_function_that_is_deleted_is_refused_in_the_words_of_the_node() {
    let status = json!({ "function": "hello", "revision": 1, "latest": "v1", "stages": [] });
    let problem = json!({ "title": "there is no such function", "status": 404, "code": "no-such-function",
        "detail": "there is no function `hello`" })
    .to_string();
    let refusal = format!(
        "HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{problem}",
        problem.len()
    );
    let told =
        [json!({ "event": "status", "status": status }), json!({ "event": "deleted", "function": "hello" })];
    let client = client(vec![events(&told), refusal]).await;
    let mut statuses = Statuses::new(&client, "hello");
    let first: api::FunctionStatus = statuses.next().await.unwrap();
    assert_eq!((first.function.as_str(), first.revision), ("hello", 1));
    let error = statuses.next().await.unwrap_err();
    assert!(matches!(&error, ClientError::Refused(problem) if problem.code == "no-such-function"), "{error}");
}

/// What a node of a version without streams answers to their addresses.
fn not_found() -> String {
    json_answer(
        "404 Not Found",
        &json!({ "title": "the path does not exist", "status": 404, "code": "not-found",
            "detail": "there is no such path, expected one of those in /openapi.json" }),
    )
}

fn json_answer(status: &str, body: &serde_json::Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn a_node_without_streams_is_asked_for_a_function() {
    let status = |revision: u64| {
        let status = json!({ "function": "hello", "revision": revision, "latest": "v1", "stages": [] });
        json_answer("200 OK", &status)
    };
    let client = client(vec![not_found(), status(1), status(2)]).await;
    let mut statuses = Statuses::new(&client, "hello");
    assert_eq!(statuses.next().await.unwrap().revision, 1);
    assert_eq!(statuses.next().await.unwrap().revision, 2);
    // Nothing answers any more, which may pass.
    assert!(statuses.next().await.unwrap_err().is_passing());
}

#[tokio::test]
async fn a_node_without_streams_is_asked_for_all_functions_until_one_differs() {
    let list = |functions: &[serde_json::Value]| {
        json_answer("200 OK", &json!({ "revision": 1, "functions": functions, "more": false }))
    };
    let mut other = summary("b");
    other["latest"] = json!("v2");
    let client = client(vec![
        not_found(),
        list(&[summary("a"), summary("b")]),
        list(&[summary("a"), summary("b")]),
        list(&[other.clone()]),
    ])
    .await;
    let mut functions = Functions::new(&client);
    assert_eq!(functions.next().await.unwrap(), ["a", "b"]);
    assert_eq!(functions.next().await.unwrap(), ["a", "b"], "one is gone, and the other has changed");
    assert_eq!(names(&functions), ["b"]);
}
