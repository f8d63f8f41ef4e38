//! Tests of where a cluster is.

use super::*;

fn table(text: &str) -> Result<ClusterTable, BadValue> {
    toml::from_str::<RawCluster>(text).unwrap().resolve(Path::new("project"))
}

#[test]
fn flags_come_before_the_file_and_files_are_relative_to_it() {
    let file = table(
        "brokers = [\"nats://a:4222\"]\nname = \"prod\"\ncreds = \"wasm-fn.creds\"\nlease = \"3s\"\nlog_keep = 50",
    );
    let args = args::Membership { cluster: vec!["tls://b:4222".parse().unwrap()], ..Default::default() };
    let found = Membership::resolve(args, file.ok().unwrap(), Path::new("data")).unwrap().unwrap();
    let expected = Membership {
        brokers: vec!["tls://b:4222".parse().unwrap()],
        name: "prod".parse().unwrap(),
        creds: Some(PathBuf::from("project/wasm-fn.creds")),
        ca: None,
        certificate: None,
        key: PathBuf::from("data/cluster.key"),
        lease: Duration::from_secs(3),
        log_keep: 50,
    };
    assert_eq!(found, expected);
}

#[test]
fn without_a_broker_there_is_no_cluster_and_nothing_of_one() {
    let resolve = |args, node: Option<&str>| {
        let node = node.map(|node| node.parse().unwrap());
        ClusterPlace::resolve(args, node, ClusterTable::default(), Path::new("data"))
    };
    assert_eq!(resolve(args::Membership::default(), None), Ok(None));
    let named = args::Membership { cluster_name: Some("prod".parse().unwrap()), ..Default::default() };
    let expected = "--cluster-name is set without a cluster, expected --cluster too";
    assert_eq!(resolve(named, None).unwrap_err(), expected);
    let expected = "--node-name is set without a cluster, expected --cluster too";
    assert_eq!(resolve(args::Membership::default(), Some("a")).unwrap_err(), expected);
}

#[test]
fn values_out_of_bounds_are_named() {
    let lease = args::Membership {
        cluster: vec!["nats://a:4222".parse().unwrap()],
        cluster_lease: Some(Duration::from_millis(10)),
        ..Default::default()
    };
    let refused = Membership::resolve(lease, ClusterTable::default(), Path::new("data"));
    assert_eq!(refused.unwrap_err(), "the lease of the cluster is 10ms, expected 1s to 60s");
    let log_keep = args::Membership {
        cluster: vec!["nats://a:4222".parse().unwrap()],
        cluster_log_keep: Some(9),
        ..Default::default()
    };
    let refused = Membership::resolve(log_keep, ClusterTable::default(), Path::new("data"));
    let expected = "the log of the cluster is to keep 9 changes, expected 10 to 1000000";
    assert_eq!(refused.unwrap_err(), expected);
    assert!(table("brokers = []").is_err());
    assert!(table("brokers = [\"http://a\"]").is_err());
}

#[test]
fn node_is_called_like_its_machine() {
    assert_eq!(of_machine(b"Web-1.example.org").unwrap().as_str(), "web-1");
    assert!(of_machine(b"-").unwrap_err().ends_with("set --node-name"));
}
