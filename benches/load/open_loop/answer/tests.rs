//! Whole answers are told from partial ones, and right ones from wrong ones.

use super::Answer;

const SIZED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n";

fn refusal(received: &str) -> String {
    Answer::default().take(received.as_bytes(), Some(b"hi")).unwrap_err().to_string()
}

#[test]
fn answer_is_whole_at_its_last_byte_and_not_before() {
    for text in [SIZED, CHUNKED] {
        for expected in [Some(&b"hi"[..]), None] {
            let mut answer = Answer::default();
            // The second is read by what the first left behind.
            for _ in 0..2 {
                let (last, first) = text.as_bytes().split_last().unwrap();
                for byte in first {
                    assert!(!answer.take(&[*byte], expected).unwrap(), "{text:?}");
                }
                assert!(answer.take(&[*last], expected).unwrap(), "{text:?}");
            }
            assert!(answer.take(text.as_bytes(), expected).unwrap(), "{text:?}");
        }
    }
}

#[test]
fn other_status_is_refused() {
    assert_eq!(refusal(&SIZED.replace("200", "503")), "status 503, expected 200");
}

#[test]
fn other_body_is_refused() {
    assert_eq!(refusal(&SIZED.replace("hi", "ho")), "the answer has \"ho\", expected \"hi\" there");
    assert_eq!(refusal(&CHUNKED.replace("\ni\r", "\no\r")), "the answer has \"o\", expected \"i\" there");
}

#[test]
fn shorter_or_longer_body_is_refused() {
    assert_eq!(refusal(&CHUNKED.replace("1\r\ni\r\n", "")), "the answer has 1 bytes, expected 2");
    let longer = CHUNKED.replace("0\r\n", "1\r\n!\r\n0\r\n");
    assert_eq!(refusal(&longer), "the answer has \"!\", expected \"\" there");
}

#[test]
fn bytes_that_nobody_asked_for_are_refused() {
    assert_eq!(refusal(&format!("{SIZED}hi")), "2 bytes follow the answer");
    assert_eq!(refusal(&format!("{CHUNKED}hi")), "2 bytes follow the answer");
}

#[test]
fn answer_without_an_end_is_refused() {
    assert_eq!(refusal("HTTP/1.1 200 OK\r\n\r\nhi"), "the answer has neither a length nor chunks");
    let wrong = CHUNKED.replace("h\r\n", "hhh");
    assert_eq!(refusal(&wrong), "a chunk of the answer does not end where it says");
}
