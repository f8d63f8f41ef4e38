//! Properties of a connection and of the message under way.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Properties of a connection and of the message under way.
#[derive(Default)]
pub(crate) struct Flags {
    http2: AtomicBool,
    /// Whether all of the response that is being sent is available.
    whole: AtomicBool,
    /// Whether the client of the latest request speaks HTTP/1.0.
    http10: AtomicBool,
    /// Whether a response of ours is being sent.
    answering: AtomicBool,
    /// Whether hyper refused a head.
    refused: AtomicBool,
    /// Whether a response was cut off after its head.
    cut: AtomicBool,
}

impl Flags {
    /// Notes that the client speaks HTTP/2.
    pub(crate) fn set_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    /// Whether the client speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    /// Notes whether all of the response that is sent from now on is available. If not, its body may still
    /// fail, and its client must have the head by then.
    pub(crate) fn set_whole(&self, whole: bool) {
        self.whole.store(whole, Relaxed);
    }

    /// Whether all of the response that is being sent is available.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole.load(Relaxed)
    }

    /// Notes whether the client speaks HTTP/1.0.
    pub(crate) fn set_http10(&self, http10: bool) {
        self.http10.store(http10, Relaxed);
    }

    /// Whether the client speaks HTTP/1.0.
    pub(crate) fn is_http10(&self) -> bool {
        self.http10.load(Relaxed)
    }

    /// Notes whether a response of ours is being sent.
    pub(crate) fn set_answering(&self, answering: bool) {
        self.answering.store(answering, Relaxed);
    }

    /// Whether a response of ours is being sent.
    pub(crate) fn is_answering(&self) -> bool {
        self.answering.load(Relaxed)
    }

    /// Notes that hyper refused a head.
    pub(crate) fn set_refused(&self) {
        self.refused.store(true, Relaxed);
    }

    /// Whether hyper refused a head, so that nobody reads what its client still sends.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused.load(Relaxed)
    }

    /// Notes that a response was cut off after its head.
    pub(crate) fn set_cut(&self) {
        self.cut.store(true, Relaxed);
    }

    /// Whether a response was cut off after its head.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Relaxed)
    }
}
