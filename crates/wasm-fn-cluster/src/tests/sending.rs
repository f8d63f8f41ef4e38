//! Messages between nodes, and components.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use wasm_fn_core::{Digest, Revision};

use super::{PATIENCE, Server, make, options, plain};
use crate::{Cluster, ComponentError, InitOptions, init};

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_heard_by_all_others() {
    let Some(mut server) = Server::start("messages_are_heard_by_all_others") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let nodes: Vec<_> = ["a", "b", "c"].map(|node| Cluster::start(options(&brokers, node)).unwrap()).into();
    // Each hears of the others once all of them listen.
    let all_know = async |nodes: &[Cluster], least: u64| {
        for (number, node) in nodes.iter().enumerate() {
            node.messages().present(Revision(least + number as u64), format!("text {number}"));
        }
        let known = async {
            while nodes.iter().any(|node| {
                let members = node.messages().members();
                members.len() != nodes.len() - 1 || members.iter().any(|m| m.revision.0 < least)
            }) {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, known).await.unwrap();
    };
    all_know(&nodes, 100).await;
    let members = nodes[0].messages().members();
    let mut told: Vec<_> = members.iter().map(|m| (m.name.as_str(), m.revision.0, &*m.text)).collect();
    told.sort_unstable();
    assert_eq!(told, [("b", 101, "text 1"), ("c", 102, "text 2")]);
    assert!(members.iter().all(|member| member.program == "1.2.3"));

    let exchange = async |nodes: &[Cluster], word: &'static str| {
        nodes[0].messages().tell(Bytes::from_static(word.as_bytes()));
        for node in &nodes[1..] {
            let heard = timeout(PATIENCE, node.messages().hear()).await.unwrap();
            assert_eq!((heard.from.as_str(), &heard.body[..]), ("a", word.as_bytes()));
        }
        // Its own message is not among what the first one hears.
        nodes[1].messages().tell(Bytes::from_static(b"back"));
        let heard = timeout(PATIENCE, nodes[0].messages().hear()).await.unwrap();
        assert_eq!((heard.from.as_str(), &heard.body[..]), ("b", &b"back"[..]));
        assert_eq!(&timeout(PATIENCE, nodes[2].messages().hear()).await.unwrap().body[..], b"back");
    };
    exchange(&nodes, "hello").await;
    server.restart();
    all_know(&nodes, 200).await;
    exchange(&nodes, "again").await;

    nodes[2].leave().await;
    let gone = async {
        while nodes[0].messages().members().len() != 1 {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, gone).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_up_loses_the_oldest() {
    let Some(server) = Server::start("who_does_not_keep_up_loses_the_oldest") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let [a, b] = ["a", "b"].map(|node| Cluster::start(options(&brokers, node)).unwrap());
    let [_, _] = [a.joined().await.unwrap(), b.joined().await.unwrap()];
    const SENT: u32 = 10_000;
    let told = async {
        let mut number = 0;
        while b.messages().lost() == 0 {
            a.messages().tell(Bytes::from(format!("{number:08}")));
            number = (number + 1) % SENT;
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, told).await.unwrap();
    let first = b.messages().hear().await.body;
    assert_ne!(&first[..], b"00000000");
    // A message over the bound is not sent.
    a.messages().tell(Bytes::from(vec![0; crate::MESSAGE_BYTES_MAX + 1]));
    let last = async {
        loop {
            // What does not fit on the way is lost, too.
            a.messages().tell(Bytes::from_static(b"last"));
            let body = b.messages().hear().await.body;
            assert!(body.len() <= crate::MESSAGE_BYTES_MAX);
            if &body[..] == b"last" {
                return;
            }
        }
    };
    timeout(PATIENCE, last).await.unwrap();
}

/// A file with some bytes, and its digest.
fn file(folder: &std::path::Path, bytes: usize) -> (std::path::PathBuf, Digest) {
    let content: Vec<u8> = (0..bytes).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect();
    let path = folder.join(format!("{bytes}"));
    std::fs::write(&path, &content).unwrap();
    (path, Digest(Sha256::digest(&content).into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn components_are_kept_by_their_digest() {
    let Some(server) = Server::start("components_are_kept_by_their_digest") else { return };
    let brokers = [server.url()];
    let wanted = InitOptions { components_bytes_max: Some(8 << 20), ..plain(1) };
    init(&options(&brokers, "maker"), &wanted).await.unwrap();
    let [a, b] = ["a", "b"].map(|node| Cluster::start(options(&brokers, node)).unwrap());
    let (a, b) = (a.components(), b.components());
    let folder = tempfile::tempdir().unwrap();
    let got = folder.path().join("got");
    for bytes in [0, 1, 1_000_000, 3_000_001] {
        let (path, digest) = file(folder.path(), bytes);
        assert!(!a.contains(digest).await.unwrap());
        let missing = b.get(digest, &got).await.unwrap_err();
        assert!(matches!(missing, ComponentError::Missing { .. }) && !got.exists(), "{missing}");
        let (first, second) = tokio::join!(a.put(digest, &path), b.put(digest, &path));
        first.unwrap();
        second.unwrap();
        b.get(digest, &got).await.unwrap();
        assert!(std::fs::read(&got).unwrap() == std::fs::read(&path).unwrap(), "{bytes} bytes");
        assert!(b.contains(digest).await.unwrap());
    }
    // However many say at the same time that it is there, none of them fails.
    let (path, digest) = file(folder.path(), 1);
    let puts = [&a, &b].into_iter().cycle().take(40).map(|components| components.put(digest, &path));
    for put in futures_util::future::join_all(puts).await {
        put.unwrap();
    }
    // What has other bytes than its digest is not put.
    let (path, digest) = file(folder.path(), 5);
    let other = Digest([7; 32]);
    let error = a.put(other, &path).await.unwrap_err();
    assert_eq!(error.to_string(), format!("component has the digest {digest}, expected {other}"));
    assert!(!a.contains(other).await.unwrap());
    // One that does not fit leaves nothing, and there is room for others.
    let (large, of_large) = file(folder.path(), 6_000_000);
    let error = a.put(of_large, &large).await.unwrap_err();
    let text = "cluster has no room for the component of 6000000 bytes: ";
    assert!(error.to_string().starts_with(text), "{error}");
    assert!(!a.contains(of_large).await.unwrap());
    let (_, of_third) = file(folder.path(), 3_000_001);
    b.delete(of_third).await.unwrap();
    b.delete(of_third).await.unwrap();
    assert!(!a.contains(of_third).await.unwrap());
    a.put(of_large, &large).await.unwrap();
    b.get(of_large, &got).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_with_other_bytes_is_not_taken() {
    let Some(server) = Server::start("a_component_with_other_bytes_is_not_taken") else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let a = Cluster::start(options(&brokers, "a")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (path, digest) = file(folder.path(), 300);
    a.components().put(digest, &path).await.unwrap();
    // Somebody puts other chunks in the place of these.
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut stream = jetstream.get_stream("OBJ_wasm-fn-test-components").await.unwrap();
    let subject = stream.get_raw_message(1).await.unwrap().subject;
    stream.purge().filter(subject.to_string()).await.unwrap();
    jetstream.publish(subject, vec![1; 300].into()).await.unwrap().await.unwrap();
    stream.info().await.unwrap();
    let got = folder.path().join("got");
    let error = a.components().get(digest, &got).await.unwrap_err();
    assert!(matches!(error, ComponentError::Digest { expected, .. } if expected == digest), "{error}");
    assert!(!got.exists());
}
