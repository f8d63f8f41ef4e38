//! Tests of what a guest's head becomes.

use http::{HeaderValue, Method, Response, header};

use super::{Send, sanitize};

/// How much is sent, and the length that the head then declares.
fn check(
    method: Method,
    status: u16,
    lengths: &[&str],
    exact: Option<u64>,
) -> Result<(Send, Option<String>), &'static str> {
    let mut response = Response::builder().status(status).body(()).unwrap();
    for length in lengths {
        response.headers_mut().append(header::CONTENT_LENGTH, HeaderValue::from_str(length).unwrap());
    }
    let send = sanitize(&mut response, &method, exact)?;
    let declared = response.headers().get_all(header::CONTENT_LENGTH);
    assert!(declared.iter().count() <= 1);
    Ok((send, declared.iter().next().map(|length| length.to_str().unwrap().to_owned())))
}

#[track_caller]
fn sends(method: Method, status: u16, lengths: &[&str], exact: Option<u64>, send: Send, declared: &str) {
    let declared = (!declared.is_empty()).then(|| declared.to_owned());
    assert_eq!(check(method, status, lengths, exact), Ok((send, declared)), "{status} {lengths:?} {exact:?}");
}

#[test]
fn bodies_are_sent_as_the_head_promises() {
    sends(Method::GET, 200, &[], None, Send::All, "");
    sends(Method::GET, 200, &[], Some(3), Send::All, "");
    sends(Method::GET, 200, &[], Some(0), Send::Nothing, "");
    sends(Method::GET, 200, &["0"], None, Send::Nothing, "0");
    sends(Method::GET, 200, &["3", "3"], None, Send::Exactly(3), "3");
    sends(Method::GET, 500, &["3"], Some(3), Send::Exactly(3), "3");
}

#[test]
fn head_declares_the_length_of_the_response_to_get() {
    sends(Method::HEAD, 200, &["3"], Some(0), Send::NothingOf(3), "3");
    sends(Method::HEAD, 200, &["3"], Some(7), Send::NothingOf(3), "3");
    sends(Method::HEAD, 200, &["0"], Some(0), Send::NothingOf(0), "0");
    sends(Method::HEAD, 200, &[], Some(3), Send::Nothing, "3");
    sends(Method::HEAD, 200, &[], Some(0), Send::Nothing, "");
    sends(Method::HEAD, 200, &[], None, Send::Nothing, "");
    sends(Method::HEAD, 304, &["3"], Some(0), Send::NothingOf(3), "3");
}

#[test]
fn statuses_without_a_body_declare_only_the_length_that_a_condition_left_out() {
    for method in [Method::GET, Method::HEAD] {
        for status in [204, 205] {
            sends(method.clone(), status, &["3"], None, Send::Nothing, "");
            sends(method.clone(), status, &[], Some(3), Send::Nothing, "");
        }
    }
    sends(Method::GET, 304, &["3"], Some(0), Send::NothingOf(3), "3");
    sends(Method::GET, 304, &[], Some(3), Send::Nothing, "");
}

#[test]
fn heads_that_contradict_themselves_are_refused() {
    for lengths in [&["3", "4"][..], &["-3"], &["3,3"], &[""], &["3 "], &["18446744073709551616"]] {
        check(Method::GET, 200, lengths, None).unwrap_err();
        check(Method::HEAD, 200, lengths, None).unwrap_err();
    }
    check(Method::GET, 200, &["3"], Some(4)).unwrap_err();
    check(Method::GET, 103, &[], Some(0)).unwrap_err();
}
