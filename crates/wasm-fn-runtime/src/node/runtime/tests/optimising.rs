//! Facts about large components, which serve with code of one pass until their optimised code is there.

use super::*;

/// As `guest`, but as large as an interpreter.
fn large(guest: &str) -> Vec<u8> {
    let mut component = prebuilt(guest);
    let padding = wasm_encoder::CustomSection { name: "padding".into(), data: vec![0; 5 << 20].into() };
    component.push(0);
    wasm_encoder::Encode::encode(&padding, &mut component);
    component
}

/// Prepares `bytes` for a node on which nobody compares its latency.
async fn prepare_quick(node: &Node, bytes: &[u8]) -> PreparedComponent {
    let (digest, config) = (node.add(bytes), FunctionConfig::default());
    node.runtime.prepare_quick(digest, &config, SecretSet::none(), Arc::new(|_| {})).await.unwrap()
}

fn is_baseline(version: &Version) -> bool {
    version.code.get().as_ref().unwrap().prepared.is_baseline
}

/// Which request of its instance one is.
async fn counted(version: &Arc<Version>) -> u32 {
    ok(version, "/").await.trim().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_component_serves_until_its_optimised_code_does() {
    let node = Node::start();
    let bytes = large("counter");
    assert!(prepare_quick(&node, &bytes).await.is_baseline);
    let version =
        node.version_with("counter", &bytes, limits(|limits| limits.reuse = 1_000_000), SecretSet::none());
    assert!(is_baseline(&version), "optimised code comes later");
    // Each request is answered, and all but the first come to an instance that was used before.
    let mut answered = vec![counted(&version).await];
    while is_baseline(&version) {
        answered.push(counted(&version).await);
    }
    let last = answered.pop().unwrap();
    assert!((1..).zip(&answered).all(|(at, &answered)| at == answered), "one instance serves: {answered:?}");
    // An instance of slow code that came back just before serves once more and is not kept then.
    let then = [last, counted(&version).await, counted(&version).await];
    assert!(then.contains(&1), "instances of slow code serve no longer: {then:?}");
    let again = node.prepare(&bytes, &FunctionConfig::default()).await.unwrap();
    assert!(again.cached && !again.is_baseline);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_needs_optimised_code_waits_for_it() {
    let node = Node::start();
    let bytes = large("hello-v1");
    assert!(prepare_quick(&node, &bytes).await.is_baseline);
    let prepared = node.prepare(&bytes, &FunctionConfig::default()).await.unwrap();
    assert!(!prepared.is_baseline);
    let version = node.version_with("hello", &bytes, FunctionConfig::default(), SecretSet::none());
    assert!(!is_baseline(&version));
    assert!(!prepare_quick(&node, &bytes).await.is_baseline, "it is there already");
}

#[tokio::test(flavor = "multi_thread")]
async fn small_and_asynchronous_components_are_compiled_once() {
    let node = Node::start();
    assert!(!prepare_quick(&node, &prebuilt("hello-v1")).await.is_baseline);
    assert!(!prepare_quick(&node, &large("hello-p3")).await.is_baseline);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_are_found_again_in_another_component() {
    let node = Node::start();
    let found = || node.runtime.node.codes.functions_found();
    node.prepare(&large("hello-v1"), &FunctionConfig::default()).await.unwrap();
    assert_eq!(found(), 0);
    // It differs in a few functions, and in what it begins with.
    node.prepare(&large("hello-v2"), &FunctionConfig::default()).await.unwrap();
    assert!(found() > 100, "{} functions were found again", found());
}
