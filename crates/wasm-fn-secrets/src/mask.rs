//! Finds the values of secrets in log lines.
//!
//! The work for a line is bounded: by its length and by the forms of the values, which are cut to a length.

mod forms;

use std::collections::BTreeSet;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use forms::{Form, forms};

/// What stands in place of a value.
const MASK: &[u8] = b"***";

/// Finds values. It holds them in many forms, until it is dropped.
pub(crate) struct Masker {
    automaton: AhoCorasick,
    /// For each pattern, whether it is only the beginning of a form.
    is_head: Vec<bool>,
    /// The longest pattern, bytes.
    longest: usize,
}

impl Masker {
    /// Finds `values`. `None` if all of them are too short to look for.
    pub(crate) fn new<'v>(values: impl Iterator<Item = &'v str>) -> Option<Self> {
        let forms: BTreeSet<Form> = values.flat_map(forms).collect();
        let longest = forms.iter().map(|form| form.bytes.len()).max()?;
        let automaton = AhoCorasick::builder()
            // All matches are wanted, because values may overlap.
            .match_kind(MatchKind::Standard)
            // The other kinds are faster, and many times as large.
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(forms.iter().map(|form| &form.bytes[..]))
            .expect("the forms of a version's secrets are far fewer than an automaton can have");
        Some(Self { automaton, is_head: forms.iter().map(|form| form.is_head).collect(), longest })
    }

    /// Bytes beyond a limit that [`mask`](Self::mask) must see to find a value that crosses the limit.
    pub(crate) fn lookahead(&self) -> usize {
        self.longest
    }

    /// The first `bytes_max` bytes of `line` with the values that begin there masked; `None` if none does.
    pub(crate) fn mask(&self, line: &[u8], bytes_max: usize) -> Option<Vec<u8>> {
        let found = self.find(line);
        let end = line.len().min(bytes_max);
        if found.first().is_none_or(|&(start, _)| start >= end) {
            return None;
        }
        let (mut masked, mut copied) = (Vec::with_capacity(end), 0);
        for (start, match_end) in found.into_iter().take_while(|&(start, _)| start < end) {
            masked.extend_from_slice(&line[copied..start]);
            masked.extend_from_slice(MASK);
            copied = match_end;
        }
        masked.extend_from_slice(line.get(copied..end).unwrap_or_default());
        Some(masked)
    }

    /// The places of values in `line`, in order and apart from each other.
    fn find(&self, line: &[u8]) -> Vec<(usize, usize)> {
        let mut found: Vec<(usize, usize)> = Vec::new();
        for matched in self.automaton.find_overlapping_iter(line) {
            // The rest of the value follows, in a form that is not known.
            let end = if self.is_head[matched.pattern()] { line.len() } else { matched.end() };
            let mut place = (matched.start(), end);
            while let Some(&last) = found.last().filter(|last| place.0 <= last.1) {
                place = (place.0.min(last.0), place.1.max(last.1));
                found.pop();
            }
            found.push(place);
        }
        found
    }
}

#[cfg(test)]
mod tests;
