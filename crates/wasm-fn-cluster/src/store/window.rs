//! The last commits, for whoever follows them one by one.

use std::collections::VecDeque;

use wasm_fn_core::Revision;
use wasm_fn_store::Commit;

/// Commits that are kept at most.
const COMMITS_MAX: usize = 256;

/// Bytes of them that are kept at most, unless it is one commit.
const BYTES_MAX: usize = 16 << 20;

/// The last commits, which follow each other.
#[derive(Debug, Default)]
pub(super) struct Window {
    commits: VecDeque<Commit>,
    bytes: usize,
}

impl Window {
    /// Adds `commits`, which follow each other, and forgets the oldest ones.
    pub(super) fn push_all(&mut self, commits: Vec<Commit>) {
        let follows = self.commits.back().map(|last| last.revision.next());
        if follows.is_some() && follows != commits.first().map(|first| first.revision) {
            // Another process had the replica in between.
            (self.commits, self.bytes) = (VecDeque::new(), 0);
        }
        for commit in commits {
            self.bytes += size(&commit);
            self.commits.push_back(commit);
            while self.commits.len() > COMMITS_MAX || (self.bytes > BYTES_MAX && self.commits.len() > 1) {
                let oldest = self.commits.pop_front();
                self.bytes -= oldest.as_ref().map_or(0, size);
            }
        }
    }

    /// The commit of `revision`, if it is among them.
    pub(super) fn get(&self, revision: Revision) -> Option<Commit> {
        let first = self.commits.front()?.revision;
        let at = usize::try_from(revision.0.checked_sub(first.0)?).ok()?;
        self.commits.get(at).cloned()
    }
}

fn size(commit: &Commit) -> usize {
    commit.record.len() + commit.document.as_ref().map_or(0, String::len)
}

#[cfg(test)]
mod tests;
