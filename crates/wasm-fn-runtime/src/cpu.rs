//! What one instance computes: measured, limited, and made to take turns.
//!
//! A guest is looked at when it computes through an epoch after the one it was resumed in. Only from then on is the thread's CPU clock read
//! whenever it is resumed and whenever it yields, until it waits for something else than a thread: reading
//! that clock is a system call, and most requests are over before they would be looked at. Guests with a
//! limit of CPU time are measured from their beginning.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::Poll,
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::oneshot;
use wasm_fn_memory::ThreadAffinity;
use wasm_fn_pool::{Burst, QueueTicket, Wait};
use wasmtime::UpdateDeadline;

use crate::{pace::Pace, state::Meter, version::Waiter};

/// The CPU time of one instance.
///
/// Whoever polls the guest calls [`resume`](Self::resume) before and [`pause`](Self::pause) after each
/// poll, and [`stop`](Self::stop) when it polls no more.
pub(crate) struct Cpu {
    pace: Arc<Pace>,
    affinity: ThreadAffinity,
    /// The epoch in which the guest was resumed.
    resumed: AtomicU64,
    // Invariant: while it is false, the account is not running and has no turn.
    measured: AtomicBool,
    /// Whether the account differs from a new one.
    used: AtomicBool,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    limit: Option<Duration>,
    /// The thread's CPU time up to which the guest was charged; `None` while it does not run.
    charged: Option<Duration>,
    spent: Duration,
    burst: Burst,
    /// The guest stands back for others: it wants a thread, and waits for nothing else.
    yielding: bool,
    has_turn: bool,
    /// The limit was met.
    over: bool,
}

/// How long a guest has computed that is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// Not so long that others should go first.
    Short,
    /// Long enough to stand back for others.
    Long,
    /// Longer than it may.
    Over,
}

impl Cpu {
    pub(crate) fn new(pace: Arc<Pace>) -> Self {
        let resumed = AtomicU64::new(pace.epoch());
        let (measured, used) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { pace, affinity: ThreadAffinity::new(), resumed, measured, used, account: Mutex::default() }
    }

    /// The guest is given a request, for which it may compute so long.
    pub(crate) fn begin(&self, limit: Option<Duration>) {
        // What an instance did for nobody or for another is not this request's.
        if limit.is_some() || self.used.load(Relaxed) {
            *self.account() = Account { limit, ..Account::default() };
            self.measured.store(limit.is_some(), Relaxed);
            self.used.store(limit.is_some(), Relaxed);
        }
    }

    /// The guest is about to run on this thread.
    pub(crate) fn resume(&self) {
        self.affinity.arrive();
        self.resumed.store(self.pace.epoch(), Relaxed);
        if self.measured.load(Relaxed) {
            self.account().charged = Some(thread_time());
        }
    }

    /// The guest has run, and returned or waits now. Whether it computed for longer than it may.
    pub(crate) fn pause(&self) -> bool {
        if !self.measured.load(Relaxed) {
            return false;
        }
        let mut account = self.account();
        account.charge(thread_time());
        account.charged = None;
        if !account.yielding {
            account.burst.rest();
            self.leave(&mut account);
            self.measured.store(account.limit.is_some(), Relaxed);
        }
        account.over
    }

    /// The guest does not run any more.
    pub(crate) fn stop(&self) {
        if self.measured.load(Relaxed) {
            let mut account = self.account();
            account.yielding = false;
            self.leave(&mut account);
        }
    }

    /// Whether the guest was stopped at its limit.
    pub(crate) fn is_over(&self) -> bool {
        self.measured.load(Relaxed) && self.account().over
    }

    /// Looks at the guest, which runs and is past an epoch.
    fn look(&self) -> Found {
        let epochs = self.pace.epoch() - self.resumed.load(Relaxed);
        // Who waited is past the epoch that it began to wait in, and has not computed through this one. And
        // however short requests are, an epoch ends in one of them now and then: that hastens nobody.
        if epochs == 0 || epochs == 1 && !self.measured.load(Relaxed) {
            return Found::Short;
        }
        self.pace.hasten();
        self.measured.store(true, Relaxed);
        self.used.store(true, Relaxed);
        let mut account = self.account();
        // The first time it is not known how long it computed: it is charged from here on.
        account.charge(thread_time());
        if account.over {
            return Found::Over;
        }
        account.yielding = !account.burst.is_short();
        if account.yielding { Found::Long } else { Found::Short }
    }

    /// Waits until the guest may compute on.
    async fn turn(&self) {
        let run_queue = &self.pace.run_queue;
        let had_turn = {
            let mut account = self.account();
            if !account.burst.needs_turn() || account.has_turn && !run_queue.is_contended() {
                return;
            }
            if !account.has_turn && run_queue.try_take() {
                account.has_turn = true;
                return;
            }
            account.has_turn
        };
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter(sender);
        let ticket = if had_turn {
            run_queue.pass(waiter)
        } else {
            match run_queue.wait(waiter) {
                Wait::Queued(ticket) => Some(ticket),
                Wait::Acquired(_) => {
                    self.account().has_turn = true;
                    None
                }
                // As many wait as there can be guests: it goes on without.
                Wait::Full(_) => None,
            }
        };
        let Some(ticket) = ticket else { return };
        self.account().has_turn = false;
        let mut waiting = Waiting { pace: &self.pace, ticket: Some(ticket), receiver };
        // Only a dropped waiter ends this without a turn, and those are dropped by whoever waits.
        if (&mut waiting.receiver).await.is_ok() {
            waiting.ticket = None;
            self.account().has_turn = true;
        }
    }

    fn leave(&self, account: &mut Account) {
        if std::mem::take(&mut account.has_turn) {
            self.pace.run_queue.release();
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Charges what the thread did since the last time.
    fn charge(&mut self, now: Duration) {
        if let Some(charged) = self.charged.replace(now) {
            let cpu = now.saturating_sub(charged);
            self.spent += cpu;
            self.burst.add(cpu);
            self.over = self.limit.is_some_and(|limit| self.spent > limit);
        }
    }
}

/// A guest is past an epoch: says how it goes on.
///
/// # Errors
/// When it computed for longer than it may.
pub(crate) fn interrupted(meter: &Arc<Meter>) -> wasmtime::Result<UpdateDeadline> {
    match meter.cpu.look() {
        Found::Short => Ok(UpdateDeadline::Continue(1)),
        Found::Long => Ok(UpdateDeadline::YieldCustom(1, Box::pin(stand_back(meter.clone())))),
        Found::Over => Err(wasmtime::format_err!("its CPU time is used up")),
    }
}

/// Runs `start`, the making of an instance, as it runs when it serves.
pub(crate) async fn metered<F: Future>(cpu: &Cpu, mut start: Pin<&mut F>) -> F::Output {
    /// Gives back what is held when the making is given up.
    struct Stopped<'a>(&'a Cpu);
    impl Drop for Stopped<'_> {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let stopped = Stopped(cpu);
    std::future::poll_fn(|cx| {
        stopped.0.resume();
        let polled = start.as_mut().poll(cx);
        stopped.0.pause();
        polled
    })
    .await
}

/// Lets everything else go first, and then those who waited longer for a turn.
async fn stand_back(meter: Arc<Meter>) {
    meter.cpu.turn().await;
    // Not woken before the thread has run out of other work and asked for what has arrived; ...
    tokio::task::yield_now().await;
    // ... and then it goes behind that.
    behind().await;
    meter.cpu.account().yielding = false;
}

/// Goes to the end of the thread's queue.
async fn behind() {
    let mut asked = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A place among those who wait for a turn; left when dropped, and a turn won meanwhile is given on.
struct Waiting<'a> {
    pace: &'a Pace,
    /// `None` once the turn was taken up.
    ticket: Option<QueueTicket>,
    receiver: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.receiver.close();
            if !self.pace.run_queue.cancel(ticket) && self.receiver.try_recv().is_ok() {
                self.pace.run_queue.release();
            }
        }
    }
}

/// CPU time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // Both are never negative for this clock.
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

#[cfg(test)]
mod tests;
