//! Lines that were gathered from nodes and are not sent yet. Pure.

use std::collections::{BTreeSet, VecDeque};

use wasm_fn_api as api;

/// Lines that were gathered and are not sent yet.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    ready: VecDeque<api::LogEvent>,
    /// Of the last round.
    held: Vec<api::LogLineView>,
    /// Of this round.
    new: Vec<api::LogLineView>,
    /// Nodes that the client was told are missing.
    missing: BTreeSet<String>,
}

impl Gathered {
    /// The next to send.
    pub(super) fn pop(&mut self) -> Option<api::LogEvent> {
        self.ready.pop_front()
    }

    /// Takes what `node` has. Returns the number of its newest line, or 0.
    pub(super) fn take(&mut self, node: &str, events: Vec<api::LogEvent>) -> u64 {
        if self.missing.remove(node) {
            self.ready.push_back(api::LogEvent::Back { node: node.to_owned() });
        }
        let mut newest = 0;
        for event in events {
            match event {
                api::LogEvent::Line(mut line) => {
                    line.node = Some(node.to_owned());
                    newest = newest.max(line.seq);
                    self.new.push(line);
                }
                api::LogEvent::Lost { lines, .. } => {
                    self.ready.push_back(api::LogEvent::Lost { lines, node: Some(node.to_owned()) });
                }
                // A node tells of itself alone.
                api::LogEvent::Missing { .. } | api::LogEvent::Back { .. } => {}
            }
        }
        newest
    }

    /// Says once that `node` does not tell.
    pub(super) fn miss(&mut self, node: &str, reason: String) {
        if self.missing.insert(node.to_owned()) {
            self.ready.push_back(api::LogEvent::Missing { node: node.to_owned(), reason });
        }
    }

    /// Ends a round. Lines from before `until_ms` are sent now, and the others with the next round; all of
    /// them if it is `None`.
    pub(super) fn sort(&mut self, until_ms: Option<u64>) {
        let new = std::mem::take(&mut self.new);
        let (due, held) = new.into_iter().partition(|line| until_ms.is_none_or(|until| line.at_ms < until));
        let mut lines = std::mem::replace(&mut self.held, held);
        lines.extend::<Vec<_>>(due);
        // Lines of one node at one time stay in their order.
        lines.sort_by_key(|line| line.at_ms);
        self.ready.extend(lines.into_iter().map(api::LogEvent::Line));
    }
}

/// Reads lines of JSON.
pub(super) fn lines_of(body: &[u8]) -> Result<Vec<api::LogEvent>, String> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read =
        |line| serde_json::from_slice(line).map_err(|error| format!("its answer cannot be read: {error}"));
    lines.map(read).collect()
}

#[cfg(test)]
mod tests;
