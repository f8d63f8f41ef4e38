//! Keeps instances of a version ready, and takes used ones down.

use std::{
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use wasm_fn_pool::StartPermit;
use wasm_fn_thread::thread_number;

use super::{Version, teardown::PendingTeardown};
use crate::{clock, guest_host::instance::Instance};

/// How long a passive pool is left alone. Maintaining one takes microseconds where thousands of versions
/// serve, since it is in no cache then. And it changes nothing for its requests, unless the load has just
/// risen.
const PASSIVE_REST: Duration = Duration::from_secs(1);

impl Version {
    /// Notes that an invocation took `service`, and that its instance is free or gone.
    pub(crate) fn ended(self: &Arc<Self>, service: Duration) {
        self.pool.record(service);
        self.keep_ready();
    }

    /// Waits for the start of an instance, and records in the pool how long it took.
    ///
    /// The future that makes an instance is large: it stays where it was made.
    pub(super) async fn timed<F: Future>(&self, start: Pin<&mut F>) -> F::Output {
        let began = clock::now();
        let started = start.await;
        self.pool.record_starts(1, began.elapsed());
        started
    }

    /// Takes back an instance that has served. It serves another request if it may, and is taken down
    /// otherwise.
    pub(crate) fn check_in(self: &Arc<Self>, mut instance: Instance) {
        instance.uses_left = instance.uses_left.saturating_sub(1);
        if instance.uses_left > 0 && !(instance.is_baseline && self.has_optimised()) {
            instance.meter.forget_refusals();
            drop(self.pool.check_in(thread_number(), instance));
        } else {
            PendingTeardown::put(self, instance);
        }
    }

    /// Takes back an instance that has served nothing.
    pub(crate) fn give_back(&self, instance: Instance) {
        drop(self.pool.check_in(thread_number(), instance));
    }

    /// Replaces instances that were taken down, if requests are about to come. `permits` are those of the old
    /// instances.
    pub(super) fn replace(self: &Arc<Self>, permits: impl Iterator<Item = StartPermit>) {
        let (began, mut started, loaded) = (clock::now(), 0, self.code.get());
        for permit in permits {
            let Some((permit, loaded)) = self.pool.replace(permit).zip(loaded.as_ref()) else { continue };
            match self.template.instantiate_at_once(loaded, permit) {
                Some(Ok(instance)) => drop(self.pool.check_in(thread_number(), instance)),
                Some(Err(fault)) => tracing::debug!(%fault, "no instance follows"),
                None => tracing::debug!("no instance follows: it does not start at once"),
            }
            started += 1;
        }
        if started > 0 {
            self.pool.record_starts(started, began.elapsed());
        }
        self.keep_ready();
    }

    /// Drops a ready instance, so that its slot is free. Returns `false` when there is none.
    pub(crate) fn reclaim(&self) -> bool {
        self.pool.reclaim().is_some()
    }

    /// Whether its code is loaded, and optimised.
    fn has_optimised(&self) -> bool {
        self.code.get().as_ref().is_some_and(|loaded| !loaded.prepared.is_baseline)
    }

    /// Drops the ready instances of code of one pass once optimised code is there. All that are ready then
    /// were made before it was, or are as good as new.
    fn drop_outdated(&self) {
        let is_baseline = self.code.get().as_ref().is_some_and(|loaded| loaded.prepared.is_baseline);
        if is_baseline {
            self.had_baseline.store(true, Ordering::Relaxed);
        } else if self.had_baseline.load(Ordering::Relaxed) && self.has_optimised() {
            self.had_baseline.store(false, Ordering::Relaxed);
            while self.reclaim() {}
        }
    }

    /// Lets the node adapt the pool to the load from now on. The code stays loaded as long as it does.
    pub(super) fn ensure_maintained(self: &Arc<Self>) {
        // Reading first keeps the cache line shared between cores.
        if !self.maintained.load(Ordering::Relaxed) && !self.maintained.swap(true, Ordering::Relaxed) {
            self.code.begin_use();
            self.node.add_maintained(self.clone());
        }
    }

    /// Makes sure that the pool is maintained, and refilled if it ran low.
    fn keep_ready(self: &Arc<Self>) {
        self.ensure_maintained();
        if self.pool.is_short() {
            if self.refilling.load(Ordering::Relaxed) || self.refilling.swap(true, Ordering::Relaxed) {
                self.short.notify_one();
            } else {
                tokio::spawn(self.clone().refill());
            }
        }
    }

    /// Makes instances whenever the pool has fewer than it wants, until it wants none.
    ///
    /// One task does this for as long as there is load. A task for each instance would cost more than the
    /// instance.
    async fn refill(self: Arc<Self>) {
        loop {
            while let Some(permit) = self.pool.refill() {
                let loaded = self.code.get();
                let Some(loaded) = &*loaded else { break };
                let start = pin!(self.template.instantiate_in_time(loaded, permit));
                match self.timed(start).await {
                    Ok(instance) => drop(self.pool.check_in(thread_number(), instance)),
                    Err(fault) => {
                        tracing::debug!(%fault, "no instance made ahead");
                        break;
                    }
                }
            }
            if self.pool.target() == 0 {
                break;
            }
            self.short.notified().await;
        }
        self.refilling.store(false, Ordering::Relaxed);
    }

    /// Adapts the size of the pool to the load. Returns for how long it may be left alone then, or `None`
    /// when there is nothing left to maintain.
    pub(crate) fn maintain(self: &Arc<Self>, now: Duration) -> Option<Duration> {
        drop(self.pool.resize(now, self.concurrency.running() as usize));
        self.drop_outdated();
        let rest = if self.pool.is_passive() { PASSIVE_REST } else { Duration::ZERO };
        if self.pool.target() > 0 {
            self.keep_ready();
            return Some(rest);
        }
        // The refilling task has nothing left to make.
        self.short.notify_one();
        if self.pool.live() > 0 {
            return Some(rest);
        }
        // From here on a request has the version maintained again. A request that began just before, or a
        // caller who wants the version warm, found it maintained; so it stays maintained for them.
        self.maintained.store(false, Ordering::SeqCst);
        let wanted = self.pool.is_kept(now) || self.pool.live() > 0;
        if wanted && !self.maintained.swap(true, Ordering::SeqCst) {
            return Some(Duration::ZERO);
        }
        self.code.end_use(now);
        None
    }
}
