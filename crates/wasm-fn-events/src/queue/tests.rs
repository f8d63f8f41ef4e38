//! Tests for `queue`.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;
use crate::{CloudEvent, Timestamp};

fn url(text: &str) -> Result<String, String> {
    let parsed: Result<BrokerUrl, _> = text.parse();
    parsed.map(|url| url.to_string()).map_err(|error: BrokerUrlError| error.to_string())
}

#[test]
fn addresses_of_brokers_get_their_normal_form() {
    for (text, expected) in [
        ("nats://broker.example.com", "nats://broker.example.com:4222"),
        ("nats://Broker:4333/", "nats://broker:4333"),
        ("tls://10.0.0.7:4222", "tls://10.0.0.7:4222"),
        ("tls://[FD00::1]:4222", "tls://[fd00::1]:4222"),
    ] {
        assert_eq!(url(text), Ok(expected.to_owned()), "{text}");
    }
    let address: BrokerUrl = "tls://[fd00::1]".parse().unwrap();
    assert_eq!((address.host(), address.port(), address.is_tls()), ("fd00::1", 4222, true));
}

#[test]
fn addresses_that_are_none_are_refused_and_passwords_are_not_shown() {
    let form = "it is not an address such as nats://broker.example.com:4222";
    for (text, expected) in [
        ("", form),
        ("broker", form),
        ("broker:4222", form),
        ("nats://", form),
        ("nats://broker:0", form),
        ("nats://broker:65536", form),
        ("nats://bro ker", form),
        ("nats://[fd00::x]", form),
        ("https://broker", "scheme is \"https\", expected nats or tls"),
        ("ws://broker", "scheme is \"ws\", expected nats or tls"),
        ("nats://broker/orders", "address has \"/orders\" behind the port, expected nothing"),
        ("nats://broker?x=1", "address has \"?x=1\" behind the port, expected nothing"),
    ] {
        assert_eq!(url(text), Err(expected.to_owned()), "{text}");
    }
    for text in
        ["nats://ana:geheim@broker", "nats://geheim@broker", "ana:geheim@broker", "nats://a b:geheim@x"]
    {
        let error = url(text).unwrap_err();
        assert!(error.contains("put them in a secret") && !error.contains("geheim"), "{error}");
    }
    assert!(url(&format!("nats://{}", "a".repeat(300))).unwrap_err().starts_with("address is 307 bytes"));
}

#[test]
fn streams_and_subjects_are_those_of_nats() {
    let stream = |text: &str| text.parse::<StreamName>().map_err(|error| error.to_string());
    assert_eq!(stream("ORDERS_eu-1").unwrap().as_str(), "ORDERS_eu-1");
    for bad in ["a.b", "a*", "a>", "a/b", "a\\b", "a b", "ä", "a\n"] {
        assert!(stream(bad).unwrap_err().contains("name of the stream has"), "{bad}");
    }
    assert_eq!(stream("").unwrap_err(), "name of the stream is 0 bytes long, expected 1 to 255");
    let subject = |text: &str| text.parse::<SubjectFilter>().map_err(|error| error.to_string());
    for good in ["orders", "orders.>", "orders.*.created", ">", "*", "orders.é"] {
        assert_eq!(subject(good).unwrap().as_str(), good);
    }
    for (bad, expected) in [
        ("", "subject is 0 bytes long"),
        ("a b", "subject has ' '"),
        ("a..b", "has an empty token"),
        (".a", "has an empty token"),
        ("a.", "has an empty token"),
        ("a.>.b", "subject \"a.>.b\" has \">\""),
        ("a.b*", "subject \"a.b*\" has \"b*\""),
    ] {
        assert!(subject(bad).unwrap_err().contains(expected), "{bad}");
    }
}

#[test]
fn filters_meet_where_a_subject_is_of_both() {
    for (filter, other, meets) in [
        ("orders.>", "orders.>", true),
        ("orders.>", "orders.*.eu", true),
        ("orders.>", "orders", false),
        ("orders.new", "orders.*", true),
        ("orders.*", "orders.new", true),
        ("orders.*", "orders.new.eu", false),
        (">", "a.b.c", true),
        ("invoices.>", "orders.>", false),
    ] {
        let filter: SubjectFilter = filter.parse().unwrap();
        assert_eq!(filter.meets(other), meets, "{filter} {other}");
    }
}

#[test]
fn queues_have_one_to_eight_addresses() {
    let source = |count| {
        let brokers = vec!["nats://broker".parse().unwrap(); count];
        QueueSource::new(brokers, "ORDERS".parse().unwrap(), "orders.>".parse().unwrap())
    };
    assert_eq!(source(8).unwrap().brokers().len(), 8);
    assert_eq!(source(0).unwrap_err().to_string(), "queue has 0 addresses of brokers, expected 1 to 8");
    assert_eq!(source(9), Err(BrokersCountError { found: 9 }));
}

fn message(headers: &[(&str, &str)]) -> QueueMessage {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap()));
    QueueMessage {
        subject: "orders.eu".to_owned(),
        sequence: 42,
        published: Timestamp::from_unix_seconds(1_796_040_000),
        headers: headers.collect::<HeaderMap>(),
        data: Bytes::from_static(b"{}"),
    }
}

fn orders() -> StreamName {
    "ORDERS".parse().unwrap()
}

#[test]
fn a_plain_message_is_an_event_with_its_place() {
    let event = message(&[("content-type", "application/json")]).event(&orders());
    assert_eq!(event.id.as_str(), "ORDERS:42:1796040000000");
    assert_eq!((event.source.as_str(), event.event_type.as_str()), ("nats:ORDERS", MESSAGE_TYPE));
    assert_eq!(event.subject.unwrap().as_str(), "orders.eu");
    assert_eq!(event.content_type.unwrap().as_str(), "application/json");
    assert_eq!(event.time.to_string(), "2026-11-30T12:00:00Z");
    assert_eq!(message(&[("nats-msg-id", "7")]).event(&orders()).id.as_str(), "7");
    let odd = message(&[]).event(&"A%B\"".parse().unwrap());
    assert_eq!(odd.source.as_str(), "nats:A%25B%22");
}

#[test]
fn a_message_may_be_a_cloud_event_itself() {
    let headers =
        [("ce-specversion", "1.0"), ("ce-id", "9"), ("ce-source", "/shop"), ("ce-type", "order.created")];
    let event = message(&headers).event(&orders());
    assert_eq!((event.id.as_str(), event.source.as_str()), ("9", "/shop"));
    assert_eq!((event.event_type.as_str(), &event.data[..]), ("order.created", &b"{}"[..]));
    // One that claims to be, and is not, is a plain message.
    let event = message(&headers[..3]).event(&orders());
    assert_eq!((event.id.as_str(), event.event_type.as_str()), ("ORDERS:42:1796040000000", MESSAGE_TYPE));
}

#[test]
fn headers_of_messages_cannot_pass_for_those_of_requests() {
    let own = [
        ("wasm-fn-version", "v1"),
        ("host", "x"),
        ("nats-msg-id", "7"),
        ("nats-sequence", "1"),
        ("ce-id", "9"),
        ("content-type", "text/plain"),
    ];
    let headers = message(&own).headers(&orders());
    let mut found: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "nats-host: x",
            "nats-msg-id: 7",
            "nats-sequence: 42",
            "nats-stream: ORDERS",
            "nats-wasm-fn-version: v1"
        ]
    );
    let many: Vec<_> = (0..100).map(|number| (format!("x-{number}"), "y".repeat(8 << 10))).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(message(&many).headers(&orders()).len(), 1 + 2, "only one is within the bound of bytes");
    let many: Vec<_> = (0..100).map(|number| (format!("x-{number}"), "y")).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    assert_eq!(message(&many).headers(&orders()).len(), MESSAGE_HEADERS_MAX + 2);
}

#[test]
fn the_same_event_makes_valid_headers() {
    let event: CloudEvent = message(&[]).event(&orders());
    let headers = event.headers(&"queue".parse().unwrap(), 1);
    assert_eq!(headers["ce-id"], "ORDERS:42:1796040000000");
}
