//! Certificates by ACME, from pebble: the test server of Let's Encrypt.

use std::{
    net::{SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{
    Folder, Node, Process, patiently,
    programs::starts,
    tls::{Authority, parameters, secured, shown, trusting},
    wasm_fn,
};

/// A server of ACME that finds every name on this machine, and checks it at one port.
struct Pebble {
    process: Process,
    /// Answers its questions about names.
    _names: Process,
    address: SocketAddr,
    management: SocketAddr,
    authority: Authority,
}

/// Addresses that nobody listens on.
fn free<const N: usize>() -> [SocketAddr; N] {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("there is a port"));
    sockets.map(|socket| socket.local_addr().expect("it is bound"))
}

fn installed(test: &str) -> bool {
    starts(Command::new("pebble").arg("-h"), "pebble", test)
        && starts(Command::new("pebble-challtestsrv").arg("-h"), "pebble-challtestsrv", test)
}

/// A process whose standard output is its log, too.
fn spawn(program: &str, args: &[&str], folder: &Folder) -> Process {
    // The harness reads standard error.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 1>&2", "sh", program]).args(args);
    command.env("PEBBLE_VA_NOSLEEP", "1").current_dir(folder.path()).stdin(Stdio::null());
    Process::spawn(&mut command)
}

impl Pebble {
    /// A server that checks names at `node`, and whose certificates are valid for so many seconds.
    async fn start(folder: &Folder, node: SocketAddr, life_s: u32) -> Self {
        let [address, management, names, commands] = free();
        let authority = Authority::new("vouches for pebble");
        folder.write("pebble-ca.pem", authority.pem());
        folder.write_pair("pebble", &authority.issue(&parameters("127.0.0.1")));
        let config = json!({ "pebble": {
            "listenAddress": address.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": "pebble.pem",
            "privateKey": "pebble.key",
            "httpPort": 1,
            "tlsPort": node.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": false,
            "certificateValidityPeriod": life_s,
        } });
        folder.write("pebble.json", config.to_string());
        let (dns, commands) = (names.to_string(), commands.to_string());
        let names = [
            "-defaultIPv4",
            "127.0.0.1",
            "-defaultIPv6",
            "",
            "-dns01",
            &dns,
            "-management",
            &commands,
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
        ];
        let names = spawn("pebble-challtestsrv", &names, folder);
        let process = spawn("pebble", &["-config", "pebble.json", "-dnsserver", &dns, "-strict"], folder);
        process.lines("ACME directory available", 1).await;
        Self { process, _names: names, address, management, authority }
    }

    fn config(&self, domains: &[&str]) -> String {
        format!(
            "[serve.acme]\ndomains = {domains:?}\ncontact = [\"mailto:ann@example.com\"]\n\
             directory = \"https://{}/dir\"\nca = \"pebble-ca.pem\"\n",
            self.address
        )
    }

    /// The root of its certificates.
    async fn root(&self) -> CertificateDer<'static> {
        let client = self.authority.client(&["http/1.1"]);
        let mut stream = secured(&client, self.management, "127.0.0.1").await.expect("it is trusted");
        let request = "GET /roots/0 HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("it reads");
        let mut answer = Vec::new();
        // It may end without `close_notify`.
        let _ = patiently("the root", stream.read_to_end(&mut answer)).await;
        CertificateDer::from_pem_slice(&answer).expect("it is a certificate")
    }
}

const ISSUED: &str = "certificate was issued by ACME";
const RELOADED: &str = "certificates were reloaded";

/// A node at `listen` that knows the server.
async fn node(folder: Folder, listen: SocketAddr) -> Node {
    let mut command = wasm_fn();
    command.args(["serve", "--config", "node.toml", "--log-format", "json", "--admin", "127.0.0.1:0"]);
    command.args(["--listen", &listen.to_string()]).arg("--data-dir").arg(folder.data());
    Node::start_as(command.current_dir(folder.path()).stdout(Stdio::null()), folder.clone()).await
}

#[tokio::test]
async fn a_node_gets_its_certificate_and_keeps_it_when_it_starts_again() {
    let test = "a_node_gets_its_certificate_and_keeps_it_when_it_starts_again";
    if !installed(test) {
        return;
    }
    let (folder, [listen]) = (Folder::new(), free());
    let pebble = Pebble::start(&folder, listen, 90 * 24 * 3600).await;
    folder.write("node.toml", pebble.config(&["a.example.com", "B.example.com"]));
    let first = node(folder, listen).await;
    first.process().lines(ISSUED, 1).await;
    first.process().lines(RELOADED, 1).await;
    first.deploy_with("hello", "hello-v1", json!({})).await;
    let client = trusting(pebble.root().await, &["http/1.1"]);
    let mut seen = Vec::new();
    for name in ["a.example.com", "b.example.com"] {
        let mut stream = secured(&client, listen, name).await.expect("the certificate is for it");
        seen.push(shown(&stream));
        let request = format!("GET /hello HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("the node reads");
        let mut answer = String::new();
        patiently("an answer", stream.read_to_string(&mut answer)).await.expect("it ends in order");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert!(secured(&client, listen, "c.example.com").await.is_err());
    let challenge = trusting(pebble.root().await, &["acme-tls/1"]);
    assert!(secured(&challenge, listen, "a.example.com").await.is_err(), "nothing is asked any more");

    let files = first.folder().data().join("acme");
    let modes = std::fs::read_dir(&files).unwrap().map(|entry| {
        let metadata = entry.unwrap().metadata().unwrap();
        (metadata.is_dir(), metadata.permissions().mode() & 0o777)
    });
    let modes: Vec<_> = modes.collect();
    assert!(
        modes.contains(&(false, 0o600))
            && modes.iter().all(|mode| [(true, 0o700), (false, 0o600)].contains(mode))
    );
    assert!(!first.process().log().contains("PRIVATE KEY"));

    // It is there at once, and nothing is ordered.
    let again = node(first.kill().await, listen).await;
    let stream = secured(&client, listen, "a.example.com").await.expect("the certificate was kept");
    assert_eq!(shown(&stream), seen[0]);
    again.api_ok(http::Method::GET, "/v1/node", None).await;
    assert!(!again.process().log().contains(ISSUED), "{}", again.process().log());
}

#[tokio::test]
async fn a_certificate_is_renewed_before_it_ends_and_stays_if_that_fails() {
    let test = "a_certificate_is_renewed_before_it_ends_and_stays_if_that_fails";
    if !installed(test) {
        return;
    }
    let (folder, [listen]) = (Folder::new(), free());
    // A third of its life is left after some seconds.
    let pebble = Pebble::start(&folder, listen, 15).await;
    folder.write("node.toml", pebble.config(&["a.example.com"]));
    let node = node(folder, listen).await;
    node.process().lines(ISSUED, 2).await;
    node.process().lines(RELOADED, 2).await;
    let client = trusting(pebble.root().await, &["http/1.1"]);
    let renewed = shown(&secured(&client, listen, "a.example.com").await.expect("it is valid"));
    drop(pebble);
    let failed = "certificate was not issued by ACME, the one so far stays";
    node.process().lines(failed, 1).await;
    let file = node.folder().data().join("acme/certificate.pem");
    let kept = CertificateDer::from_pem_slice(&std::fs::read(file).unwrap()).unwrap();
    let reloads = node.process().log().matches(RELOADED).count();
    assert!(kept == renewed || reloads > 2, "a failure changes nothing");
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_gets_no_certificate_and_the_log_says_why() {
    let test = "a_name_that_leads_elsewhere_gets_no_certificate_and_the_log_says_why";
    if !installed(test) {
        return;
    }
    let (folder, [listen, elsewhere]) = (Folder::new(), free());
    let pebble = Pebble::start(&folder, elsewhere, 3600).await;
    folder.write("node.toml", pebble.config(&["a.example.com"]));
    let node = node(folder, listen).await;
    let line = node.process().line("the failure", |line| {
        line.contains("certificate was not issued by ACME").then(|| line.to_owned())
    });
    let line = line.await;
    let port = elsewhere.port();
    assert!(line.contains(&format!("a.example.com: Failed to connect to 127.0.0.1:{port}")), "{line}");
    // Its own certificate is there until then, and nobody trusts it.
    let client = trusting(pebble.root().await, &["http/1.1"]);
    assert!(secured(&client, listen, "a.example.com").await.is_err());
    assert!(pebble.process.id() > 0);
}
