//! Facts about native code that another node has made.

use std::{fs, io};

use super::*;

/// A node that never ran, with the key of `other`.
fn with_key_of(other: &Node) -> Node {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(other.dir.path().join("artifact.key"), dir.path().join("artifact.key")).unwrap();
    Node { runtime: start(dir.path(), 64), dir }
}

/// The code that `from` has of `component`, as it comes to `to`.
async fn sent(from: &Node, to: &Node, component: Digest) -> NativeCode {
    let code = from.runtime.native_code(component).await.unwrap();
    let path = to.dir.path().join("code");
    fs::copy(&code.path, &path).unwrap();
    NativeCode { path, ..code }
}

/// Whether `node` has to compile `component` before it can call it.
async fn compiles(node: &Node, component: Digest) -> bool {
    let (config, secrets) = (FunctionConfig::default(), SecretSet::none());
    let prepared = node.runtime.prepare(component, &config, secrets, Arc::new(|_| {})).await.unwrap();
    !prepared.cached
}

#[tokio::test]
async fn code_of_a_node_with_the_same_key_is_taken_and_not_compiled_again() {
    let first = Node::start();
    let component = first.add(&prebuilt("hello-v1"));
    assert!(compiles(&first, component).await);
    let second = with_key_of(&first);
    let version = second.version("hello-v1", FunctionConfig::default());
    let code = sent(&first, &second, component).await;
    assert!(!second.runtime.is_at_hand(component));
    assert!(second.runtime.take_native_code(component, code).await.unwrap());
    assert!(second.runtime.is_at_hand(component));
    assert!(!compiles(&second, component).await);
    assert_eq!(ok(&version, "/").await, "hello from v1\n");
}

#[tokio::test]
async fn code_that_is_not_what_the_key_vouches_for_is_not_taken() {
    let first = Node::start();
    let component = first.add(&prebuilt("hello-v1"));
    assert!(compiles(&first, component).await);
    let refused = async |node: &Node, code: NativeCode| {
        node.add(&prebuilt("hello-v1"));
        let error = node.runtime.take_native_code(component, code).await.unwrap_err();
        assert_eq!(
            (error.kind(), &*error.to_string()),
            (io::ErrorKind::InvalidData, "it does not match its hash")
        );
        // It does not look as if the node could call it.
        assert!(!node.runtime.is_at_hand(component));
    };
    // A node of another cluster, whose key is another.
    let stranger = Node::start();
    refused(&stranger, sent(&first, &stranger, component).await).await;
    assert!(compiles(&stranger, component).await);

    let second = with_key_of(&first);
    let code = sent(&first, &second, component).await;
    let mut mac = code.mac;
    mac[0] ^= 1;
    refused(&second, NativeCode { mac, ..code.clone() }).await;
    let mut bytes = fs::read(&code.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&code.path, &bytes).unwrap();
    refused(&second, code.clone()).await;
    fs::write(&code.path, &bytes[..8]).unwrap();
    let error = second.runtime.take_native_code(component, code).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    assert!(compiles(&second, component).await);
}

#[tokio::test]
async fn code_for_another_engine_or_component_is_left_alone() {
    let first = Node::start();
    let component = first.add(&prebuilt("hello-v1"));
    assert!(compiles(&first, component).await);
    let second = with_key_of(&first);
    let other = second.add(&prebuilt("hello-v2"));
    let code = sent(&first, &second, component).await;
    assert!(!second.runtime.take_native_code(other, code.clone()).await.unwrap());
    // Of an engine with another configuration, or of other features of the processor.
    let (digest, rest) = code.name.split_once('-').unwrap();
    let (engine, kind) = rest.split_once('-').unwrap();
    let engine = u64::from_str_radix(engine, 16).unwrap() ^ 1;
    for name in [format!("{digest}-{engine:016x}-{kind}"), "../../state".to_owned()] {
        let code = NativeCode { name, ..code.clone() };
        assert!(!second.runtime.take_native_code(component, code).await.unwrap());
    }
    assert!(code.path.exists() && !second.runtime.is_at_hand(component));
    second.add(&prebuilt("hello-v1"));
    assert!(compiles(&second, component).await);
}
