//! What nobody needs is deleted from the bucket, and nothing that somebody is about to need.

use std::{collections::HashSet, path::Path, time::Duration};

use sha2::{Digest as _, Sha256};
use wasm_fn_core::Digest;

use super::{Server, make, options};
use crate::{Cluster, Collected, Collection};

const NONE: Collected = Collected { components: 0, remains: 0 };

fn put_file(folder: &Path, byte: u8) -> (std::path::PathBuf, Digest) {
    let path = folder.join(byte.to_string());
    std::fs::write(&path, vec![byte; 300_000]).unwrap();
    (path, Digest(Sha256::digest(vec![byte; 300_000]).into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn components_that_nobody_needs_are_deleted_after_a_grace() {
    let Some(server) = Server::start("components_that_nobody_needs_are_deleted_after_a_grace") else {
        return;
    };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let cluster = Cluster::start(options(&brokers, "a")).unwrap();
    let components = cluster.components();
    let folder = tempfile::tempdir().unwrap();
    let [(first, used), (second, unused), (third, wanted)] =
        [1, 2, 3].map(|byte| put_file(folder.path(), byte));
    for (path, digest) in [(&first, used), (&second, unused), (&third, wanted)] {
        components.put(digest, path).await.unwrap();
    }
    let mut collection = Collection::default();
    let needed = HashSet::from([used]);
    let mut pass = async |grace| cluster.collect(&mut collection, needed.clone(), grace).await.unwrap();
    assert_eq!(pass(Duration::from_secs(3600)).await, NONE, "they were just seen for the first time");
    // A deployment has begun that finds the component there.
    components.put(wanted, &third).await.unwrap();
    assert_eq!(pass(Duration::ZERO).await, Collected { components: 1, remains: 0 });
    for (digest, is_there) in [(used, true), (unused, false), (wanted, true)] {
        assert_eq!(components.contains(digest).await.unwrap(), is_there);
    }
    // What says that it is gone goes, too, and then it can be put again.
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let mut stream = jetstream.get_stream("OBJ_wasm-fn-test-components").await.unwrap();
    let mut messages = async || stream.info().await.unwrap().state.messages;
    assert_eq!(messages().await, 7, "two objects of two chunks, and what is said of three");
    assert_eq!(
        pass(Duration::ZERO).await,
        Collected { components: 1, remains: 0 },
        "nobody used it after all"
    );
    assert_eq!(pass(Duration::ZERO).await, NONE);
    assert_eq!(pass(Duration::ZERO).await, NONE);
    assert_eq!(messages().await, 3, "an object of two chunks");
    components.put(unused, &second).await.unwrap();
    components.get(unused, &folder.path().join("got")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn remains_of_an_upload_are_deleted_and_those_of_objects_are_not() {
    let test = "remains_of_an_upload_are_deleted_and_those_of_objects_are_not";
    let Some(server) = Server::start(test) else { return };
    let brokers = [server.url()];
    make(&brokers, 1).await;
    let cluster = Cluster::start(options(&brokers, "a")).unwrap();
    let components = cluster.components();
    let folder = tempfile::tempdir().unwrap();
    let (path, used) = put_file(folder.path(), 1);
    components.put(used, &path).await.unwrap();
    let jetstream = async_nats::jetstream::new(async_nats::connect(server.url()).await.unwrap());
    let left = jetstream.publish("$O.wasm-fn-test-components.C.left", vec![1; 300].into()).await.unwrap();
    left.await.unwrap();
    let mut collection = Collection::default();
    let needed = HashSet::from([used]);
    let hour = Duration::from_secs(3600);
    assert_eq!(cluster.collect(&mut collection, needed.clone(), hour).await.unwrap(), NONE);
    let collected = cluster.collect(&mut collection, needed.clone(), Duration::ZERO).await.unwrap();
    assert_eq!(collected, Collected { components: 0, remains: 1 });
    assert_eq!(cluster.collect(&mut collection, needed, Duration::ZERO).await.unwrap(), NONE);
    components.get(used, &folder.path().join("got")).await.unwrap();
}
