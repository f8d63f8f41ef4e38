//! Has the shards whose leases this process has, once it has applied everything that their former holders
//! did.
//!
//! A process that takes a shard says so in the log, with the number of its lease. Everything before that in
//! the log counts, and nothing that the former holder says after it. So a process that was stopped for longer
//! than its lease, and goes on, ends nothing that another has begun.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::sleep;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasm_fn_store::{ChangeOutcome, InboxChange, ShardHolder};

use super::{holdings::Held, inner::Inner, shards};

/// How often a shard is looked at that another node is to have.
const LOOK: Duration = Duration::from_millis(50);

/// How soon it is said again that the process has a shard, if that came to nothing.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes shards and gives them back, until `stop`.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let leases = inner.options.leases.clone();
    leases.spread(shards::leases());
    let (mut told, mut surplus) = (leases.watch(), leases.surplus());
    let (tasks, mut taking) = (TaskTracker::new(), BTreeMap::new());
    let mut yielded = BTreeSet::new();
    loop {
        let others: BTreeSet<u16> =
            surplus.borrow_and_update().iter().filter_map(|lease| shards::shard_of_lease(lease)).collect();
        // What was to be given back, and is not any more, is taken like any other.
        taking.retain(|shard, _| !yielded.contains(shard) || others.contains(shard));
        let has: BTreeSet<u16> =
            told.borrow_and_update().iter().filter_map(|lease| shards::shard_of_lease(lease)).collect();
        let has: BTreeMap<u16, u64> = has
            .into_iter()
            .filter_map(|shard| Some((shard, leases.held(&shards::lease_of(shard))?.fence)))
            .collect();
        let is_gone = |shard: &u16, held: &Held| has.get(shard) != Some(&held.fence);
        if inner.holdings.held().iter().any(|(shard, held)| is_gone(shard, held)) {
            inner.holdings.change(|held| held.retain(|shard, held| !is_gone(shard, held)));
        }
        taking.retain(|shard, fence| has.get(shard) == Some(fence));
        for (&shard, &fence) in &has {
            if inner.holdings.of(shard).is_none() && taking.insert(shard, fence) != Some(fence) {
                let (inner, stop) = (Arc::clone(&inner), stop.clone());
                tasks.spawn(async move {
                    let _ = stop.run_until_cancelled(inner.take_shard(shard, fence)).await;
                });
            }
        }
        yielded = inner.give_way(&others);
        tokio::select! {
            () = stop.cancelled() => return,
            changed = told.changed() => if changed.is_err() { return },
            changed = surplus.changed() => if changed.is_err() { return },
            () = sleep(LOOK), if !others.is_empty() => {}
        }
    }
}

impl Inner {
    /// Says in the log that this process has `shard`, and has it once that is applied.
    async fn take_shard(&self, shard: u16, fence: u64) {
        let lease = shards::lease_of(shard);
        let is_held = || self.options.leases.held(&lease).is_some_and(|held| held.fence == fence);
        while is_held() {
            let holder = ShardHolder { shard, process: self.options.process.clone(), fence };
            match self.submit(InboxChange::Hold(holder), None).await {
                Ok(ChangeOutcome::Held(true)) => {
                    if is_held() {
                        self.holdings.change(|all| {
                            all.insert(shard, Held::new(fence));
                        });
                        self.rang.notify_one();
                    }
                    return;
                }
                Ok(outcome) => {
                    tracing::warn!(shard, fence, ?outcome, "events of a shard have another holder");
                    return;
                }
                Err(error) => {
                    tracing::debug!(shard, %error, "events of a shard are not had yet");
                    sleep(AGAIN).await;
                }
            }
        }
    }

    /// Gives back those shards that are the part of `others`, once they have nothing in flight. Returns those
    /// that are given back.
    fn give_way(&self, others: &BTreeSet<u16>) -> BTreeSet<u16> {
        let busy: BTreeSet<u16> = self.flights().values().map(|flight| flight.holder.shard).collect();
        let (yielded, changed) = self.holdings.give_up(others, &busy);
        if changed {
            self.holdings.change(|_| {});
            self.rang.notify_one();
        }
        self.options.leases.give_way(yielded.iter().map(|&shard| shards::lease_of(shard)).collect());
        yielded
    }
}
