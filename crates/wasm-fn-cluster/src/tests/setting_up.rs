//! Clusters that are made, made twice, and refused by what is wrong with them.

use std::{io::Write as _, net::TcpListener, sync::Arc};

use async_nats::jetstream::{self, stream};
use sha2::{Digest as _, Sha256};
use wasm_fn_core::{Digest, Revision};
use wasm_fn_queue::BrokerCredentials;
use wasm_fn_store::{EmbeddedStore, Record, Store as _};

use super::{Node, Server, Words, make, options, plain, with_credentials};
use crate::{
    BaseSource, Cluster, ClusterError, ClusterOptions, InitOptions, Made, Monitors, SyncSetting, init, syncs,
};

async fn refusal(options: &ClusterOptions, wanted: &InitOptions) -> String {
    init(options, wanted).await.map(|report| report.record).unwrap_err().to_string()
}

/// Why a node with these options does not join.
async fn outside(options: ClusterOptions) -> String {
    let cluster = Cluster::start(options).unwrap();
    let joined = tokio::time::timeout(super::PATIENCE, cluster.joined()).await.unwrap();
    joined.map(|_| ()).unwrap_err().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_is_there_is_not_made_again() {
    let Some(server) = Server::start("a_cluster_that_is_there_is_not_made_again") else { return };
    let options = options(&[server.url()], "a");
    let first = init(&options, &plain(1)).await.unwrap();
    let second = init(&options, &plain(1)).await.unwrap();
    assert_eq!((first.made, second.made), (Made::New, Made::There));
    assert_eq!(first.record, second.record);
    assert!(first.syncs.is_empty(), "nobody was asked");
    // As an earlier program left it.
    let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    jetstream.delete_stream("WASM_FN-TEST-BUCKETS").await.unwrap();
    let text = "broker has no stream WASM_FN-TEST-BUCKETS, which is a part of the cluster: `wasm-fn cluster init` \
                makes it if an earlier release made the cluster";
    assert_eq!(outside(options.clone()).await, text);
    assert_eq!(init(&options, &plain(1)).await.unwrap().made, Made::There);
    Cluster::start(options.clone()).unwrap().joined().await.unwrap();
    let text = refusal(&options, &plain(3)).await;
    assert_eq!(text, "cluster test is there with replicas 1, expected 3");
    assert_eq!(refusal(&options, &plain(2)).await, "number of replicas is 2, expected 1, 3 or 5");
    let other = ClusterOptions { cluster: "other".parse().unwrap(), ..options };
    let text = refusal(&other, &plain(3)).await;
    assert!(text.starts_with("broker refused the stream WASM_FN_OTHER: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_stream_is_named() {
    let Some(server) = Server::start("what_is_wrong_with_a_stream_is_named") else { return };
    let options = options(&[server.url()], "a");
    let missing = "broker has no cluster test, expected it to be there: `wasm-fn cluster init` makes it";
    assert_eq!(outside(options.clone()).await, missing);

    let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let config = stream::Config {
        name: "WASM_FN_TEST".to_owned(),
        subjects: vec!["wasm-fn.test.log".to_owned()],
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await.unwrap();
    let text = "setting allow_direct of the stream WASM_FN_TEST is true, expected false";
    let found = refusal(&options, &plain(1)).await;
    assert!(found == text || found.starts_with("setting "), "{found}");
    jetstream.delete_stream("WASM_FN_TEST").await.unwrap();

    init(&options, &plain(1)).await.unwrap();
    let mut config: serde_json::Value =
        jetstream.request("STREAM.INFO.WASM_FN_TEST", &serde_json::json!({})).await.unwrap();
    config["config"]["max_age"] = 3_600_000_000_000_u64.into();
    let changed: serde_json::Value =
        jetstream.request("STREAM.UPDATE.WASM_FN_TEST", &config["config"]).await.unwrap();
    assert!(changed.get("error").is_none(), "{changed}");
    let text = "setting max_age of the stream WASM_FN_TEST is 3600000000000, expected 0";
    assert_eq!(outside(options.clone()).await, text);
    jetstream.delete_stream("WASM_FN_TEST").await.unwrap();
    let text = "broker has no stream WASM_FN_TEST, which is a part of the cluster";
    assert_eq!(outside(options).await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stream_with_another_setting_is_named() {
    let Some(server) = Server::start("every_stream_with_another_setting_is_named") else { return };
    make(&[server.url()], 1).await;
    let jetstream = jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let update = async |stream: &str, setting: &str, value: serde_json::Value| {
        let info = format!("STREAM.INFO.{stream}");
        let mut info: serde_json::Value = jetstream.request(info, &serde_json::json!({})).await.unwrap();
        let before = info["config"][setting].take();
        info["config"][setting] = value;
        let update = format!("STREAM.UPDATE.{stream}");
        let updated: serde_json::Value = jetstream.request(update, &info["config"]).await.unwrap();
        assert!(updated.get("error").is_none(), "{updated}");
        before
    };
    // What would lose messages, serve old ones, or hide who wrote last.
    for (stream, setting, value, expected) in [
        ("WASM_FN_TEST", "discard", "old".into(), "\"new\""),
        ("OBJ_wasm-fn-test-components", "max_age", 3_600_000_000_000_u64.into(), "0"),
        ("WASM_FN-TEST-BUCKETS", "max_msgs_per_subject", 2.into(), "1"),
        ("WASM_FN-TEST-EVENTS", "allow_direct", true.into(), "false"),
        ("WASM_FN-TEST-COORDINATION", "max_msgs", 7.into(), "-1"),
    ] {
        let found: serde_json::Value = value;
        let before = update(stream, setting, found.clone()).await;
        let text = format!("setting {setting} of the stream {stream} is {found}, expected {expected}");
        assert_eq!(outside(options(&[server.url()], "a")).await, text);
        update(stream, setting, before).await;
    }
    Cluster::start(options(&[server.url()], "a")).unwrap().joined().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_cluster_and_another_format_are_refused() {
    let test = "another_cluster_and_another_format_are_refused";
    let Some(server) = Server::start(test) else { return };
    let report = make(&[server.url()], 1).await;
    let options = options(&[server.url()], "a");
    let known = ClusterOptions { cluster_id: Some(report.record.id.clone()), ..options.clone() };
    let cluster = Cluster::start(known).unwrap();
    assert_eq!(cluster.joined().await.unwrap(), report.record);
    let other = ClusterOptions { cluster_id: Some("0".repeat(32)), ..options.clone() };
    let text = format!(
        "broker's cluster test has the id {}, expected {}: it is another cluster",
        report.record.id,
        "0".repeat(32)
    );
    assert_eq!(outside(other).await, text);
    let client = async_nats::connect(server.url()).await.unwrap();
    client.request("wasm-fn.test.cluster", r#"{"format":2}"#.into()).await.unwrap();
    let text = "cluster has format 2, expected 1, the one that this program knows";
    assert_eq!(outside(options.clone()).await, text);
    assert_eq!(refusal(&options, &plain(1)).await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_cannot_keep_a_cluster_are_named() {
    let Some(server) = Server::configured("brokers_that_cannot_keep_a_cluster_are_named", "") else { return };
    let bare = options(&[server.url()], "a");
    let text = "broker has no JetStream for this account, expected it to be enabled";
    assert_eq!(refusal(&bare, &plain(1)).await, text);
    assert_eq!(outside(bare).await, text);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let info =
                r#"{"server_id":"X","version":"2.10.29","max_payload":1048576,"proto":1,"headers":true}"#;
            write!(socket, "INFO {info}\r\nPONG\r\n").unwrap();
            // It is closed with the process.
            std::mem::forget(socket);
        }
    });
    let old = options(&[format!("nats://{address}")], "a");
    let text = "broker is nats-server 2.10.29, expected at least 2.12";
    assert_eq!(refusal(&old, &plain(1)).await, text);
    assert_eq!(outside(old).await, text);

    let config = format!("{}\nauthorization {{ user: ana, password: geheim }}", super::broker::SAFE);
    let locked = Server::configured("brokers_that_cannot_keep_a_cluster_are_named", &config).unwrap();
    let options = options(&[locked.url()], "a");
    let text = "broker refused the credentials, expected those of a user that it knows";
    assert_eq!(refusal(&options, &plain(1)).await, text);
    assert_eq!(outside(with_credentials(options.clone(), "ana:falsch")).await, text);
    let known = with_credentials(options, "ana:geheim");
    assert_eq!(init(&known, &plain(1)).await.unwrap().made, Made::New);
    Cluster::start(known).unwrap().joined().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_syncs_rarely_is_refused_if_it_says_so() {
    let test = "a_broker_that_syncs_rarely_is_refused_if_it_says_so";
    let accounts = "accounts { A { jetstream: enabled, users: [{user: a, password: a}] }, \
                    S { users: [{user: s, password: s}] } }\nsystem_account: S\nserver_name: one";
    let monitor = |options: &ClusterOptions, ports: Vec<String>| {
        let system = BrokerCredentials::parse("s:s").unwrap();
        let monitors = Monitors { ports, system: Some(Arc::new(move || Ok(Some(system.clone())))) };
        (with_credentials(options.clone(), "a:a"), InitOptions { monitors, ..plain(1) })
    };
    let rare = format!("jetstream {{ store_dir: STORE }}\n{accounts}");
    let Some(server) = Server::configured(test, &rare) else { return };
    let (known, wanted) = monitor(&options(&[server.url()], "a"), vec![]);
    let text = "setting jetstream.sync_interval of the broker one is 2m, expected always: it can lose changes \
                that it acknowledged";
    assert_eq!(refusal(&known, &wanted).await, text);

    let safe = format!("{}\n{accounts}\nhttp: \"127.0.0.1:-1\"", super::broker::SAFE);
    let server = Server::configured(test, &safe).unwrap();
    let (known, wanted) = monitor(&options(&[server.url()], "a"), vec![server.monitor()]);
    let report = init(&known, &wanted).await.unwrap();
    let syncs: Vec<_> = report.syncs.iter().map(|syncs| (&*syncs.server, syncs.setting)).collect();
    assert_eq!(syncs, [("one", SyncSetting::Always); 2]);
    let (known, wanted) = monitor(&known, vec!["127.0.0.1:1".to_owned()]);
    let text = refusal(&known, &wanted).await;
    assert!(text.starts_with("broker refused the settings at the monitoring port 127.0.0.1:1: "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_the_broker_that_was_not_asked_is_named() {
    let Some(servers) = Server::three("a_server_of_the_broker_that_was_not_asked_is_named") else { return };
    let known = options(&servers.iter().map(Server::url).collect::<Vec<_>>(), "a");
    let said = async |servers: &[Server]| {
        let ports = servers.iter().map(Server::monitor).collect();
        let asked = syncs(&known, &Monitors { ports, system: None }).await.unwrap();
        asked.refusal().map(|error| error.to_string())
    };
    let text = "it is not known whether the broker writes each change to its disk before it acknowledges it";
    assert_eq!(said(&[]).await.as_deref(), Some(text));
    // They know of each other once they have met.
    make(&known.brokers.iter().map(|broker| broker.as_str().to_owned()).collect::<Vec<_>>(), 3).await;
    let text =
        "1 of the broker's 3 servers said how often it writes to its disk, expected all: n1, n2 did not";
    assert_eq!(said(&servers[..1]).await.as_deref(), Some(text));
    let text = "2 of the broker's 3 servers said how often it writes to its disk, expected all: n0 did not";
    assert_eq!(said(&servers[1..]).await.as_deref(), Some(text));
    assert_eq!(said(&servers).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_goes_on_from_a_state() {
    let Some(server) = Server::start("a_cluster_goes_on_from_a_state") else { return };
    let folder = tempfile::tempdir().unwrap();
    // A node without a cluster.
    let single = EmbeddedStore::open(folder.path()).unwrap();
    let mut last: Option<Record> = None;
    for revision in 1..=5 {
        let text = format!("{}{revision}", super::begin(last.as_ref()));
        let commit = wasm_fn_store::Commit {
            revision: Revision(revision),
            subject: wasm_fn_store::Subject::Access,
            document: Some(format!("document {revision}")),
            record: text.clone(),
            forgets_traps: false,
        };
        single.commit(commit).await.unwrap();
        last = Some(Record { revision: Revision(revision), text });
    }
    single.release().await;
    let path = folder.path().join(EmbeddedStore::FILE);
    let digest = Digest(Sha256::digest(std::fs::read(&path).unwrap()).into());
    let base = BaseSource { record: last.unwrap(), path, digest };
    let wanted = InitOptions { base: Some(base), ..plain(1) };
    let options = |node| options(&[server.url()], node);
    assert_eq!(init(&options("a"), &wanted).await.unwrap().record.base_revision(), Revision(5));
    assert_eq!(init(&options("a"), &wanted).await.unwrap().made, Made::There);
    let text = "cluster test is there with first revision 5, expected 0";
    assert_eq!(refusal(&options("a"), &plain(1)).await, text);

    // It goes on with its own state, and another node gets that.
    let a = Node::start_on(options("a"), folder).await;
    a.in_touch(true).await;
    assert_eq!(a.commit("6").await.unwrap(), Revision(6));
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(options("b")).unwrap();
    for _ in 0..2 {
        cluster.restore(folder.path(), &Words).await.unwrap();
        let found = EmbeddedStore::open(folder.path()).unwrap().load().await.unwrap();
        assert_eq!(found.revision, Revision(5));
    }
    drop(cluster);
    let b = Node::start_on(options("b"), folder).await;
    b.reach(Revision(6)).await;
    b.in_touch(true).await;
    assert_eq!(b.commit("7").await.unwrap(), Revision(7));
    assert_eq!(b.words().await, ["1", "2", "3", "4", "5", "6", "7"]);

    // One without that state cannot go on, and says so.
    let c = Node::start(options("c")).await;
    let error = c.store.follow(Revision(0)).await.unwrap_err();
    let text = "the cluster's log differs from this node's state at revision 1: log begins with revision 6, \
                expected 1";
    assert_eq!(error.to_string(), text);
}

#[test]
fn options_without_sense_are_refused() {
    let options = options(&["nats://127.0.0.1:9".to_owned()], "a");
    let text = |options| Cluster::start(options).map(|_| ()).unwrap_err().to_string();
    let brief = ClusterOptions { lease: std::time::Duration::from_millis(999), ..options.clone() };
    assert_eq!(text(brief), "lease is 999ms, expected from 1s to 60s");
    assert_eq!(
        text(ClusterOptions { brokers: vec![], ..options }),
        "number of brokers is 0, expected at least 1"
    );
    let error = ClusterError::Missing { cluster: "test".parse().unwrap() };
    assert!(error.is_lasting());
}

#[tokio::test(flavor = "multi_thread")]
async fn node_with_another_key_than_the_cluster_is_refused() {
    let Some(server) = Server::start("node_with_another_key_than_the_cluster_is_refused") else { return };
    let key = |digit: &str| Some(digit.repeat(64));
    let options = options(&[server.url()], "a");
    let keyed = InitOptions { key: key("a"), ..plain(1) };
    assert_eq!(init(&options, &keyed).await.unwrap().record.key, key("a"));
    for known in [key("a"), None] {
        let cluster = Cluster::start(ClusterOptions { key: known, ..options.clone() }).unwrap();
        assert_eq!(cluster.joined().await.unwrap().key, key("a"));
        cluster.leave().await;
    }
    let text = "key of the cluster test has the fingerprint bbbbbbbbbbbbbbbb…, expected aaaaaaaaaaaaaaaa…: it is \
                the key of another cluster (cluster-key-mismatch)";
    let other = ClusterOptions { key: key("b"), ..options };
    assert_eq!(outside(other.clone()).await, text);
    assert_eq!(refusal(&other, &keyed).await, text);
}
