//! Answers of nodes, and of other servers.

use http::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinHandle,
};

use super::{Client, ClientError};
use crate::{args, config::Connection};

/// A client of a server that answers the first request on every connection with `answer`, and what the
/// server received.
async fn client(answer: &'static str) -> (Client, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (to(server), served)
}

fn to(server: String) -> Client {
    let (token, data_dir) = (Some("wfn_test".to_owned()), std::path::PathBuf::new());
    let args = args::Connection {
        server,
        token,
        data_dir,
        ca: None,
        cert: None,
        key: None,
        at_least_revision: None,
        output: args::Format::Table,
    };
    Client::new(Connection::resolve(&args).unwrap())
}

async fn get(answer: &'static str) -> Result<Value, ClientError> {
    client(answer).await.0.get("/v1/node").await
}

#[tokio::test]
async fn requests_carry_the_token_and_the_query() {
    let (client, served) = client("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await;
    let query = [("message", "why not & how?")];
    let answer: Value = client.query(Method::DELETE, "/v1/functions/hello", &query).await.unwrap();
    assert_eq!(answer, json!({}));
    let request = served.await.unwrap();
    assert!(
        request.starts_with("DELETE /v1/functions/hello?message=why+not+%26+how%3F HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("authorization: Bearer wfn_test\r\n"), "{request}");
}

#[tokio::test]
async fn a_problem_is_a_refusal() {
    let answer = concat!(
        "HTTP/1.1 409 Conflict\r\ncontent-length: 74\r\n\r\n",
        r#"{"title":"taken","status":409,"detail":"/a is taken","code":"route-clash"}"#
    );
    match get(answer).await {
        Err(ClientError::Refused(problem)) => assert_eq!(problem.code, "route-clash"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_answer_of_something_else_is_unexpected() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\n<html>",
        "HTTP/1.1 301 Moved Permanently\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
    ] {
        assert!(matches!(get(answer).await, Err(ClientError::Unexpected { .. })), "{answer}");
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_is_no_answer() {
    for answer in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", "SSH-2.0-x\r\n"] {
        assert!(matches!(get(answer).await, Err(ClientError::Ended { .. })), "{answer}");
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = to(server.clone()).get::<Value>("/v1/node").await.unwrap_err();
    assert!(matches!(error, ClientError::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&format!("no node answers at http://{server}: ")), "{error}");
}

#[tokio::test]
async fn lines_come_whole_however_they_are_cut() {
    let (client, _served) = client(concat!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        "3\r\n{\"a\r\n",
        "a\r\n\":1}\n\n{\"b\"\r\n",
        "5\r\n: 2}\n\r\n",
        "2\r\n{\n\r\n",
        "0\r\n\r\n"
    ))
    .await;
    let mut lines = client.lines(Method::GET, "/v1/x", None::<&()>).await.unwrap();
    assert_eq!(lines.next::<Value>().await.unwrap(), Some(json!({ "a": 1 })));
    assert_eq!(lines.next::<Value>().await.unwrap(), Some(json!({ "b": 2 })));
    assert!(matches!(lines.next::<Value>().await, Err(ClientError::Unexpected { .. })));
    assert!(matches!(lines.next::<Value>().await, Ok(None)));
}

#[tokio::test]
async fn a_line_without_its_end_is_refused() {
    let (client, _served) = client("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n{}\n{\"a\"").await;
    let mut lines = client.lines(Method::GET, "/v1/x", None::<&()>).await.unwrap();
    assert_eq!(lines.next::<Value>().await.unwrap(), Some(json!({})));
    assert!(matches!(lines.next::<Value>().await, Err(ClientError::Unexpected { .. })));
}
