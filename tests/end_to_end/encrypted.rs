//! TLS: functions, the admin API and its clients, with real certificates in real files.

use std::{
    net::SocketAddr,
    os::unix::fs::PermissionsExt as _,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, UNIX_EPOCH},
};

use rcgen::{SanType, date_time_ymd, string::Ia5String};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::harness::{
    Folder, Node,
    client::{Client, raw},
    command::run,
    connection::{Call, Connection},
    patiently,
    programs::starts,
    serve,
    tls::{Authority, Pair, parameters, secured, shown},
    wasm_fn,
};

const TLS: [&str; 4] = ["--tls-cert", "a.pem", "--tls-key", "a.key"];

const DAY: Duration = Duration::from_secs(24 * 3600);

const ADMIN_TLS: [&str; 4] = ["--admin-tls-cert", "admin.pem", "--admin-tls-key", "admin.key"];

/// What a node logs when it has read its files again, and when it could not use them.
const RELOADED: &str = "certificates were reloaded";
const NOT_RELOADED: &str = "certificates were not reloaded";

/// A node that serves functions as `a.test`, with `hello` v1 on it.
async fn node(args: &[&str]) -> (Node, Authority) {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    folder.write_pair("a", &authority.issue(&parameters("a.test")));
    folder.write("ca.pem", authority.pem());
    let node = Node::start_on(folder, &[&TLS[..], args].concat()).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    (node, authority)
}

/// What comes back for a request for `path`, from the head of the answer to its end.
async fn asked(client: &TlsConnector, node: SocketAddr, path: &str) -> String {
    let mut stream = secured(client, node, "a.test").await.expect("the handshake succeeds");
    let request = format!("GET {path} HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the node reads");
    let mut answer = String::new();
    // An end without `close_notify` would be an error.
    patiently("an answer", stream.read_to_string(&mut answer)).await.expect("the node ends it in order");
    answer
}

fn certificate(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.cert.as_bytes()).expect("it is one")
}

#[tokio::test]
async fn curl_gets_functions_over_tls_by_both_protocols() {
    let test = "curl_gets_functions_over_tls_by_both_protocols";
    if !starts(Command::new("curl").arg("--version"), "curl", test) {
        return;
    }
    let (node, _authority) = node(&[]).await;
    let url = format!("https://a.test:{}/hello", node.listen.port());
    let resolve = format!("a.test:{}:127.0.0.1", node.listen.port());
    for (protocol, expected) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--cacert", "ca.pem", "--resolve", &resolve, protocol]);
            curl.args(version).args(["--write-out", "\n%{http_code} %{http_version}", &url]);
            let answer = run(curl.current_dir(node.folder().path())).await.ok().stdout;
            assert!(answer.ends_with(&format!("\n200 {expected}")), "{answer}");
            assert!(answer.starts_with("hello"), "{answer}");
        }
    }
}

#[tokio::test]
async fn a_client_gets_the_certificate_for_the_name_that_it_asks_for() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let pairs = ["a.test", "*.b.test", "c.test"].map(|name| authority.issue(&parameters(name)));
    for (name, pair) in ["a", "b", "c"].iter().zip(&pairs) {
        folder.write_pair(name, pair);
    }
    // Two by flags, where one holds a list.
    let args = [
        "--tls-cert",
        "a.pem,b.pem",
        "--tls-key",
        "a.key,b.key",
        "--tls-cert",
        "c.pem",
        "--tls-key",
        "c.key",
    ];
    let node = Node::start_on(folder, &args).await;
    for protocols in [&["h2", "http/1.1"][..], &["http/1.1"], &["http/1.1", "h2"]] {
        let client = authority.client(protocols);
        for (name, pair) in [("a.test", 0), ("x.b.test", 1), ("c.test", 2)] {
            let stream = secured(&client, node.listen, name).await.unwrap();
            assert_eq!(shown(&stream), certificate(&pairs[pair]), "{name}");
            // The node prefers HTTP/2.
            let expected = if protocols.contains(&"h2") { "h2" } else { "http/1.1" };
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(expected.as_bytes()));
        }
        // For any other name it shows the first, which such a client refuses.
        let error = secured(&client, node.listen, "x.y.b.test").await.unwrap_err();
        assert!(error.to_string().contains("not valid for name"), "{error}");
    }
}

/// Calls `hello` over one connection after the other until told that it is enough.
async fn keep_calling(
    client: TlsConnector,
    node: SocketAddr,
    enough: Arc<AtomicBool>,
    answered: Arc<AtomicU32>,
) {
    let mut http2 = false;
    while !enough.load(Relaxed) {
        http2 = !http2;
        let stream = secured(&client, node, "a.test").await.expect("the handshake succeeds");
        let mut connection = Connection::over(stream, http2).await.expect("the connection is taken");
        for _ in 0..20 {
            match connection.call(node, "/hello").await {
                Call::Answered => answered.fetch_add(1, Relaxed),
                Call::NotSent => panic!("a connection was closed"),
                Call::Broken(error) => panic!("{error}"),
            };
        }
    }
}

#[tokio::test]
async fn certificates_are_renewed_under_load_without_a_failed_request() {
    let (node, authority) = node(&[]).await;
    let (enough, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let client = authority.client(&["h2", "http/1.1"]);
            tokio::spawn(keep_calling(client, node.listen, Arc::clone(&enough), Arc::clone(&answered)))
        })
        .collect();
    let client = authority.client(&["h2"]);
    for renewal in 1..=3 {
        let pair = authority.issue(&parameters("a.test"));
        node.folder().write_pair("a", &pair);
        node.process().lines(RELOADED, renewal).await;
        let stream = secured(&client, node.listen, "a.test").await.unwrap();
        assert_eq!(shown(&stream), certificate(&pair));
    }
    enough.store(true, Relaxed);
    for caller in callers {
        patiently("a caller", caller).await.expect("no request fails");
    }
    println!("{} answers during three renewals", answered.load(Relaxed));
    assert!(!node.process().log().contains("\"WARN\""), "{}", node.process().log());
}

#[tokio::test]
async fn files_that_cannot_be_used_leave_the_earlier_certificate() {
    let (node, authority) = node(&[]).await;
    let client = authority.client(&["http/1.1"]);
    let earlier = shown(&secured(&client, node.listen, "a.test").await.unwrap());
    let warned = || node.process().log().matches(NOT_RELOADED).count();
    node.folder().write("a.pem", "nonsense");
    node.process().lines(NOT_RELOADED, 1).await;
    assert_eq!(shown(&secured(&client, node.listen, "a.test").await.unwrap()), earlier);
    // The key of another certificate: another warning, which names both files.
    let [one, other] = [(), ()].map(|()| authority.issue(&parameters("a.test")));
    node.folder().write_pair("a", &Pair { key: other.key, ..one });
    node.process().lines(NOT_RELOADED, 2).await;
    let log = node.process().log();
    let last = log.lines().rfind(|line| line.contains(NOT_RELOADED)).unwrap();
    assert!(last.contains("a.pem") && last.contains("a.key"), "{last}");
    assert!(asked(&client, node.listen, "/hello").await.starts_with("HTTP/1.1 200 OK"));
    let pair = authority.issue(&parameters("a.test"));
    node.folder().write_pair("a", &pair);
    node.process().lines(RELOADED, 1).await;
    assert_eq!(shown(&secured(&client, node.listen, "a.test").await.unwrap()), certificate(&pair));
    assert_eq!(warned(), 2, "{}", node.process().log());
}

#[tokio::test]
async fn clients_of_plain_http_are_redirected() {
    let (node, _authority) = node(&["--redirect-listen", "127.0.0.1:0"]).await;
    let said = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        (line["message"] == "plain HTTP is redirected to https")
            .then(|| line["listen"].as_str()?.parse().ok())?
    };
    let address: SocketAddr = node.process().line("the address that redirects", said).await;
    let ask = |host: &str| format!("GET /hello?a=b HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes();
    let answer = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let sent = answer(raw(address, &ask("a.test"), |_| false).await);
    assert!(sent.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{sent}");
    assert!(sent.contains("\r\nlocation: https://a.test/hello?a=b\r\n"), "{sent}");
    let sent = answer(raw(address, &ask(&format!("a.test:{}", address.port())), |_| false).await);
    let expected = format!("\r\nlocation: https://a.test:{}/hello?a=b\r\n", node.listen.port());
    assert!(sent.contains(&expected), "{sent}");
    let sent = answer(raw(address, &ask("a.test@b.test"), |_| false).await);
    assert!(sent.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{sent}");
}

/// `wasm-fn serve` whose admin API is for all machines.
fn public(folder: &Folder, args: &[&str]) -> Command {
    let mut command = wasm_fn();
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0", "--log-format", "json"]);
    command.arg("--data-dir").arg(folder.data()).args(args).current_dir(folder.path());
    command
}

#[tokio::test]
async fn the_admin_api_is_not_open_to_others_in_plain_text() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let node = Node::start().await;
    assert!(!node.process().log().contains("other machines may reach"), "{}", node.process().log());
    let refused = run(&mut public(&folder, &[])).await;
    refused.refused(&["0.0.0.0", "--admin-tls-cert", "--insecure-admin"]);
    let node = Node::start_as(&mut public(&folder, &["--insecure-admin"]), folder.clone()).await;
    let warned = |line: &str| line.contains("other machines may reach the admin API").then_some(());
    node.process().line("a warning", warned).await;
    let folder = node.kill().await;
    folder.write_pair("admin", &authority.issue(&parameters("localhost")));
    let node = Node::start_as(&mut public(&folder, &ADMIN_TLS), folder).await;
    assert!(!node.process().log().contains("other machines may reach"), "{}", node.process().log());
}

/// A command for a node whose admin API has TLS as `localhost`.
fn command(node: &Node, args: &[&str]) -> Command {
    let mut command = node.command(args);
    command.env("WASM_FN_SERVER", format!("https://localhost:{}", node.admin.port()));
    command
}

#[tokio::test]
async fn commands_reach_a_node_over_tls() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    folder.write_pair("admin", &authority.issue(&parameters("localhost")));
    folder.write_pair("a", &authority.issue(&parameters("127.0.0.1")));
    folder.write("ca.pem", authority.pem());
    folder.write("other.pem", Authority::new("other").pem());
    folder.write("hello.wasm", crate::harness::guests::bytes("hello-v1"));
    let node = Node::start_on(folder, &[&TLS[..], &ADMIN_TLS].concat()).await;
    let deployed = run(&mut command(&node, &["deploy", "hello.wasm", "--ca", "ca.pem"])).await.ok();
    assert!(deployed.stderr.contains(&format!("curl https://{}/hello", node.listen)), "{}", deployed.stderr);
    let status = run(command(&node, &["status"]).env("WASM_FN_CA", "ca.pem")).await.ok();
    assert!(status.stdout.contains("hello"), "{}", status.stdout);
    // The functions have TLS, too.
    let invoked = run(&mut command(&node, &["invoke", "hello", "--ca", "ca.pem"])).await.ok();
    assert!(invoked.stdout.starts_with("hello"), "{}", invoked.stdout);
    // Nobody vouches for the node; somebody else does; it is called by another name.
    for args in [&["status"][..], &["status", "--ca", "other.pem"]] {
        run(&mut command(&node, args)).await.refused(&["https://localhost:", "certificate", "--ca"]);
    }
    let by_address = format!("https://127.0.0.1:{}", node.admin.port());
    let mut status = node.command(&["status", "--ca", "ca.pem", "--server", &by_address]);
    run(&mut status).await.refused(&[&by_address, "not valid for name"]);
    // The node does not speak plain HTTP.
    run(&mut node.command(&["status"])).await.refused(&["http://127.0.0.1:"]);
    run(&mut command(&node, &["status", "--ca", "missing.pem"])).await.refused(&["missing.pem"]);
}

#[tokio::test]
async fn a_client_with_a_certificate_is_known_to_the_node() {
    let (folder, authority, people) = (Folder::new(), Authority::new("authority"), Authority::new("people"));
    folder.write_pair("admin", &authority.issue(&parameters("localhost")));
    folder.write("ca.pem", authority.pem());
    folder.write("people.pem", people.pem());
    let mut ci = parameters("ci.test");
    ci.subject_alt_names.push(SanType::URI(Ia5String::try_from("spiffe://a.test/ci").unwrap()));
    folder.write_pair("ci", &people.issue(&ci));
    folder.write_pair("stranger", &authority.issue(&ci));
    let debug = ["--admin-client-ca", "people.pem", "--log", "wasm_fn_admin=debug,info"];
    let node = Node::start_on(folder, &[&ADMIN_TLS[..], &debug].concat()).await;
    let with = |name: &str| {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let args = ["status", "--ca", "ca.pem", "--cert", &cert, "--key", &key];
        command(&node, &args)
    };
    run(&mut with("ci")).await.ok();
    let known = |line: &str| line.contains("admin client has a certificate").then(|| line.to_owned());
    let line = node.process().line("who the client is", known).await;
    assert!(line.contains("spiffe://a.test/ci"), "{line}");
    // Certificates are optional, but not those of others.
    run(&mut command(&node, &["status", "--ca", "ca.pem"])).await.ok();
    run(&mut with("stranger")).await.refused(&["https://localhost:"]);
    run(&mut command(&node, &["status", "--cert", "ci.pem"])).await.refused_with(64, &["--key"]);
}

/// The error of a node that does not start with `args`, in `folder`.
async fn not_started(folder: &Folder, args: &[&str], facts: &[&str]) {
    run(&mut serve(folder, args)).await.refused(facts);
}

#[tokio::test]
async fn certificates_and_keys_that_cannot_be_used_are_refused_by_name() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let pair = authority.issue(&parameters("a.test"));
    let [cert, key] = folder.write_pair("a", &pair);
    let chmod = |mode: u32| std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).unwrap();
    chmod(0o644);
    not_started(&folder, &TLS, &["a.key", "mode 0644", "expected 0600"]).await;
    chmod(0o600);
    not_started(&folder, &TLS[..2], &["1 of tls_cert", "0 of tls_key"]).await;
    folder.write_pair("a", &Pair { key: authority.issue(&parameters("a.test")).key, ..pair.clone() });
    not_started(&folder, &TLS, &["the key in a.key is not that of a certificate in a.pem"]).await;
    folder.write_pair("a", &pair);
    std::fs::write(&cert, "nonsense").unwrap();
    not_started(&folder, &TLS, &["a.pem", "found no certificate", "-----BEGIN CERTIFICATE-----"]).await;
    std::fs::remove_file(&cert).unwrap();
    let told = run(&mut serve(&folder, &TLS)).await;
    told.refused(&["a.pem", "No such file"]);
    assert_eq!(told.stderr.matches("No such file").count(), 1, "{}", told.stderr);
    folder.write_pair("a", &pair);
    std::fs::write(&key, "nonsense").unwrap();
    not_started(&folder, &TLS, &["a.key", "found no private key"]).await;
    folder.write_pair("admin", &pair);
    let with_ca = [&ADMIN_TLS[..], &["--admin-client-ca", "people.pem"]].concat();
    not_started(&folder, &with_ca, &["people.pem", "No such file"]).await;
}

#[tokio::test]
async fn a_node_with_a_certificate_that_clients_refuse_starts_with_a_warning() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    let mut expired = parameters("a.test");
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let pair = authority.issue(&expired);
    // In the wrong order, too.
    folder.write_pair("a", &Pair { cert: format!("{}{}", authority.pem(), pair.cert), key: pair.key });
    let node = Node::start_on(folder, &TLS).await;
    for wanted in ["expired at 2021-01-01T00:00:00Z", "a.pem is in the wrong order"] {
        node.process().line("a warning", |line| line.contains(wanted).then_some(())).await;
    }
    let client = authority.client(&["http/1.1"]);
    let error = secured(&client, node.listen, "a.test").await.unwrap_err();
    assert!(error.to_string().contains("expired"), "{error}");
    // It is well again with the next file.
    let pair = authority.issue(&parameters("a.test"));
    node.folder().write_pair("a", &pair);
    node.process().lines(RELOADED, 1).await;
    assert_eq!(shown(&secured(&client, node.listen, "a.test").await.unwrap()), certificate(&pair));
}

#[tokio::test]
async fn doctor_checks_certificates() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    folder.write_pair("a", &authority.issue(&parameters("a.test")));
    let mut expired = parameters("admin.test");
    expired.not_after = date_time_ymd(2021, 1, 1);
    folder.write_pair("admin", &authority.issue(&expired));
    let doctor = |args: &[&str]| {
        let mut command = wasm_fn();
        command.args(["doctor", "-o", "json", "--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"]);
        command.args(args).current_dir(folder.path());
        command
    };
    let found = |stdout: &str, name: &str| -> Vec<Value> {
        let report: Value = serde_json::from_str(stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        findings.iter().filter(|finding| finding["name"] == name).cloned().collect()
    };
    let report = run(&mut doctor(&[&TLS[..], &ADMIN_TLS].concat())).await.stdout;
    let certificates = found(&report, "certificate");
    assert_eq!(certificates.len(), 2, "{report}");
    assert_eq!((&certificates[0]["status"], &certificates[1]["status"]), (&json!("ok"), &json!("warning")));
    assert!(certificates[1]["found"].as_str().unwrap().contains("expired"), "{report}");
    assert_eq!(found(&report, "admin-tls")[0]["status"], "ok", "{report}");
    let report = run(&mut doctor(&["--tls-cert", "a.pem", "--tls-key", "admin.key"])).await;
    assert_eq!(report.code, Some(1), "{}", report.stdout);
    assert_eq!(found(&report.stdout, "certificate")[0]["status"], "problem", "{}", report.stdout);
    assert_eq!(found(&report.stdout, "admin-tls")[0]["status"], "problem", "{}", report.stdout);
}

#[tokio::test]
async fn a_running_node_warns_of_certificates_that_end_and_tells_when() {
    let (folder, authority) = (Folder::new(), Authority::new("authority"));
    folder.write_pair("a", &authority.issue(&parameters("a.test")));
    let node = Node::start_on(folder, &TLS).await;
    // A year that ends in a week.
    let mut short = parameters("a.test");
    let now = date_time_ymd(1970, 1, 1) + UNIX_EPOCH.elapsed().expect("it is later than 1970");
    (short.not_before, short.not_after) = (now - DAY * 358, now + DAY * 7);
    node.folder().write_pair("a", &authority.issue(&short));
    let warned = |line: &str| {
        let line: Value = serde_json::from_str(line).ok()?;
        let text = line["message"].as_str()?;
        text.contains("the certificate of a.test in a.pem expires at").then(|| text.to_owned())
    };
    let text = node.process().line("a warning", warned).await;
    assert!(text.contains(", in 6 d: renew it"), "{text}");
    let metrics = Client::http1(node.admin).get("/metrics").await.ok().text();
    let metric = r#"wasm_fn_certificate_expiry_timestamp_seconds{listener="listen",name="a.test"} "#;
    let at = metrics.lines().find_map(|line| line.strip_prefix(metric)).expect("there is the metric");
    assert_eq!(at, format!("{}.0", short.not_after.unix_timestamp()));
    node.folder().write_pair("a", &authority.issue(&parameters("a.test")));
    node.process().lines(RELOADED, 2).await;
    assert_eq!(node.process().log().matches("in a.pem expires at").count(), 1, "it is said once");
}
