//! Measures and limits the CPU time of one instance, and makes it take turns.
//!
//! A guest is checked when it computes through a whole epoch after the one in which it was resumed. Only from
//! then on, the thread's CPU clock is read whenever the guest is resumed or yields, until it waits for
//! something other than a thread. Reading that clock is a system call, and most requests end before their
//! first check. A guest with a limit on its CPU time is measured from the start.

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
use wasm_fn_memory::{GuestRun, NotedThread, ThreadAffinity};
use wasm_fn_pool::{Burst, QueueTicket, Wait};

use super::ticker::EpochTicker;
use crate::waiter::Waiter;

/// The CPU time of one instance.
///
/// Call [`resume`](Self::resume) before and [`pause`](Self::pause) after each poll of the guest, and
/// [`stop`](Self::stop) after the last.
pub(crate) struct Cpu {
    ticker: Arc<EpochTicker>,
    affinity: ThreadAffinity,
    /// The epoch in which the guest was resumed.
    resumed: AtomicU64,
    // Invariant: while this is false, the account is not running and has no turn.
    measured: AtomicBool,
    /// Whether the account was used.
    used: AtomicBool,
    account: Mutex<Account>,
}

#[derive(Debug, Default)]
struct Account {
    limit: Option<Duration>,
    /// The guest is charged up to this CPU time of its thread; `None` while it does not run.
    charged: Option<Duration>,
    spent: Duration,
    burst: Burst,
    /// Whether the guest yields to others: it waits only for a thread.
    yielding: bool,
    has_turn: bool,
    /// Whether the guest used up its limit.
    over: bool,
}

/// How long an interrupted guest has computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CpuCheck {
    /// Too short to yield.
    Short,
    /// Long enough to yield.
    Long,
    /// Longer than its limit.
    Over,
}

impl Cpu {
    pub(crate) fn new(ticker: Arc<EpochTicker>) -> Self {
        let resumed = AtomicU64::new(ticker.epoch());
        let (measured, used) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { ticker, affinity: ThreadAffinity::new(), resumed, measured, used, account: Mutex::default() }
    }

    /// Begins a request, for which the guest may compute up to `limit`.
    pub(crate) fn begin(&self, limit: Option<Duration>) {
        // Work for an earlier request, or for none, is not charged to this one.
        if limit.is_some() || self.used.load(Relaxed) {
            *self.account() = Account { limit, ..Account::default() };
            self.measured.store(limit.is_some(), Relaxed);
            self.used.store(limit.is_some(), Relaxed);
        }
    }

    /// Notes that the guest is about to run on this thread.
    pub(crate) fn resume(&self) -> NotedThread<'_> {
        let noted = self.affinity.arrive();
        self.resumed.store(self.ticker.epoch(), Relaxed);
        if self.measured.load(Relaxed) {
            self.account().charged = Some(thread_time());
        }
        noted
    }

    /// Notes that the guest has returned or waits. Returns whether it used up its limit.
    pub(crate) fn pause(&self) -> bool {
        if !self.measured.load(Relaxed) {
            return false;
        }
        let mut account = self.account();
        account.charge(thread_time());
        account.charged = None;
        if !account.yielding {
            account.burst.rest();
            self.release_turn(&mut account);
            self.measured.store(account.limit.is_some(), Relaxed);
        }
        account.over
    }

    /// Notes that the guest will not run any more.
    pub(crate) fn stop(&self) {
        if self.measured.load(Relaxed) {
            let mut account = self.account();
            account.yielding = false;
            self.release_turn(&mut account);
        }
    }

    /// Whether the guest was stopped at its limit.
    pub(crate) fn is_over(&self) -> bool {
        self.measured.load(Relaxed) && self.account().over
    }

    /// Checks a guest that runs past the end of an epoch.
    pub(crate) fn check(&self) -> CpuCheck {
        let epochs = self.ticker.epoch() - self.resumed.load(Relaxed);
        // A guest that waited is past the epoch in which it began to wait, but has not computed through this
        // one. And even among short requests, an epoch ends in one of them now and then, which is no reason
        // for shorter epochs.
        if epochs == 0 || epochs == 1 && !self.measured.load(Relaxed) {
            return CpuCheck::Short;
        }
        self.ticker.speed_up();
        self.measured.store(true, Relaxed);
        self.used.store(true, Relaxed);
        let mut account = self.account();
        // How long it computed is unknown the first time. It is charged from here on.
        account.charge(thread_time());
        if account.over {
            return CpuCheck::Over;
        }
        account.yielding = !account.burst.is_short();
        if account.yielding { CpuCheck::Long } else { CpuCheck::Short }
    }

    /// Waits until the guest may go on.
    async fn turn(&self) {
        let run_queue = &self.ticker.run_queue;
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
                // As many wait as there can be guests. This one goes on without a turn.
                Wait::Full(_) => None,
            }
        };
        let Some(ticket) = ticket else { return };
        self.account().has_turn = false;
        let mut queued = QueuedTurn { ticker: &self.ticker, ticket: Some(ticket), receiver };
        // This fails only if the waiter is dropped, which only this function does.
        if (&mut queued.receiver).await.is_ok() {
            queued.ticket = None;
            self.account().has_turn = true;
        }
    }

    /// Lets everything else go first, and then guests that have waited longer for a turn.
    pub(crate) async fn stand_back(&self) {
        self.turn().await;
        // This is woken only when the thread has run out of other work and has looked for new work.
        tokio::task::yield_now().await;
        // Then it goes behind that work.
        behind().await;
        self.account().yielding = false;
    }

    fn release_turn(&self, account: &mut Account) {
        if std::mem::take(&mut account.has_turn) {
            self.ticker.run_queue.release();
        }
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    /// Charges the CPU time of the thread since the last call.
    fn charge(&mut self, now: Duration) {
        if let Some(charged) = self.charged.replace(now) {
            let cpu = now.saturating_sub(charged);
            self.spent += cpu;
            self.burst.add(cpu);
            self.over = self.limit.is_some_and(|limit| self.spent > limit);
        }
    }
}

/// Runs `start`, which makes an instance, with its CPU time measured.
pub(crate) async fn metered<F: Future>(cpu: &Cpu, start: Pin<&mut F>) -> F::Output {
    /// Stops the account when `start` is dropped.
    struct Stopped<'a>(&'a Cpu);
    impl Drop for Stopped<'_> {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let (stopped, mut start) = (Stopped(cpu), GuestRun::new(start));
    std::future::poll_fn(|cx| {
        let noted = stopped.0.resume();
        let polled = start.poll(cx, &noted);
        stopped.0.pause();
        polled
    })
    .await
}

/// Moves the task to the end of the thread's queue.
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

/// A position in the run queue. Dropping it leaves the queue, and passes on a turn that was won meanwhile.
struct QueuedTurn<'a> {
    ticker: &'a EpochTicker,
    /// `None` once the turn was taken.
    ticket: Option<QueueTicket>,
    receiver: oneshot::Receiver<()>,
}

impl Drop for QueuedTurn<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.receiver.close();
            if !self.ticker.run_queue.cancel(ticket) && self.receiver.try_recv().is_ok() {
                self.ticker.run_queue.release();
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
