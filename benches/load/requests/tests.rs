//! Both clients are told to send the same.

use super::{REPORT, Requests};

fn text(requests: &Requests, place: usize) -> String {
    String::from_utf8(requests.all[place].bytes("127.0.0.1:80")).unwrap()
}

#[test]
fn one_get_runs_nothing_for_each_request() {
    let requests = Requests::same("/hello", None, "hi");
    assert_eq!(requests.script(), REPORT);
    assert_eq!(text(&requests, 0), "GET /hello HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n");
}

#[test]
fn body_is_posted_with_its_length() {
    let requests = Requests::same("/", Some("abc"), "abc");
    assert_eq!(requests.script(), format!("wrk.method = \"POST\"\nwrk.body = \"abc\"\n{REPORT}"));
    assert_eq!(text(&requests, 0), "POST / HTTP/1.1\r\nhost: 127.0.0.1:80\r\ncontent-length: 3\r\n\r\nabc");
}

#[test]
fn closing_requests_end_their_connections() {
    let requests = Requests::same("/", None, "hi").closing();
    assert_eq!(requests.script(), format!("wrk.headers[\"connection\"] = \"close\"\n{REPORT}"));
    let first = String::from_utf8(requests.first("127.0.0.1:80")).unwrap();
    assert_eq!(first, "GET / HTTP/1.1\r\nhost: 127.0.0.1:80\r\nconnection: close\r\n\r\n");
    let kept = Requests::same("/", None, "hi");
    assert_eq!(kept.first("127.0.0.1:80"), kept.all[0].bytes("127.0.0.1:80"));
}

#[test]
fn users_take_turns() {
    let requests = Requests::same("/", None, "hi").of_users();
    assert_eq!((requests.all.len(), requests.order.len()), (100, 100));
    let script = requests.script();
    let line = "requests[100] = wrk.format(\"GET\", \"/\", { [\"x-user\"] = \"user-99\" }, nil)\n";
    assert!(script.contains(line), "{script}");
    assert_eq!(text(&requests, 7), "GET / HTTP/1.1\r\nhost: 127.0.0.1:80\r\nx-user: user-7\r\n\r\n");
}

#[test]
fn users_post_too() {
    let requests = Requests::same("/", Some("abc"), "abc").of_users();
    let script = requests.script();
    let line = "requests[1] = wrk.format(\"POST\", \"/\", { [\"x-user\"] = \"user-0\" }, \"abc\")\n";
    assert!(script.contains(line), "{script}");
}

#[test]
fn zipf_load_asks_every_popular_function() {
    let functions: Vec<_> = (0..10).map(|place| format!("f{place}")).collect();
    let requests = Requests::by_zipf(&functions, "hi");
    assert!((0..10).all(|place| requests.order.contains(&place)));
    assert_eq!(text(&requests, 3), "GET /f3 HTTP/1.1\r\nhost: 127.0.0.1:80\r\n\r\n");
    assert!(requests.script().contains("requests[10] = wrk.format(\"GET\", \"/f9\", {  }, nil)\n"));
}
