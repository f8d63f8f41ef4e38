//! Facts about cutting output into lines.

use tokio::sync::watch;
use wasm_fn_secrets::SecretValue;
use zeroize::Zeroizing;

use super::*;

fn lines(writes: &[&[u8]]) -> Vec<String> {
    lines_without(SecretSet::none(), writes)
}

fn lines_without(secrets: Arc<SecretSet>, writes: &[&[u8]]) -> Vec<String> {
    let ring = Arc::new(LogRing::new(watch::channel(0).0, None));
    let capture = Capture::new(CaptureOptions {
        ring: ring.clone(),
        secrets,
        serving: Arc::new(CurrentRequest::new(Served::NOTHING)),
        version: VersionNo::FIRST,
        stream: GuestLogStream::Stdout,
    });
    writes.iter().for_each(|bytes| capture.write_bytes(bytes));
    drop(capture);
    ring.page(0).lines.into_iter().map(|line| line.text).collect()
}

#[test]
fn lines_end_at_line_feeds_wherever_writes_end() {
    assert_eq!(lines(&[b"one\ntw", b"o\r\n", b"three"]), ["one", "two", "three"]);
}

#[test]
fn line_without_end_is_cut_not_collected() {
    let endless = vec![b'x'; LINE_BYTES_MAX];
    let found = lines(&[&endless, &endless, &endless, b"\nnext\n"]);
    assert_eq!(found.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 4]);
}

#[test]
fn bytes_that_are_no_text_are_replaced() {
    assert_eq!(lines(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
}

fn secret(value: &str) -> Arc<SecretSet> {
    let value = SecretValue::new(Zeroizing::new(value.as_bytes().to_vec())).unwrap();
    Arc::new(SecretSet::new([("API_KEY".parse().unwrap(), value)].into(), false).unwrap())
}

#[test]
fn secrets_are_masked_wherever_writes_end() {
    let writes: [&[u8]; 3] = [b"key hun", b"ter2!\nnext hunter", b"2"];
    assert_eq!(lines_without(secret("hunter2"), &writes), ["key ***!", "next ***"]);
}

#[test]
fn nothing_of_a_secret_is_left_where_a_line_is_cut() {
    let value = "0123456789abcdef";
    for before in LINE_BYTES_MAX - value.len() - 2..LINE_BYTES_MAX + 2 {
        let line = [&vec![b'-'; before][..], value.as_bytes(), b" and more\n"].concat();
        // In pieces, too: the end of the line may come later than what is kept of it.
        for pieces in [line.len(), 7, 4096] {
            let writes: Vec<_> = line.chunks(pieces).collect();
            let found = lines_without(secret(value), &writes).remove(0);
            assert!(!found.contains("01") && found.len() <= LINE_BYTES_MAX, "{before}: {}", &found[8000..]);
        }
    }
}
