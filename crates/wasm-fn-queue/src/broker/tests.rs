//! Tests for `broker` that need none.

use async_nats::ConnectOptions;

use super::{connection::is_new_enough, *};

#[test]
fn servers_from_2_10_on_are_new_enough() {
    for version in ["2.10.0", "2.15.1", "3.0.0", "2.11.0-RC.1", "dev"] {
        assert!(is_new_enough(version, SERVER_VERSION_MIN), "{version}");
    }
    for version in ["2.9.10", "2.9.25", "1.4.0"] {
        assert!(!is_new_enough(version, SERVER_VERSION_MIN), "{version}");
    }
    let error = BrokerError::TooOld { found: "2.9.10".to_owned(), expected: SERVER_VERSION_MIN };
    assert_eq!(error.to_string(), "broker is nats-server 2.9.10, expected at least 2.10");
}

#[test]
fn errors_of_the_server_are_told_apart() {
    let text = |said: &str| BrokerError::of_server(said).to_string();
    assert_eq!(
        text("nats: Permissions Violation for Publish to \"$JS.API.STREAM.INFO.ORDERS\""),
        "broker does not permit publish to $JS.API.STREAM.INFO.ORDERS, expected permission for it"
    );
    assert_eq!(BrokerError::of_server("nats: authorization violation"), BrokerError::Denied);
    assert_eq!(BrokerError::of_server("User Authentication Expired"), BrokerError::Denied);
    assert_eq!(text("nats: maximum\r\n connections exceeded"), "broker said: maximum connections exceeded");
}

#[test]
fn credentials_are_told_apart_by_their_form_and_not_shown() {
    let kind = |text: &str| BrokerCredentials::parse(text).map(|credentials| credentials.as_str());
    let file = "-----BEGIN NATS USER JWT-----\neyJ0\n------END NATS USER JWT------\n";
    assert_eq!(kind(file), Ok("file"));
    assert_eq!(kind("SUAIO3FHUX5PNV2LQIIP7TZ3N4L7TX3W53MQGEIVYFIGA635OZCKEYHFLM\n"), Ok("seed"));
    assert_eq!(kind("ana:geheim:mit"), Ok("password"));
    assert_eq!(kind("s3cr3t"), Ok("token"));
    assert_eq!(kind(" \n"), Err(BrokerCredentialsError::Empty));
    let Ok(BrokerCredentials::Password { user, password }) = BrokerCredentials::parse("ana:geheim:mit\n")
    else {
        panic!("it is a password")
    };
    assert_eq!((&user[..], &password[..]), ("ana", "geheim:mit"));
    assert_eq!(format!("{:?}", BrokerCredentials::parse("s3cr3t").unwrap()), "BrokerCredentials(\"token\")");
    // It is like a file, and is none.
    let parsed = BrokerCredentials::parse(file).unwrap();
    let error = parsed.apply(ConnectOptions::new()).map(drop).unwrap_err();
    assert!(!error.to_string().contains("eyJ0"), "{error}");
}
