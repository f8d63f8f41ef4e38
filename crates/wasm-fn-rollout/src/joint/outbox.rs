//! What a node has told the others, for those who missed it.

use std::collections::VecDeque;

use super::JointEntry;

/// Maximum weight of the entries that can be told again.
const KEPT_MAX: usize = 20_000;

/// Weight of the entries of one message, unless one alone has more.
const TOLD_MAX: usize = 4_000;

/// Numbered entries, the newest of which can be told again.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Number of the first of those that are kept.
    oldest: u64,
    // Invariant: at most KEPT_MAX in weight, or one.
    kept: VecDeque<JointEntry>,
    weight: usize,
    /// Number of the next one to tell.
    next: u64,
}

impl Outbox {
    pub(super) fn push(&mut self, entry: JointEntry) {
        self.weight += weight(&entry);
        self.kept.push_back(entry);
        while self.weight > KEPT_MAX && self.kept.len() > 1 {
            let dropped = self.kept.pop_front();
            self.weight -= dropped.as_ref().map_or(0, weight);
            self.oldest += 1;
        }
        self.next = self.next.max(self.oldest);
    }

    /// Number of the first entry that can be told again.
    pub(super) fn oldest(&self) -> u64 {
        self.oldest
    }

    /// Number of the entry that will be pushed next.
    pub(super) fn end(&self) -> u64 {
        self.oldest + self.kept.len() as u64
    }

    pub(super) fn has_more(&self) -> bool {
        self.next < self.end()
    }

    /// Whether the next entry to tell is about a round.
    pub(super) fn is_round_next(&self) -> bool {
        let at = usize::try_from(self.next - self.oldest).unwrap_or(usize::MAX);
        matches!(self.kept.get(at), Some(JointEntry::Round(_)))
    }

    /// Tells entries again from number `from` on, as far as they are kept.
    pub(super) fn tell_again_from(&mut self, from: u64) {
        self.next = self.next.min(from.max(self.oldest));
    }

    /// The next entries to tell, and the number of the first.
    pub(super) fn take(&mut self) -> (u64, Vec<JointEntry>) {
        let first = self.next;
        let skipped = usize::try_from(first - self.oldest).unwrap_or(usize::MAX);
        let (mut taken, mut sum) = (Vec::new(), 0);
        for entry in self.kept.iter().skip(skipped) {
            sum += weight(entry);
            if sum > TOLD_MAX && !taken.is_empty() {
                break;
            }
            taken.push(entry.clone());
        }
        self.next += taken.len() as u64;
        (first, taken)
    }
}

/// About how large an entry is: one for each number of a user, with the rest of a report as some forty.
fn weight(entry: &JointEntry) -> usize {
    match entry {
        JointEntry::Round(report) => {
            report.pieces.iter().map(|piece| 40 + piece.batch.users_len()).sum::<usize>() + 10
        }
        JointEntry::Trap(_) => 5,
        JointEntry::Known(known) => 1 + known.len(),
    }
}
