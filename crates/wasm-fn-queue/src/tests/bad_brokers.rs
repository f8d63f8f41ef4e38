//! Brokers from which no messages can come: each is named with what was found and what was expected, is tried
//! again, and works once it is as it should be.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use async_nats::jetstream;
use wasm_fn_events::QueueSource;

use super::{
    Recorder, Server, always, options, orders,
    orders::{create, publish},
    shown, start, tls,
};
use crate::{QueueConsumer, QueueOptions};

/// The first failure with `options`.
async fn failure(options: QueueOptions) -> String {
    let handler = Recorder::new(10, always);
    let queue = QueueConsumer::start(options, Arc::clone(&handler));
    let seen = handler.until("a failure", |seen| !seen.failures.is_empty()).await;
    queue.stop(super::PATIENCE).await;
    seen.failures[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_there_is_named_and_tried_again() {
    let Some(mut server) = Server::plain("a_broker_that_is_not_there_is_named_and_tried_again") else {
        return;
    };
    let jetstream = server.orders().await;
    publish(&jetstream, 0, 1).await;
    server.kill();
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    let seen = handler.until("a failure", |seen| !seen.failures.is_empty()).await;
    let expected = format!("broker at {} cannot be reached: ", server.url());
    assert!(seen.failures[0].starts_with(&expected) && seen.failures[0].contains("refused"), "{seen:?}");
    server.restart();
    handler.until("the message", |seen| seen.attempts.len() == 1).await;
    assert!(queue.stop(super::PATIENCE).await);
    let unknown = failure(options(orders("nats://no-such-broker.invalid"))).await;
    assert!(unknown.starts_with("broker no-such-broker.invalid has no address: "), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn something_else_than_a_broker_is_named() {
    // A server of the last version that is too old, as far as a client sees one before it is told anything.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let info =
                r#"{"server_id":"X","version":"2.9.25","max_payload":1048576,"proto":1,"headers":true}"#;
            write!(socket, "INFO {info}\r\nPONG\r\n").unwrap();
            // It is closed with the process.
            std::mem::forget(socket);
        }
    });
    let old = failure(options(orders(&format!("nats://{address}")))).await;
    assert_eq!(old, "broker is nats-server 2.9.25, expected at least 2.10");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            write!(socket.unwrap(), "HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        }
    });
    let web = failure(options(orders(&format!("nats://{address}")))).await;
    assert!(web.starts_with(&format!("broker at nats://{address} cannot be reached: ")), "{web}");
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_may_be_refused() {
    let mut options = options(orders("nats://127.0.0.1:9"));
    options.addresses =
        Arc::new(|address: SocketAddr| Err(format!("the node itself, with port {}", address.port())));
    let expected = "broker has the address 127.0.0.1:9, which is the node itself, with port 9, expected one that a \
                    broker has";
    assert_eq!(failure(options).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_jetstream_is_named() {
    let Some(server) = Server::configured("a_broker_without_jetstream_is_named", "") else { return };
    let error = failure(options(orders(&server.url()))).await;
    assert_eq!(error, "broker has no JetStream for this account, expected it to be enabled");
    let accounts = "jetstream { store_dir: STORE }\naccounts { A: { users: [{ user: ana, password: x }] } }";
    let Some(server) = Server::configured("a_broker_without_jetstream_is_named", accounts) else { return };
    let options = QueueOptions { credentials: shown(Some("ana:x")), ..options(orders(&server.url())) };
    assert_eq!(failure(options).await, "broker has no JetStream for this account, expected it to be enabled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_not_there_or_has_other_subjects_is_named_until_it_is() {
    let test = "a_stream_that_is_not_there_or_has_other_subjects_is_named_until_it_is";
    let Some(server) = Server::plain(test) else { return };
    let handler = Recorder::new(10, always);
    let queue = start(orders(&server.url()), &handler);
    let missing = "broker has no stream ORDERS, expected it to be there: triggers make no streams";
    handler.until("the reason", |seen| seen.failures.iter().any(|found| found == missing)).await;
    let jetstream = server.jetstream().await;
    create(&jetstream, "invoices.>").await;
    let other = "stream ORDERS has the subjects invoices.>, expected some of orders.>";
    handler.until("the other reason", |seen| seen.failures.iter().any(|found| found == other)).await;
    let config = jetstream::stream::Config {
        name: "ORDERS".to_owned(),
        subjects: vec!["orders.>".to_owned()],
        ..jetstream::stream::Config::default()
    };
    jetstream.update_stream(config).await.unwrap();
    publish(&jetstream, 0, 1).await;
    handler.until("the message", |seen| seen.attempts.len() == 1).await;
    assert!(queue.stop(super::PATIENCE).await);
}

/// A broker whose user `ana` may publish to `allowed`, and `root` to everything.
fn permitting(test: &str, publish: &str, subscribe: &str) -> Option<Server> {
    let config = format!(
        "jetstream {{ store_dir: STORE }}
         authorization {{ users: [
             {{ user: root, password: x }}
             {{ user: ana, password: x, permissions: {{ publish: [{publish}], subscribe: [{subscribe}] }} }}
         ] }}"
    );
    Server::configured(test, &config)
}

async fn as_root(server: &Server) -> jetstream::Context {
    let options = async_nats::ConnectOptions::with_user_and_password("root".to_owned(), "x".to_owned());
    jetstream::new(options.connect(server.url()).await.unwrap())
}

fn as_ana(source: QueueSource) -> QueueOptions {
    QueueOptions { credentials: shown(Some("ana:x\n")), ..options(source) }
}

const CONSUMER: &str = "wasm-fn_hello_live_orders";

#[tokio::test(flavor = "multi_thread")]
async fn each_permission_that_is_missing_is_named() {
    let test = "each_permission_that_is_missing_is_named";
    let needed = [
        "$JS.API.STREAM.INFO.ORDERS".to_owned(),
        format!("$JS.API.CONSUMER.INFO.ORDERS.{CONSUMER}"),
        format!("$JS.API.CONSUMER.CREATE.ORDERS.{CONSUMER}.orders.>"),
        format!("$JS.ACK.ORDERS.{CONSUMER}.>"),
        format!("$JS.API.CONSUMER.MSG.NEXT.ORDERS.{CONSUMER}"),
    ];
    let quoted =
        |subjects: &[String]| subjects.iter().map(|s| format!("{s:?}")).collect::<Vec<_>>().join(", ");
    for missing in 0..needed.len() {
        let mut allowed = needed.to_vec();
        let subject = allowed.remove(missing).replace(".>", ".");
        let Some(server) = permitting(test, &quoted(&allowed), "\"_INBOX.>\"") else { return };
        create(&as_root(&server).await, "orders.>").await;
        let error = failure(as_ana(orders(&server.url()))).await;
        let expected = format!("broker does not permit publish to {subject}");
        assert!(error.starts_with(&expected) && error.ends_with("expected permission for it"), "{error}");
    }
    let Some(server) = permitting(test, &quoted(&needed), "\"x\"") else { return };
    create(&as_root(&server).await, "orders.>").await;
    let error = failure(as_ana(orders(&server.url()))).await;
    assert!(error.starts_with("broker does not permit subscription to _INBOX."), "{error}");

    // With exactly these, it works.
    let Some(server) = permitting(test, &quoted(&needed), "\"_INBOX.>\"") else { return };
    let jetstream = as_root(&server).await;
    create(&jetstream, "orders.>").await;
    publish(&jetstream, 0, 1).await;
    let handler = Recorder::new(10, always);
    let queue = QueueConsumer::start(as_ana(orders(&server.url())), Arc::clone(&handler));
    let seen = handler.until("the message", |seen| seen.attempts.len() == 1).await;
    assert!(seen.failures.is_empty(), "{seen:?}");
    assert!(queue.stop(super::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_wrong_or_missing_are_named() {
    let test = "credentials_that_are_wrong_or_missing_are_named";
    let Some(server) = permitting(test, "\">\"", "\">\"") else { return };
    let denied = "broker refused the credentials, expected those of a user that it knows";
    for credentials in [None, Some("ana:wrong"), Some("a-token")] {
        let options = QueueOptions { credentials: shown(credentials), ..options(orders(&server.url())) };
        assert_eq!(failure(options).await, denied, "{credentials:?}");
    }
    let mut options = options(orders(&server.url()));
    options.credentials = Arc::new(|| Err("secret NATS is not set".to_owned()));
    assert_eq!(failure(options).await, "credentials are missing: secret NATS is not set");
    let token = "jetstream { store_dir: STORE }\nauthorization { token: s3cr3t }";
    let Some(server) = Server::configured(test, token) else { return };
    let right =
        QueueOptions { credentials: shown(Some("s3cr3t\n")), ..super::options(orders(&server.url())) };
    let missing = failure(right).await;
    assert!(missing.starts_with("broker has no stream ORDERS"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_must_be_one_that_is_trusted_if_the_address_says_tls() {
    let test = "a_broker_must_be_one_that_is_trusted_if_the_address_says_tls";
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let files = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(files.path().join(name), text).unwrap();
    write("cert.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
    let folder = files.path().display();
    let config = format!(
        "jetstream {{ store_dir: STORE }}\ntls {{ cert_file: \"{folder}/cert.pem\", key_file: \"{folder}/key.pem\" }}"
    );
    let Some(server) = Server::configured(test, &config) else { return };
    let url = format!("tls://localhost:{}", server.port);
    let untrusted = failure(options(orders(&url))).await;
    assert!(untrusted.contains("invalid peer certificate"), "{untrusted}");
    let trusting = |url: &str| QueueOptions { tls: tls(Some(certificate.der())), ..options(orders(url)) };
    let missing = "broker has no stream ORDERS";
    assert!(failure(trusting(&url)).await.starts_with(missing));
    // A broker that wants TLS gets it, whatever the address says.
    assert!(failure(trusting(&server.url())).await.starts_with(missing));
    let Some(plain) = Server::plain(test) else { return };
    let error = failure(trusting(&format!("tls://localhost:{}", plain.port))).await;
    assert!(error.ends_with("cannot be reached: it does not speak TLS, expected it to"), "{error}");
}
