//! Facts about what may leave, without a guest.

use std::{
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};

use http_body_util::{BodyExt, Empty};

use super::*;

/// Checks that are asked to say `answer`, and how often they were.
fn effects(answer: bool) -> (EgressCheck, Arc<AtomicU32>) {
    let asked = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&asked);
    let may_leave = move || {
        counted.fetch_add(1, Relaxed);
        answer
    };
    (EgressCheck::new(may_leave), asked)
}

fn egress() -> Egress {
    Egress::new(Some(Arc::new(["http://allowed.test".parse().unwrap()])))
}

/// Hands over a request to `host`, and polls it only when it shall be denied: nothing leaves.
fn is_denied(egress: &mut Egress, host: &str, poll: bool) -> bool {
    let body: WasiBody = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = http::Request::get(format!("http://{host}/")).body(body).unwrap();
    let sent = egress.send_request(request, None, Box::new(async { Ok(()) }));
    let mut cx = Context::from_waker(Waker::noop());
    poll && matches!(Box::into_pin(sent).as_mut().poll(&mut cx), Poll::Ready(Err(Error::HttpRequestDenied)))
}

#[test]
fn effects_are_asked_before_an_allowed_request_is_sent() {
    let (effects, asked) = effects(true);
    let mut egress = egress();
    egress.serve(Some(effects));
    assert_eq!(asked.load(Relaxed), 0);
    is_denied(&mut egress, "allowed.test", false);
    assert_eq!(asked.load(Relaxed), 1, "nobody has polled the request");
}

#[test]
fn denied_requests_have_no_effect() {
    let (effects, asked) = effects(true);
    let mut egress = egress();
    egress.serve(Some(effects));
    assert!(is_denied(&mut egress, "other.test", true));
    assert_eq!(asked.load(Relaxed), 0);
}

#[test]
fn requests_that_may_not_leave_any_more_are_denied() {
    let (effects, asked) = effects(false);
    let mut egress = egress();
    egress.serve(Some(effects));
    assert!(is_denied(&mut egress, "allowed.test", true));
    assert_eq!(asked.load(Relaxed), 1);
}

#[test]
fn a_reused_instance_that_sent_something_may_still_be_sending() {
    let mut egress = egress();
    let (first, second) = (effects(true), effects(true));
    egress.serve(Some(first.0));
    egress.serve(Some(second.0.clone()));
    assert_eq!(second.1.load(Relaxed), 0, "nothing was sent");
    is_denied(&mut egress, "allowed.test", false);
    assert_eq!((first.1.load(Relaxed), second.1.load(Relaxed)), (0, 1));
    let (third, asked) = effects(true);
    egress.serve(Some(third));
    assert_eq!(asked.load(Relaxed), 1);
}
