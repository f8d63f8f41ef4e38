//! Facts about where requests may go, with lookups that the tests answer.

use std::{collections::VecDeque, net::IpAddr, sync::Mutex, time::Duration};

use super::*;
use crate::guest_host::logs::GuestLogStream;

/// Answers the lookups of any name in turn.
#[derive(Debug)]
struct Answers(Mutex<VecDeque<Vec<IpAddr>>>);

impl Resolve for Answers {
    fn resolve(&self, _host: String, port: u16) -> Lookup {
        let answer = self.0.lock().unwrap().pop_front().expect("there is no further lookup");
        Box::pin(async move { Ok(answer.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()) })
    }
}

/// Lookups that find these addresses, one after the other.
fn answers(lookups: &[&[&str]]) -> Arc<Answers> {
    let addresses = |found: &&[&str]| found.iter().map(|address| address.parse().unwrap()).collect();
    Arc::new(Answers(Mutex::new(lookups.iter().map(addresses).collect())))
}

/// What holds on a node that opens `private` to all functions.
fn node(private: &[&str], resolver: Arc<dyn Resolve>) -> EgressOptions {
    let private = private.iter().map(|network| network.parse().unwrap()).collect();
    EgressOptions { private, resolver, ..EgressOptions::public() }
}

/// A function's egress, and its log.
fn function(rules: &[&str], limits: &Limits, node: EgressOptions) -> (Egress, Arc<LogRing>) {
    let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let log = Arc::new(LogRing::new(tokio::sync::watch::channel(0).0, None));
    let policy = EgressPolicy::new(rules, limits, Arc::new(node), VersionNo::FIRST, log.clone());
    (Egress::new(Arc::new(policy)), log)
}

/// The lines of the host, without their beginning.
fn denied(log: &LogRing) -> Vec<String> {
    let lines = log.page(0).lines.into_iter().filter(|line| line.stream == GuestLogStream::Host);
    lines.map(|line| line.text.strip_prefix("egress-denied: ").unwrap().to_owned()).collect()
}

async fn fetch(egress: &mut Egress, request: http::Request<WasiBody>) -> Result<bytes::Bytes, Error> {
    let sent = egress.send_request(request, None, Box::new(async { Ok(()) }));
    let (response, io) = Box::into_pin(sent).await?;
    tokio::spawn(Box::into_pin(io));
    Ok(response.into_body().collect().await?.to_bytes())
}

const FINE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nfine";

#[tokio::test]
async fn a_name_that_changes_its_address_is_judged_again() {
    let (listener, address) = listen().await;
    let port = address.port();
    let resolver = answers(&[&["127.0.0.1"], &["10.0.0.5"], &["::ffff:169.254.169.254"]]);
    let rule = format!("http://rebound.test:{port}");
    let node = node(&["127.0.0.1"], resolver.clone());
    let (mut egress, log) = function(&[&rule], &Limits::default(), node);
    let served = tokio::spawn(serve(listener, None, FINE));
    assert_eq!(fetch(&mut egress, request(&rule)).await.unwrap(), "fine");
    served.await.unwrap();
    assert_eq!(resolver.0.lock().unwrap().len(), 2, "a request looks its name up once");
    for _ in 0..2 {
        let error = fetch(&mut egress, request(&rule)).await.unwrap_err();
        assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
    }
    assert_eq!(
        denied(&log),
        [
            format!("{rule} leads to 10.0.0.5: a private address, which no entry of `egress` names"),
            format!(
                "{rule} leads to ::ffff:169.254.169.254: a cloud's metadata address, which no entry of `egress` names"
            ),
        ]
    );
}

#[tokio::test]
async fn only_permitted_addresses_of_a_name_are_connected_to() {
    let (listener, address) = listen().await;
    let rule = format!("http://both.test:{}", address.port());
    let resolver = answers(&[&["10.0.0.5", "127.0.0.1", "::1"]]);
    let (mut egress, log) = function(&[&rule], &Limits::default(), node(&["127.0.0.0/8"], resolver));
    let served = tokio::spawn(serve(listener, None, FINE));
    assert_eq!(fetch(&mut egress, request(&rule)).await.unwrap(), "fine");
    served.await.unwrap();
    assert_eq!(denied(&log), Vec::<String>::new());
}

/// Which of the `addresses` of a name a function with `rules` may connect to, over HTTP at port 9000.
#[track_caller]
fn permitted(rules: &[&str], node: EgressOptions, addresses: &[&str]) -> Vec<String> {
    let policy = policy(rules, &Limits::default(), node);
    let target = Target::of(&"http://name.test:9000/".parse().unwrap()).unwrap();
    let found = addresses.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 9000)).collect();
    let permitted = policy.permitted(&target, found, served(1)).unwrap_or_default();
    permitted.iter().map(|address| address.ip().to_string()).collect()
}

#[test]
fn a_name_may_have_the_addresses_that_its_function_names() {
    let public = EgressOptions::public;
    let name = "http://name.test:9000";
    let both = &["93.184.215.14", "127.0.0.1"];
    assert_eq!(permitted(&["*"], public(), both), ["93.184.215.14"]);
    assert_eq!(permitted(&["*"], public(), &["127.0.0.1", "::1", "0.0.0.0"]), [""; 0]);
    assert_eq!(permitted(&[name, "http://10.0.0.5:9000"], public(), &["10.0.0.5", "10.0.0.6"]), ["10.0.0.5"]);
    assert_eq!(permitted(&[name, "http://10.0.0.5:9001"], public(), &["10.0.0.5"]), [""; 0]);
    assert_eq!(permitted(&[name, "https://10.0.0.5:9000"], public(), &["10.0.0.5"]), [""; 0]);
    assert_eq!(
        permitted(&[name, "http://localhost:9000"], public(), &["::1", "127.0.0.9"]),
        ["::1", "127.0.0.9"]
    );
    let fields = || node(&["10.0.0.0/8", "169.254.0.0/16"], answers(&[]));
    assert_eq!(
        permitted(&[name], fields(), &["10.1.2.3", "169.254.169.254", "169.254.1.1", "::ffff:10.0.0.1"]),
        ["10.1.2.3", "169.254.1.1", "::ffff:10.0.0.1"]
    );
    assert_eq!(
        permitted(&[name], node(&["169.254.169.254"], answers(&[])), &["169.254.169.254"]),
        ["169.254.169.254"]
    );
}

#[tokio::test]
async fn the_node_s_own_sockets_are_refused_at_every_address_of_the_machine() {
    let own = || EgressOptions {
        listeners: Listeners {
            data: vec!["0.0.0.0:9000".parse().unwrap()],
            admin: vec!["[::]:9001".parse().unwrap()],
        },
        ..node(&["0.0.0.0/0", "::/0"], answers(&[]))
    };
    assert_eq!(permitted(&["*"], own(), &["127.0.0.1", "127.0.0.9", "::1", "0.0.0.0"]), [""; 0]);
    assert_eq!(permitted(&["http://localhost:9000"], own(), &["127.0.0.1"]), ["127.0.0.1"]);
    let rules = ["http://localhost:9001", "http://127.0.0.1:9001", "*"];
    for admin in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"] {
        let (mut egress, log) = function(
            &rules,
            &Limits::default(),
            EgressOptions { resolver: answers(&[&["127.0.0.1", "::1"]]), ..own() },
        );
        let error = fetch(&mut egress, request(&format!("http://{admin}:9001/"))).await.unwrap_err();
        assert!(matches!(error, Error::DestinationIpProhibited), "{error}");
        assert!(denied(&log)[0].ends_with("the admin API of the node, which no function may reach"));
    }
}

#[tokio::test]
async fn requests_of_an_invocation_are_counted_together() {
    let limits = limits(|limits| limits.requests = 2);
    let (mut egress, log) = function(&["http://127.0.0.1:1"], &limits, EgressOptions::public());
    for invocation in 1..=2 {
        egress.serve(served(invocation), None);
        for attempt in 0..4 {
            let error = fetch(&mut egress, request("http://127.0.0.1:1/")).await.unwrap_err();
            let is_counted = matches!(error, Error::ConnectionRefused) && attempt < 2;
            assert!(is_counted || matches!(error, Error::ConnectionLimitReached), "{attempt}: {error}");
        }
    }
    assert_eq!(denied(&log), ["more than 2 outgoing requests (`egress_requests`)"; 2]);
}

fn limits(change: impl FnOnce(&mut wasm_fn_core::EgressLimits)) -> Limits {
    let mut limits = Limits::default();
    change(&mut limits.egress);
    limits
}

#[tokio::test]
async fn bytes_of_an_invocation_are_counted_together() {
    let (listener, address) = listen().await;
    let rule = format!("http://{address}");
    let (mut egress, log) = function(&[&rule], &limits(|limits| limits.bytes = 9), EgressOptions::public());
    let peer = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = [0; 1024];
                // A client that gives up sends no more.
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(FINE.as_bytes()).await;
            });
        }
    });
    egress.serve(served(1), None);
    for expected in [Ok("fine".into()), Ok("fine".into()), Err(9)] {
        let found = fetch(&mut egress, request(&rule)).await;
        let found: Result<bytes::Bytes, u64> = found.map_err(|error| match error {
            Error::HttpResponseBodySize(Some(max)) => max,
            error => panic!("{error}"),
        });
        assert_eq!(found, expected);
    }
    egress.serve(served(2), None);
    let body = |text: &'static str| {
        let body = http_body_util::Full::new(bytes::Bytes::from_static(text.as_bytes()));
        let body: WasiBody = body.map_err(|never| match never {}).boxed_unsync();
        http::Request::post(&rule).header("host", "test").body(body).unwrap()
    };
    fetch(&mut egress, body("five5")).await.unwrap();
    let error = fetch(&mut egress, body("five5")).await.unwrap_err();
    assert!(matches!(error, Error::HttpRequestBodySize(Some(9))), "{error}");
    assert_eq!(
        denied(&log),
        ["more than 9 bytes received (`egress_bytes`)", "more than 9 bytes sent (`egress_bytes`)"]
    );
    peer.abort();
}

#[tokio::test]
async fn a_request_ends_when_its_time_is_up() {
    // A peer that accepts and says nothing, one that says nothing after the head, and no peer at all.
    for (answer, expected) in [("", "HttpResponseTimeout"), (&FINE[..40], "HttpResponseTimeout")] {
        let (listener, address) = listen().await;
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.unwrap();
        });
        let limits = limits(|limits| limits.timeout = Some(Duration::from_millis(50)));
        let (mut egress, _) = function(&[&format!("http://{address}")], &limits, EgressOptions::public());
        let error = fetch(&mut egress, request(&format!("http://{address}/"))).await.unwrap_err();
        assert_eq!(format!("{error:?}"), expected, "{answer}");
        // The node has closed the connection.
        peer.await.unwrap();
    }
}

#[tokio::test]
async fn a_lookup_that_takes_too_long_is_given_up_but_keeps_its_turn() {
    #[derive(Debug, Default)]
    struct Never(AtomicU32);
    impl Resolve for Never {
        fn resolve(&self, _host: String, _port: u16) -> Lookup {
            self.0.fetch_add(1, Relaxed);
            Box::pin(std::future::pending())
        }
    }
    let never = Arc::new(Never::default());
    let limits = limits(|limits| limits.timeout = Some(Duration::from_millis(10)));
    let (mut egress, _) = function(&["*"], &limits, node(&[], never.clone()));
    for _ in 0..lookup::LOOKUPS_MAX + 3 {
        let error = fetch(&mut egress, request("http://name.test/")).await.unwrap_err();
        assert!(matches!(error, Error::ConnectionTimeout), "{error}");
    }
    assert_eq!(never.0.load(Relaxed), u32::try_from(lookup::LOOKUPS_MAX).unwrap());
}
