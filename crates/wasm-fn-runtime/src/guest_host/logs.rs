//! The log of each function: output and failures of its guests, in a bounded ring.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;
use wasm_fn_core::VersionNo;

use crate::clock::unix_ms;

/// Most lines in a ring.
const LINES_MAX: usize = 2000;

/// Most bytes of text in a ring.
const BYTES_MAX: usize = 1 << 20;

/// Longest line; the rest of a longer one is cut off.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// The source of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestLogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host: why an invocation failed.
    Host,
}

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLogLine {
    /// Position in the function's log: 1, 2, 3, …
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The request that was being served.
    pub request_id: u128,
    /// The version that wrote it.
    pub version: VersionNo,
    /// Its source.
    pub stream: GuestLogStream,
    /// Whether its request has failed so far.
    pub failed: bool,
    /// The text, without its end of line.
    pub text: String,
}

/// Lines after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestLogPage {
    /// Oldest first.
    pub lines: Vec<GuestLogLine>,
    /// The highest position so far; 0 for an empty log.
    pub newest: u64,
    /// How many lines after the requested position were dropped already.
    pub lost: u64,
}

/// The ring of one function.
pub(crate) struct LogRing {
    inner: Mutex<Ring>,
    /// Notified of every new line.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<GuestLogLine>,
    bytes: usize,
    newest: u64,
}

impl LogRing {
    pub(crate) fn new(changed: watch::Sender<u64>) -> Self {
        Self { inner: Mutex::default(), changed }
    }

    fn ring(&self) -> std::sync::MutexGuard<'_, Ring> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends a line of the guest, and drops the oldest ones if necessary.
    pub(crate) fn push(&self, version: VersionNo, request_id: u128, stream: GuestLogStream, text: String) {
        let line =
            GuestLogLine { seq: 0, at_ms: unix_ms(), request_id, version, stream, failed: false, text };
        self.ring().append(line);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Appends the lines of `text`, which say why a request failed, and marks the earlier lines of the
    /// request.
    pub(crate) fn push_failure(&self, version: VersionNo, request_id: u128, text: &str) {
        let at_ms = unix_ms();
        {
            let mut ring = self.ring();
            ring.lines
                .iter_mut()
                .filter(|line| line.request_id == request_id)
                .for_each(|line| line.failed = true);
            for text in text.lines() {
                let (stream, text) = (GuestLogStream::Host, text.to_owned());
                ring.append(GuestLogLine { seq: 0, at_ms, request_id, version, stream, failed: true, text });
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// The lines after position `after`.
    pub(crate) fn page(&self, after: u64) -> GuestLogPage {
        let ring = self.ring();
        let first = ring.lines.front().map_or(ring.newest + 1, |line| line.seq);
        let skip = usize::try_from(after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        GuestLogPage {
            lines: ring.lines.iter().skip(skip).cloned().collect(),
            newest: ring.newest,
            lost: first.saturating_sub(after.saturating_add(1)),
        }
    }
}

impl Ring {
    /// Numbers `line`, cuts it to its limit, and drops the oldest lines if necessary.
    fn append(&mut self, mut line: GuestLogLine) {
        if line.text.len() > LINE_BYTES_MAX {
            line.text.truncate(line.text.floor_char_boundary(LINE_BYTES_MAX));
        }
        self.newest += 1;
        line.seq = self.newest;
        self.bytes += line.text.len();
        self.lines.push_back(line);
        while self.lines.len() > LINES_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.text.len();
        }
    }
}

#[cfg(test)]
mod tests;
