//! Tests of what a head tells before it is complete.

use super::*;

fn seen(parts: &[&str]) -> PartialHead {
    let head = PartialHead::default();
    for (number, part) in parts.iter().enumerate() {
        head.see(part.as_bytes(), number == 0);
    }
    head
}

#[test]
fn request_line_ends_with_its_line() {
    for parts in [&["GET / HTTP/1.1\r\n\r\n"][..], &["GET /", " HTTP/1.1\r\nhost", "x"], &["GET /\n"]] {
        assert!(seen(parts).has_line(), "{parts:?}");
    }
    for parts in [&["GET /"][..], &["\r\n\r\nGET /long", "er"], &["\n"]] {
        assert!(!seen(parts).has_line(), "{parts:?}");
    }
    let head = seen(&["GET / HTTP/1.1\r\n\r\n"]);
    head.see(b"GET /", true);
    assert!(!head.has_line(), "another head begins");
    let head = seen(&["GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nx: y"]);
    head.see(b"yyy", true);
    assert!(head.has_line(), "it began behind the one before");
}

#[test]
fn huge_lengths_are_found_wherever_they_stand() {
    for length in
        ["18446744073709551614", "18446744073709551616", "99999999999999999999999999999999999999999"]
    {
        for padding in 0..64 {
            let x = "x".repeat(padding);
            let head = format!("POST / HTTP/1.1\r\nx: {x}\r\nContent-Length:  {length}\r\n\r\n");
            assert!(seen(&[&head]).has_huge_length(), "{head}");
        }
    }
    for padding in 0..64 {
        let x = "x".repeat(padding);
        for field in [
            "content-length: 18446744073709551613",
            "content-length: 00000000000000000000000000007",
            "x-length: 99999999999999999999999",
            "99999999999999999999999",
        ] {
            let head = format!("POST / HTTP/1.1\r\nx: {x}\r\n{field}\r\n\r\n");
            assert!(!seen(&[&head]).has_huge_length(), "{head}");
        }
    }
}
