//! What stops, dies, falls silent or is cut off in a cluster loses no change, brings back no version that was
//! taken back, and costs no user an answer, except those whom a node was just answering when it was killed.
//!
//! Five nodes and three servers of a broker are each on a machine of their own. `WASM_FN_TEST_SCHEDULES` sets
//! how many schedules of faults there are, which then last as long as in life; the seed is printed and can be
//! set as `WASM_FN_TEST_SEED`.

mod changes;
mod faults;
mod sites;
mod users;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::Instant;

use self::{
    changes::Changes,
    faults::{Machines, Schedule},
    sites::Site,
    users::Seen,
};
use super::{Cluster, setting};
use crate::harness::{
    broker::{Place, Server},
    network::{Host, Network},
    patiently,
};

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// Schedules of an ordinary run.
const ORDINARY: u64 = 3;

/// The port of the routes between the servers, each of which is alone on its machine.
const ROUTES: u16 = 6222;

/// How soon all nodes are in touch and have the same state after the last fault: the longest pause before a
/// node connects again, and the time in which a log that is shorter may be a deposed server's.
const SETTLES: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_stops_or_is_cut_off_no_change_is_lost_and_no_version_comes_back() {
    let test =
        "clustered::surviving::whatever_stops_or_is_cut_off_no_change_is_lost_and_no_version_comes_back";
    let Some(mut network) = Network::enter(test) else { return };
    let hosts = [(); 3].map(|()| network.host());
    let place =
        |host: &Host| Place { address: host.address.into(), route: ROUTES, starter: host.starter().into() };
    let Some(servers) = Server::three_at(test, hosts.each_ref().map(place)) else { return };
    let mut cluster = Cluster::make(servers, "3").await;
    let mut sites = Vec::new();
    for name in NAMES {
        sites.push(Arc::new(Site::start(name, network.host(), &cluster.args(name)).await));
    }
    let schedules = setting("WASM_FN_TEST_SCHEDULES", 0);
    let seed = setting("WASM_FN_TEST_SEED", rand::random());
    println!("WASM_FN_TEST_SEED={seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let machines = Machines {
        network,
        servers: std::mem::take(&mut cluster.brokers).into_iter().map(Into::into).collect(),
        addresses: hosts.iter().map(|host| host.address).collect(),
        sites: sites.clone(),
    };
    let seen = Arc::new(Seen::default());
    let changes = Changes::begin(&sites, &seen).await;
    let users = users::start(&sites, &seen);
    let changing: Vec<_> = (0..2)
        .map(|number| tokio::spawn(Arc::clone(&changes).go_on(StdRng::seed_from_u64(seed + 1 + number))))
        .collect();
    let (mut slowest, mut faults) = (Duration::ZERO, 0);
    for number in 0..if schedules == 0 { ORDINARY } else { schedules } {
        let schedule = Schedule::draw(&mut dice, schedules > 0);
        println!("schedule {number}: {schedule}");
        faults += schedule.len();
        machines.suffer(&schedule).await;
        let over = Instant::now();
        for site in &sites {
            site.settles(SETTLES).await;
        }
        slowest = slowest.max(over.elapsed());
        assert!(
            !seen.is_wrong(),
            "after schedule {number}: {:#?}\n{}",
            seen.wrong(),
            sites::logs(&sites).await
        );
    }
    seen.ended.store(true, SeqCst);
    for task in changing {
        patiently("the last change", task).await.unwrap();
    }
    for task in users {
        patiently("the last request", task).await.unwrap();
    }
    println!("{faults} faults; after the last of each schedule, all were in touch within {slowest:?}");
    println!("{seen}; {changes}");
    same_state(&sites).await;
    for site in &sites {
        let lost = changes.lost(site).await;
        assert!(lost.is_empty(), "{} does not have {lost:?}", site.name);
    }
    assert!(!seen.is_wrong(), "{:#?}", seen.wrong());
    assert!(changes.acknowledged() > 5 && seen.answers.load(SeqCst) > 100);
}

/// Waits until all nodes have the same state, one chain of hashes behind it, which each of them checks.
async fn same_state(sites: &[Arc<Site>]) {
    let deadline = Instant::now() + SETTLES;
    loop {
        let mut heads = BTreeSet::new();
        for site in sites {
            let node = site.node.lock().await;
            let node = node.as_ref().expect("it runs at the end");
            heads.insert(node.cli_json(&["audit", "verify"]).await.to_string());
        }
        if heads.len() == 1 {
            println!("one chain of hashes: {heads:?}");
            return;
        }
        assert!(Instant::now() < deadline, "one chain of hashes: {heads:?}\n{}", sites::logs(sites).await);
    }
}
