//! When an issuer is asked, and how a login ends, on a clock of the tests' own.

use serde_json::json;

use super::*;
use crate::device::answer::CodeAnswer;

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A wait that began at 100 s.
fn polling(expires_in: u64, interval: Option<u64>) -> Polling {
    let issuer: IssuerUrl = "https://id.example.com".parse().unwrap();
    let answer: CodeAnswer = serde_json::from_value(json!({
        "device_code": "d", "user_code": "A", "verification_uri": "https://id.example.com/device",
        "expires_in": expires_in, "interval": interval,
    }))
    .unwrap();
    Polling::new(&DeviceCode::new(answer, &issuer).unwrap(), issuer, s(100))
}

fn failed() -> PollAnswer {
    PollAnswer::Failed("it is away".to_owned())
}

#[test]
fn issuer_is_asked_at_its_interval() {
    let mut polling = polling(600, Some(2));
    assert_eq!(polling.wait(s(100)), Ok(s(2)));
    assert_eq!(polling.wait(s(101)), Ok(s(1)));
    for at in [102, 107, 109] {
        assert_eq!(polling.wait(s(at)), Ok(s(0)), "{at}");
        assert_eq!(polling.heard(PollAnswer::Pending, s(at)), None);
        assert_eq!(polling.wait(s(at)), Ok(s(2)), "it counts from the answer");
    }
}

#[test]
fn interval_is_five_seconds_unless_the_issuer_names_one_and_never_none() {
    assert_eq!(polling(600, None).wait(s(100)), Ok(s(5)));
    assert_eq!(polling(600, Some(0)).wait(s(100)), Ok(s(1)));
}

#[test]
fn slow_down_adds_five_seconds_for_good() {
    let mut polling = polling(600, Some(5));
    assert_eq!(polling.heard(PollAnswer::SlowDown, s(105)), None);
    assert_eq!(polling.wait(s(105)), Ok(s(10)));
    assert_eq!(polling.heard(PollAnswer::Pending, s(115)), None);
    assert_eq!(polling.wait(s(115)), Ok(s(10)));
    assert_eq!(polling.heard(PollAnswer::SlowDown, s(125)), None);
    assert_eq!(polling.wait(s(125)), Ok(s(15)));
}

#[test]
fn issuer_that_is_away_is_asked_less_and_less_often_and_as_before_once_it_is_back() {
    let mut polling = polling(3600, Some(5));
    for (at, wait) in [(105, 10), (115, 20), (135, 40), (175, 60), (235, 60)] {
        assert_eq!(polling.heard(failed(), s(at)), None);
        assert_eq!(polling.wait(s(at)), Ok(s(wait)), "{at}");
    }
    assert_eq!(polling.heard(PollAnswer::Pending, s(295)), None);
    assert_eq!(polling.wait(s(295)), Ok(s(5)));
    // An interval that the issuer asked for is kept in any case.
    let mut slow = self::polling(3600, Some(90));
    assert_eq!(slow.heard(failed(), s(190)), None);
    assert_eq!(slow.wait(s(190)), Ok(s(90)));
}

#[test]
fn nobody_waits_longer_than_the_code_lives() {
    let mut polling = polling(12, Some(5));
    assert_eq!(polling.heard(PollAnswer::Pending, s(110)), None);
    assert_eq!(polling.wait(s(110)), Ok(s(2)));
    let error = polling.wait(s(112)).unwrap_err().to_string();
    assert_eq!(error, "the code was not confirmed at https://id.example.com before it expired");
    assert_eq!(polling.heard(failed(), s(111)), None);
    let error = polling.wait(s(112)).unwrap_err().to_string();
    assert!(error.ends_with("before it expired; it is away"), "{error}");
    assert_eq!(self::polling(u64::MAX, Some(5)).until, s(3700), "whatever the issuer says");
}

#[test]
fn login_ends_with_tokens_or_with_a_refusal() {
    let denied = GrantError::Denied { issuer: "https://id.example.com".to_owned() };
    let tokens: TokenSet = serde_json::from_value(json!({ "id_token": "a.b.c" })).unwrap();
    for result in [Ok(tokens), Err(denied)] {
        let mut polling = polling(600, None);
        assert_eq!(polling.heard(PollAnswer::Pending, s(105)), None);
        assert_eq!(polling.heard(PollAnswer::Ended(result.clone()), s(110)), Some(result));
    }
}
