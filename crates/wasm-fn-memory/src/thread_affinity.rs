//! Notices when a guest goes on on another thread.

use std::{
    marker::PhantomData,
    pin::Pin,
    sync::atomic::AtomicU64,
    task::{Context, Poll},
};

use wasm_fn_thread::thread_number;

use crate::vouching::{SharedNumber as _, note};

/// How often a guest of this process went on on another thread than before.
static MOVES: AtomicU64 = AtomicU64::new(0);

/// The thread that runs a guest.
#[derive(Debug)]
pub struct ThreadAffinity {
    thread: AtomicU64,
}

/// Proves that the thread on which a guest is about to run was noted. It cannot leave that thread.
#[derive(Debug)]
pub struct NotedThread<'a>(PhantomData<(&'a ThreadAffinity, *const ())>);

/// A future that runs a guest. Only with a proof can it be polled.
#[derive(Debug)]
pub struct GuestRun<F>(F);

impl ThreadAffinity {
    /// The affinity of a guest that will run on this thread.
    #[expect(clippy::new_without_default, reason = "it belongs to the thread that calls it")]
    pub fn new() -> Self {
        Self { thread: AtomicU64::new(thread_number()) }
    }

    /// Call this whenever the guest begins to run or goes on, on the thread that runs it.
    pub fn arrive(&self) -> NotedThread<'_> {
        note(&self.thread, &MOVES, thread_number());
        NotedThread(PhantomData)
    }
}

impl<F: Future + Unpin> GuestRun<F> {
    /// Keeps `guest` from being polled without a proof.
    pub fn new(guest: F) -> Self {
        Self(guest)
    }

    /// Lets the guest run on the noted thread.
    pub fn poll(&mut self, cx: &mut Context<'_>, _: &NotedThread<'_>) -> Poll<F::Output> {
        Pin::new(&mut self.0).poll(cx)
    }
}

/// How often any guest has moved so far.
pub(crate) fn moves() -> u64 {
    MOVES.get()
}
