//! Facts about a node whose guests want more than it has.

use wasm_fn_thread::thread_number;

use super::*;

/// A node whose guests have `memory_max_bytes` together.
fn node(instances_max: u32, memory_max_bytes: u64) -> Node {
    let dir = tempfile::tempdir().unwrap();
    Node { runtime: start_with_memory(dir.path(), instances_max, memory_max_bytes), dir }
}

#[tokio::test]
async fn a_guest_that_finds_no_memory_on_the_node_is_shed_and_others_go_on() {
    let node = node(8, 48 << 20);
    let hello = node.version("hello-v1", FunctionConfig::default());
    let hog = node.version("hog", limits(|limits| limits.memory_bytes = 1 << 30));
    ok(&hello, "/").await;
    // A gigabyte is within its own limit, and more than the node has.
    let refused = get(&hog, "/?mb=500").await;
    assert!(matches!(refused, Err(Fault::NodeOverloaded { .. })), "{refused:?}");
    ok(&hello, "/").await;
    assert_eq!(call(&hog, "/?mb=8", b"").await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn a_quick_guest_that_does_not_start_is_refused_and_counted_once_for_each_request() {
    let node = node(8, 4 << 30);
    // Less than the memory that its module begins with.
    let version = node.version("hello-v1", limits(|limits| limits.memory_bytes = 64 << 10));
    version.load().await.unwrap();
    version.pool.record_starts(1, Duration::from_micros(1));
    drop(version.pool.resize(node.runtime.node.now(), 0));
    for requests in 1..=3 {
        assert!(version.pool.start_quick().is_some());
        let refused = get(&version, "/").await;
        assert!(matches!(refused, Err(Fault::OutOfMemory { .. })), "{refused:?}");
        assert_eq!(
            (version.cold_starts(), version.concurrency.running(), version.pool.live()),
            (requests, 0, 0)
        );
    }
}

#[tokio::test]
async fn memory_of_instances_that_ended_is_there_for_the_next() {
    let node = node(4, 48 << 20);
    let hog = node.version("hog", FunctionConfig::default());
    for _ in 0..8 {
        assert_eq!(call(&hog, "/?mb=20", b"").await.unwrap().status(), StatusCode::OK);
    }
    let ended = async {
        // Instances that wait ready have not taken anything yet.
        while node.runtime.node.memory.used_bytes() > 20 << 20 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("what they took is given back");
}

#[tokio::test]
async fn a_function_that_hangs_leaves_places_to_others() {
    let node = node(32, 4 << 30);
    let minute = Duration::from_secs(60);
    let hanging = node.version("slow", limits(|limits| limits.timeout = minute));
    let quiet = node.version("hello-v1", FunctionConfig::default());
    hanging.load().await.unwrap();
    quiet.load().await.unwrap();
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let hanging = hanging.clone();
        held.spawn(async move { call(&hanging, "/?ms=50000", b"").await.map(drop) });
    }
    let full = async {
        while hanging.concurrency.waiting() < 40 - 21 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(minute, full).await.expect("all of them run or wait");
    // 24 may run; seven eighths are one function's.
    assert_eq!((hanging.concurrency.running(), node.runtime.node.concurrency.running()), (21, 21));
    for _ in 0..20 {
        ok(&quiet, "/").await;
    }
}

#[tokio::test]
async fn two_functions_that_hang_leave_places_to_a_third() {
    let node = node(32, 4 << 30);
    let minute = Duration::from_secs(60);
    let versions: Vec<_> =
        (0..2).map(|_| node.version("slow", limits(|limits| limits.timeout = minute))).collect();
    let quiet = node.version("hello-v1", FunctionConfig::default());
    quiet.load().await.unwrap();
    let mut held = tokio::task::JoinSet::new();
    for hanging in &versions {
        hanging.load().await.unwrap();
        for _ in 0..40 {
            let hanging = hanging.clone();
            held.spawn(async move { call(&hanging, "/?ms=50000", b"").await.map(drop) });
        }
        let settled = async {
            while node.runtime.node.concurrency.running() < 21 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(minute, settled).await.expect("the first has its share");
    }
    // What the second is refused beyond its share is refused at once.
    let refused = async { held.join_next().await.expect("some are refused").unwrap() };
    let refused = tokio::time::timeout(minute, refused).await.expect("nobody waits for what it cannot get");
    assert!(matches!(refused.unwrap_err().fault, Fault::FunctionOverloaded { .. }));
    for _ in 0..20 {
        ok(&quiet, "/").await;
    }
}

/// Places of instances that serve or have served, of `version` alone: one that waits ready may have been made
/// where starts are slow.
fn held(node: &Node, version: &Version) -> usize {
    node.runtime.node.slots.used() - version.ready()
}

/// Lets the thread do what it has put off.
async fn until_taken_down(node: &Node, version: &Version) {
    let taken_down = async {
        while held(node, version) > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), taken_down).await.expect("all of them are taken down");
}

#[tokio::test]
async fn instances_that_served_hold_an_eighth_of_the_places_at_most_and_not_for_long() {
    let node = node(16, 4 << 30);
    let hello = node.version("hello-v1", FunctionConfig::default());
    hello.load().await.unwrap();
    let mut places = Vec::new();
    // Nothing is waited for, so nothing else runs.
    for _ in 0..4 {
        ok(&hello, "/").await;
        places.push(held(&node, &hello));
    }
    assert_eq!(places, [1, 2, 2, 2]);
    until_taken_down(&node, &hello).await;
    ok(&hello, "/").await;
    assert_eq!(held(&node, &hello), 1);
}

#[tokio::test]
async fn instances_that_served_are_taken_down_at_once_where_memory_is_short() {
    let node = node(64, 48 << 20);
    let hog = node.version("hog", FunctionConfig::default());
    hog.load().await.unwrap();
    let mut used = Vec::new();
    for megabytes in [8, 28] {
        assert_eq!(get(&hog, &format!("/?mb={megabytes}")).await.unwrap().0, StatusCode::OK);
        used.push(held(&node, &hog));
        until_taken_down(&node, &hog).await;
    }
    assert_eq!(used, [1, 0]);
}

#[tokio::test]
async fn under_load_instances_that_served_are_followed_by_new_ones() {
    let node = Node::start();
    let counter = node.version("counter", FunctionConfig::default());
    counter.load().await.unwrap();
    // The pool has seen quick starts and many requests, later than the node's clock will be.
    let hour = Duration::from_secs(3600);
    (0..1000).for_each(|_| counter.pool.record_starts(1, Duration::from_micros(1)));
    assert!(counter.pool.resize(hour, 0).is_empty());
    (0..100_000).for_each(|_| drop(counter.pool.checkout(thread_number())));
    assert!(counter.pool.resize(hour + Duration::from_secs(1), 0).is_empty());
    let followed = async {
        for warm in 0..3 {
            assert_eq!(ok(&counter, "/").await.trim(), "1");
            assert_eq!(counter.warm_starts(), warm);
            while counter.ready() == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), followed).await.expect("one follows each");
}
