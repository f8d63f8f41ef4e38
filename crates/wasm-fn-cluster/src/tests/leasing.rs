//! Leases: at most one holder at any time, also of a holder that is stopped.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use tokio::time::Instant;

use super::{PATIENCE, Server, broker::signal_process, make, options};
use crate::{Cluster, ClusterError, ClusterOptions, Leases};

/// The variable by which a test is told to be the process that is stopped.
const BROKER: &str = "WASM_FN_CLUSTER_TEST_BROKER";

const LEASE: Duration = Duration::from_secs(2);

fn brief(broker: &str, node: &str) -> ClusterOptions {
    ClusterOptions { lease: LEASE, ..options(&[broker.to_owned()], node) }
}

fn start(broker: &str, node: &str) -> Cluster {
    Cluster::start(brief(broker, node)).unwrap()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// Waits until exactly `names` are held.
async fn holds(leases: &Leases, names: &[&str]) {
    let names = set(names);
    let mut held = leases.watch();
    let found = tokio::time::timeout(PATIENCE, held.wait_for(|held| *held == names)).await;
    found.unwrap_or_else(|_| panic!("{:?}", leases.watch().borrow())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_goes_to_another_node_when_it_is_given_back_or_its_holder_is_gone() {
    let test = "a_lease_goes_to_another_node_when_it_is_given_back_or_its_holder_is_gone";
    let Some(server) = Server::start(test) else { return };
    make(&[server.url()], 1).await;
    let a = start(&server.url(), "a");
    a.leases().contend(set(&["x", "y"]));
    holds(a.leases(), &["x", "y"]).await;
    let fence = |cluster: &Cluster, name| cluster.leases().held(name).map(|lease| lease.fence);
    let of_a = fence(&a, "x").unwrap();
    let b = start(&server.url(), "b");
    b.leases().contend(set(&["x", "y", "z"]));
    holds(b.leases(), &["z"]).await;
    assert_eq!((fence(&b, "x"), fence(&a, "z")), (None, None));

    let began = Instant::now();
    a.leases().contend(set(&["y"]));
    assert_eq!(fence(&a, "x"), None, "it is not had from this moment on");
    holds(b.leases(), &["x", "z"]).await;
    let given = began.elapsed();
    let of_b = fence(&b, "x").unwrap();
    assert!(of_b > of_a);

    let began = Instant::now();
    drop(a);
    holds(b.leases(), &["x", "y", "z"]).await;
    let taken = began.elapsed();
    println!("taken {given:?} after it was given back, {taken:?} after its holder was gone");
    assert!(given < LEASE / 2 && taken < 3 * LEASE, "{given:?} {taken:?}");
    assert!(fence(&b, "y").unwrap() > of_b);
    b.leave().await;
    holds(b.leases(), &[]).await;
    let c = start(&server.url(), "c");
    c.leases().contend(set(&["x"]));
    holds(c.leases(), &["x"]).await;
    b.rejoin().await;
    holds(b.leases(), &["y", "z"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder_at_any_time() {
    let Some(mut server) = Server::start("a_lease_has_one_holder_at_any_time") else { return };
    make(&[server.url()], 1).await;
    let nodes: Vec<_> = ["a", "b", "c"].map(|node| start(&server.url(), node)).into();
    let names = set(&["x", "y"]);
    for node in &nodes {
        node.leases().contend(names.clone());
    }
    let (mut fences, mut looks, mut gave) = (BTreeSet::new(), 0_u64, None::<usize>);
    // The broker is killed in the middle. Whoever is seen to have the lease gives it back.
    let all = async {
        while fences.len() < 12 {
            let before: Vec<_> = nodes.iter().map(|node| node.leases().held("x")).collect();
            let after: Vec<_> = nodes.iter().map(|node| node.leases().held("x")).collect();
            // Who has had one lease at both looks has had it in between.
            let firm = |at: &usize| before[*at].is_some() && before[*at] == after[*at];
            let Some(holder) = (0..nodes.len()).find(firm) else {
                tokio::task::yield_now().await;
                continue;
            };
            let others: Vec<_> = (0..nodes.len()).filter(|at| *at != holder && firm(at)).collect();
            assert!(others.is_empty(), "{before:?} {after:?}");
            looks += 1;
            if fences.insert(after[holder].unwrap().fence) {
                assert_eq!(fences.last(), after[holder].map(|lease| lease.fence).as_ref());
                if fences.len() == 6 {
                    server.restart();
                }
                let leases = nodes[holder].leases();
                leases.contend(set(&["y"]));
                assert_eq!(leases.held("x"), None);
                // Who gave it back before wants it again.
                if let Some(before) = gave.replace(holder) {
                    nodes[before].leases().contend(names.clone());
                }
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    assert!(looks >= 12);
}

/// The time for both processes, in microseconds.
fn now_us() -> u128 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()
}

/// Is the process that is stopped: says all the time whether it has the lease.
#[tokio::test(flavor = "multi_thread")]
async fn child_says_what_it_has() {
    let Ok(broker) = std::env::var(BROKER) else { return };
    let cluster = start(&broker, "child");
    cluster.leases().contend(set(&["x"]));
    holds(cluster.leases(), &["x"]).await;
    let mut output = std::io::stderr();
    loop {
        let at = now_us();
        let held = cluster.leases().held("x").map_or(0, |lease| lease.fence);
        // Fails when the test has ended.
        if writeln!(output, "has {at} {held}").is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_was_stopped_has_nothing_when_it_goes_on() {
    let test = "a_holder_that_was_stopped_has_nothing_when_it_goes_on";
    let Some(server) = Server::start(test) else { return };
    make(&[server.url()], 1).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::leasing::child_says_what_it_has", "--nocapture"])
        .env(BROKER, server.url())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut next = || {
        let line = lines.find_map(|line| line.unwrap().strip_prefix("has ").map(str::to_owned)).unwrap();
        let (at, fence) = line.split_once(' ').unwrap();
        (at.parse::<u128>().unwrap(), fence.parse::<u64>().unwrap())
    };
    let (_, of_child) = next();
    assert!(of_child > 0);
    let a = start(&server.url(), "a");
    a.leases().contend(set(&["x"]));
    signal_process(child.id(), Signal::STOP);
    holds(a.leases(), &["x"]).await;
    let of_a = a.leases().held("x").unwrap().fence;
    assert!(of_a > of_child);
    let went_on = now_us();
    signal_process(child.id(), Signal::CONT);
    let mut looks = 0;
    while looks < 1000 {
        let (at, fence) = next();
        // What it said before is still in the pipe.
        if at >= went_on {
            assert_eq!(fence, 0);
            looks += 1;
        }
    }
    assert_eq!(a.leases().held("x").map(|lease| lease.fence), Some(of_a));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_with_one_name_the_second_is_refused() {
    let test = "of_two_nodes_with_one_name_the_second_is_refused";
    let Some(server) = Server::start(test) else { return };
    make(&[server.url()], 1).await;
    let first = start(&server.url(), "a");
    first.joined().await.unwrap();
    let second = start(&server.url(), "a");
    let refused = tokio::time::timeout(PATIENCE, second.joined()).await.unwrap();
    let error = ClusterError::NameTaken { node: "a".parse().unwrap() };
    assert_eq!(refused, Err(error.clone()));
    assert_eq!(second.fault(), Some(error));
    assert_eq!(first.fault(), None);
    // One that takes the place of another that has left is welcome at once.
    first.leave().await;
    let third = start(&server.url(), "a");
    tokio::time::timeout(PATIENCE, third.joined()).await.unwrap().unwrap();
    // And so is one whose predecessor was killed, although nobody knows that yet.
    drop(third);
    let fourth = start(&server.url(), "a");
    tokio::time::timeout(PATIENCE, fourth.joined()).await.unwrap().unwrap();
}
