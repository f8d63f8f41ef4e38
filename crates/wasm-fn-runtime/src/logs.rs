//! What guests print and how they fail, kept in a bounded ring for each function.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use tokio::sync::watch;
use wasm_fn_core::VersionNo;

/// Most lines a function's ring holds.
const LINES_MAX: usize = 2000;

/// Most bytes of text a function's ring holds.
const BYTES_MAX: usize = 1 << 20;

/// Longest line kept; the rest of a longer one is cut.
pub(crate) const LINE_BYTES_MAX: usize = 8 << 10;

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host: why an invocation failed.
    Host,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Position in the function's log: 1, 2, 3, …
    pub seq: u64,
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// The request during which it was written.
    pub request_id: u128,
    /// The version that wrote it.
    pub version: VersionNo,
    /// Where it came from.
    pub stream: LogStream,
    /// Whether its request failed, as far as is known yet.
    pub failed: bool,
    /// The text, without line end.
    pub text: String,
}

/// Lines after a position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPage {
    /// Oldest first.
    pub lines: Vec<LogLine>,
    /// The highest position so far; 0 when nothing was written.
    pub newest: u64,
    /// Lines after the position asked for that were dropped before the first of these.
    pub lost: u64,
}

/// The ring of one function.
pub(crate) struct LogRing {
    inner: Mutex<Ring>,
    /// Told of every new line.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Ring {
    lines: VecDeque<LogLine>,
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

    /// Appends a line that the guest wrote; the oldest ones make room.
    pub(crate) fn push(&self, version: VersionNo, request_id: u128, stream: LogStream, text: String) {
        let line = LogLine { seq: 0, at_ms: unix_ms(), request_id, version, stream, failed: false, text };
        self.ring().append(line);
        self.changed.send_modify(|count| *count += 1);
    }

    /// Appends why a request failed, a line for each of `text`, and marks what it wrote before.
    pub(crate) fn push_failure(&self, version: VersionNo, request_id: u128, text: &str) {
        let at_ms = unix_ms();
        {
            let mut ring = self.ring();
            ring.lines
                .iter_mut()
                .filter(|line| line.request_id == request_id)
                .for_each(|line| line.failed = true);
            for text in text.lines() {
                let (stream, text) = (LogStream::Host, text.to_owned());
                ring.append(LogLine { seq: 0, at_ms, request_id, version, stream, failed: true, text });
            }
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// The lines after position `after`.
    pub(crate) fn page(&self, after: u64) -> LogPage {
        let ring = self.ring();
        let first = ring.lines.front().map_or(ring.newest + 1, |line| line.seq);
        let skip = usize::try_from(after.saturating_add(1).saturating_sub(first)).unwrap_or(usize::MAX);
        LogPage {
            lines: ring.lines.iter().skip(skip).cloned().collect(),
            newest: ring.newest,
            lost: first.saturating_sub(after.saturating_add(1)),
        }
    }
}

impl Ring {
    /// Numbers `line`, cuts it to its bound, and lets the oldest lines make room.
    fn append(&mut self, mut line: LogLine) {
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

#[expect(clippy::disallowed_methods, reason = "lines carry the wall clock of the edge that captured them")]
fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
