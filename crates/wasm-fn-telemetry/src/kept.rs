//! Traces that the node keeps to show them: of requests that failed, and of the slowest ones.

use std::{
    collections::VecDeque,
    mem::size_of,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use wasm_fn_core::{FinishedRequest, SpanDetail, SpanRecord};

use crate::clock::Anchor;

/// Most traces of requests that failed. The oldest goes first.
const FAILED_MAX: usize = 200;

/// Most traces of slow requests. The fastest goes first.
const SLOW_MAX: usize = 50;

/// How long a slow request is remembered.
const SLOW_FOR: Duration = Duration::from_secs(3600);

/// Most bytes of all of them.
const BYTES_MAX: usize = 8 << 20;

/// A trace that was kept.
#[derive(Clone, Debug)]
pub struct KeptTrace {
    /// The request, with its spans.
    pub request: Arc<FinishedRequest>,
    /// When it began, Unix milliseconds.
    pub began_ms: u64,
}

/// Keeps traces. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptTraces(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    failed: VecDeque<KeptTrace>,
    /// The slowest first.
    slow: Vec<KeptTrace>,
    bytes: usize,
}

impl KeptTraces {
    /// Keeps the trace of `request`, if it failed or is among the slowest.
    pub(crate) fn offer(&self, request: &Arc<FinishedRequest>) {
        let mut kept = self.lock();
        if request.is_failure() {
            kept.add_failed(request);
        } else {
            kept.add_slow(request);
        }
        kept.shrink();
    }

    /// All that is kept: what failed, the newest first, and then what was slow, the slowest first.
    pub(crate) fn list(&self) -> Vec<KeptTrace> {
        let kept = self.lock();
        kept.failed.iter().rev().chain(&kept.slow).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add_failed(&mut self, request: &Arc<FinishedRequest>) {
        self.bytes += size(request);
        self.failed.push_back(kept(request));
        if self.failed.len() > FAILED_MAX {
            self.remove_failed();
        }
    }

    fn add_slow(&mut self, request: &Arc<FinishedRequest>) {
        let old = |one: &KeptTrace| request.ended.saturating_duration_since(one.request.ended) > SLOW_FOR;
        let is_full = self.slow.len() >= SLOW_MAX;
        if is_full
            && !self.slow.iter().any(old)
            && self.slow.last().is_some_and(|last| took(request) <= took(&last.request))
        {
            return;
        }
        let bytes = &mut self.bytes;
        self.slow.retain(|one| {
            let stays = !old(one);
            *bytes -= if stays { 0 } else { size(&one.request) };
            stays
        });
        let at = self.slow.partition_point(|one| took(&one.request) >= took(request));
        self.slow.insert(at, kept(request));
        self.bytes += size(request);
        if self.slow.len() > SLOW_MAX {
            self.remove_slow();
        }
    }

    /// Removes traces until the rest fits.
    fn shrink(&mut self) {
        while self.bytes > BYTES_MAX {
            if self.failed.len() > self.slow.len() { self.remove_failed() } else { self.remove_slow() }
        }
    }

    fn remove_failed(&mut self) {
        let removed = self.failed.pop_front();
        self.bytes -= removed.map_or(0, |removed| size(&removed.request));
    }

    fn remove_slow(&mut self) {
        let removed = self.slow.pop();
        self.bytes -= removed.map_or(0, |removed| size(&removed.request));
    }
}

fn kept(request: &Arc<FinishedRequest>) -> KeptTrace {
    let began = Anchor::now().wall(request.head.began).duration_since(UNIX_EPOCH).unwrap_or_default();
    KeptTrace { request: request.clone(), began_ms: u64::try_from(began.as_millis()).unwrap_or(u64::MAX) }
}

fn took(request: &FinishedRequest) -> Duration {
    request.ended.saturating_duration_since(request.head.began)
}

/// The bytes of `request` in memory, about.
fn size(request: &FinishedRequest) -> usize {
    let FinishedRequest { head, spans, .. } = request;
    let texts = [Some(&head.method), Some(&head.path), head.host.as_ref(), head.user_agent.as_ref()];
    let texts: usize = texts.into_iter().flatten().map(|text| text.len()).sum();
    let outgoing = |span: &SpanRecord| match &span.detail {
        SpanDetail::Outgoing(outgoing) => {
            size_of_val(&**outgoing) + outgoing.method.len() + outgoing.host.len() + outgoing.path.len()
        }
        _ => 0,
    };
    let outgoing: usize = spans.iter().map(outgoing).sum();
    size_of::<FinishedRequest>() + spans.capacity() * size_of::<SpanRecord>() + texts + outgoing
}

#[cfg(test)]
mod tests;
