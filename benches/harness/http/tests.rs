//! Reading answers.

use super::*;

/// The answer that `text` begins with, and how much of `text` it left.
fn read(text: &str) -> (Result<Answer>, usize) {
    let mut stream = text.as_bytes();
    let answer = read_answer(&mut stream);
    (answer, stream.len())
}

fn refusal(text: &str) -> String {
    format!("{:#}", read(text).0.unwrap_err())
}

#[test]
fn answer_is_read_to_its_end_and_no_further() {
    let (answer, left) = read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx: y\r\n\r\nhelloHTTP");
    assert_eq!(answer.unwrap(), Answer { status: 200, body: b"hello".to_vec() });
    assert_eq!(left, 4);
}

#[test]
fn chunks_are_put_together() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let (answer, left) = read(&format!("{head}3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\nHTTP"));
    assert_eq!(answer.unwrap().body, b"hello");
    assert_eq!(left, 4);
    assert_eq!(refusal(&format!("{head}hello\r\n")), "found \"hello\\r\\n\", expected the size of a chunk");
    assert!(refusal(&format!("{head}3\r\nhe")).starts_with("the answer ended within its body"));
    let much = refusal(&format!("{head}ffffffffffffffff\r\n"));
    assert!(much.ends_with("expected at most 1048576"), "{much}");
}

#[test]
fn refusals_are_answers_and_no_success() {
    let (answer, _) = read("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nfull");
    let said = answer.unwrap().success().unwrap_err().to_string();
    assert_eq!(said, "the answer is 503, expected a success: full");
}

#[test]
fn answers_that_are_not_whole_are_refused() {
    assert_eq!(refusal(""), "the answer ended within its head, after \"\"");
    assert_eq!(refusal("HTTP/1.1 200 OK\r\ncon"), "the answer ended within its head, after \"con\"");
    let short = refusal("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhell");
    assert!(short.starts_with("the answer ended within its body"), "{short}");
}

#[test]
fn answers_without_status_or_length_are_refused() {
    assert_eq!(refusal("hello\r\n\r\n"), "found \"hello\", expected the status of an answer");
    assert_eq!(refusal("HTTP/1.1 200 OK\r\n\r\n"), "the answer has no length");
    assert_eq!(refusal("HTTP/1.1 200 OK\r\nhello\r\n\r\n"), "found \"hello\", expected a field");
}

#[test]
fn answers_beyond_the_bounds_are_refused() {
    let body = refusal(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", BODY_LEN_MAX + 1));
    assert_eq!(body, "the answer is of 1048577 bytes, expected at most 1048576");
    let field = "y".repeat(HEAD_LEN_MAX.try_into().unwrap());
    let head = refusal(&format!("HTTP/1.1 200 OK\r\nx: {field}\r\n\r\n"));
    assert!(head.starts_with("the answer ended within its head"), "{}", &head[..80]);
}
