//! Tests of what a guest's head becomes.

use http::{HeaderValue, Method, Response, header};

use super::{Send, sanitize};

fn check(method: Method, status: u16, lengths: &[&str], exact: Option<u64>) -> Result<Send, &'static str> {
    let mut response = Response::builder().status(status).body(()).unwrap();
    for length in lengths {
        response.headers_mut().append(header::CONTENT_LENGTH, HeaderValue::from_str(length).unwrap());
    }
    let send = sanitize(&mut response, &method, exact)?;
    assert!(response.headers().get_all(header::CONTENT_LENGTH).iter().count() <= 1);
    Ok(send)
}

#[test]
fn bodies_are_sent_as_the_head_promises() {
    assert_eq!(check(Method::GET, 200, &[], None), Ok(Send::All));
    assert_eq!(check(Method::GET, 200, &[], Some(3)), Ok(Send::All));
    assert_eq!(check(Method::GET, 200, &[], Some(0)), Ok(Send::Nothing));
    assert_eq!(check(Method::GET, 200, &["0"], None), Ok(Send::Nothing));
    assert_eq!(check(Method::GET, 200, &["3", "3"], None), Ok(Send::Exactly(3)));
    assert_eq!(check(Method::GET, 500, &["3"], Some(3)), Ok(Send::Exactly(3)));
    assert_eq!(check(Method::HEAD, 200, &["3"], Some(0)), Ok(Send::Nothing));
    assert_eq!(check(Method::GET, 204, &["3"], None), Ok(Send::Nothing));
    assert_eq!(check(Method::GET, 304, &[], Some(3)), Ok(Send::Nothing));
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
