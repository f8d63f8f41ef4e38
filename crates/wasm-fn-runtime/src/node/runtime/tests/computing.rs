//! Facts about guests that compute: their limit, their turns, and others beside them.

use futures_util::future::join_all;
use rustix::time::{ClockId, clock_gettime};

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// Later than a limit that is due is noticed, on a machine that is busy with something else.
const LATENESS_MAX: Duration = Duration::from_secs(2);

/// CPU time of this thread, which in these tests runs everything.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// Turns that are taken, and guests that wait for one.
fn turns(node: &Node) -> (u32, u32) {
    let queue = &node.runtime.node.ticker.run_queue;
    (queue.taken(), queue.waiting())
}

/// A version of `spin` under these limits, with its code loaded.
async fn spin(node: &Node, timeout: Duration, cpu: Option<Duration>) -> Arc<Version> {
    let version = node.version("spin", limits(|limits| (limits.timeout, limits.cpu) = (timeout, cpu)));
    version.load().await.unwrap();
    version
}

#[tokio::test]
async fn endless_loop_ends_when_its_cpu_time_is_used_up() {
    let node = Node::start();
    let limit = Duration::from_millis(100);
    let version = spin(&node, MINUTE, Some(limit)).await;
    let before = cpu_time();
    assert_eq!(get(&version, "/loop").await, Err(Fault::CpuExceeded { limit }));
    let used = cpu_time() - before;
    assert!(used >= limit && used < limit * 2, "{used:?}");
    let log = node.log("spin");
    assert!(log.iter().any(|(_, text)| text.contains("more than its 100ms of CPU time")), "{log:?}");
}

#[tokio::test]
async fn each_of_several_loops_has_its_own_cpu_time() {
    let node = Node::start();
    let limit = Duration::from_millis(50);
    let version = spin(&node, MINUTE, Some(limit)).await;
    let before = cpu_time();
    for end in join_all((0..4).map(|_| get(&version, "/loop"))).await {
        assert_eq!(end, Err(Fault::CpuExceeded { limit }));
    }
    let used = cpu_time() - before;
    assert!(used >= limit * 4 && used < limit * 8, "{used:?}");
    assert_eq!(turns(&node), (0, 0));
}

#[tokio::test]
async fn guest_that_waits_is_not_charged() {
    let node = Node::start();
    let version = node.version("slow", limits(|limits| limits.cpu = Some(Duration::from_millis(50))));
    assert_eq!(ok(&version, "/?ms=200").await, "slept 200 ms\n");
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the deadline is wall-clock time")]
async fn deadline_holds_for_those_who_wait_for_a_turn() {
    let node = Node::start();
    let limit = Duration::from_millis(200);
    let version = spin(&node, limit, Some(MINUTE)).await;
    let begun = Instant::now();
    for end in join_all((0..8).map(|_| get(&version, "/loop"))).await {
        assert_eq!(end, Err(Fault::Timeout { limit }));
    }
    let took = begun.elapsed();
    assert!(took >= limit && took < limit + LATENESS_MAX, "{took:?}");
    assert_eq!(turns(&node), (0, 0));
}

#[tokio::test]
async fn cancelled_guests_give_their_turns_back() {
    let node = Node::start();
    let version = spin(&node, MINUTE, None).await;
    let mut loops: Vec<_> = (0..4).map(|_| Box::pin(get(&version, "/loop"))).collect();
    // One thread, one turn: the others wait for it.
    while turns(&node) != (1, 3) {
        let some = futures_util::future::select_all(&mut loops);
        tokio::select! {
            (end, ..) = some => panic!("an endless loop ended: {end:?}"),
            () = tokio::task::yield_now() => {}
        }
    }
    while let Some(cancelled) = loops.pop() {
        drop(cancelled);
        let (taken, waiting) = turns(&node);
        assert_eq!((taken + waiting) as usize, loops.len(), "{taken} compute and {waiting} wait");
    }
    assert_eq!(turns(&node), (0, 0));
}

#[tokio::test]
async fn short_requests_are_answered_beside_endless_loops() {
    let node = Node::start();
    let version = spin(&node, MINUTE, None).await;
    let hello = node.version("hello-v1", FunctionConfig::default());
    let loops = join_all((0..8).map(|_| get(&version, "/loop")));
    let answers = async {
        for _ in 0..50 {
            assert_eq!(ok(&hello, "/").await, "hello from v1\n");
        }
    };
    tokio::select! {
        ends = loops => panic!("endless loops ended: {ends:?}"),
        () = answers => {}
    }
    assert_eq!(turns(&node), (0, 0));
}
