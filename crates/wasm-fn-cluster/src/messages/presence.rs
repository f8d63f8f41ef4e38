//! What nodes tell of themselves, and when they did.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wasm_fn_core::{NodeName, Revision};

use super::PRESENCE_TEXT_BYTES_MAX;

/// For how long a process is remembered that is not heard any more.
const AGE_MAX: Duration = Duration::from_secs(60);

/// After how much time without a word a process is told who else is there: some words may be lost.
const SILENCE: Duration = Duration::from_secs(3);

/// Processes that are remembered at most.
const MEMBERS_MAX: usize = 1000;

/// Longest id, or version of a program, in bytes.
const WORD_BYTES_MAX: usize = 128;

/// Another process of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The name of its node.
    pub name: NodeName,
    /// What tells the process from others, before and after it, of the same node.
    pub instance: String,
    /// The version of its program.
    pub program: String,
    /// The revision that it said it has.
    pub revision: Revision,
    /// The revision that its replica has.
    pub head: Revision,
    /// What else it told.
    pub text: String,
    /// How long ago that was.
    pub age: Duration,
}

/// What nodes tell of themselves.
#[derive(Debug, Default)]
pub(super) struct Presence {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    revision: Revision,
    head: Revision,
    text: String,
    is_quiet: bool,
    others: BTreeMap<String, Heard>,
}

#[derive(Debug)]
struct Heard {
    name: NodeName,
    told: Told,
    at: Instant,
}

#[derive(Debug, Serialize, Deserialize)]
struct Told {
    program: String,
    revision: u64,
    head: u64,
    #[serde(default)]
    text: String,
}

impl Presence {
    pub(super) fn set_own(&self, revision: Revision, text: String) {
        let mut known = self.known();
        (known.revision, known.text) = (revision, text);
    }

    pub(super) fn set_head(&self, head: Revision) {
        self.known().head = head;
    }

    /// The node whose replica is the furthest of those that were heard, and how far it is.
    pub(super) fn furthest(&self, now: Instant) -> Option<(NodeName, Revision)> {
        let known = self.known();
        let recent = known.others.values().filter(|heard| now.saturating_duration_since(heard.at) < AGE_MAX);
        let furthest = recent.max_by_key(|heard| heard.told.head)?;
        Some((furthest.name.clone(), Revision(furthest.told.head)))
    }

    pub(super) fn set_quiet(&self, is_quiet: bool) {
        self.known().is_quiet = is_quiet;
    }

    /// What this node tells; `None` if it is quiet.
    pub(super) fn own(&self, program: &str) -> Option<Bytes> {
        let known = self.known();
        if known.is_quiet {
            return None;
        }
        let (program, text) = (program.to_owned(), known.text.clone());
        let told = Told { program, revision: known.revision.0, head: known.head.0, text };
        Some(serde_json::to_vec(&told).expect("a struct of texts and numbers is JSON").into())
    }

    /// Takes what another process told at `now`. Returns whether it was not heard lately.
    pub(super) fn heard(&self, name: NodeName, instance: &str, told: &[u8], now: Instant) -> bool {
        let Ok(told) = serde_json::from_slice::<Told>(told) else { return false };
        let is_short = instance.len() <= WORD_BYTES_MAX
            && told.program.len() <= WORD_BYTES_MAX
            && told.text.len() <= PRESENCE_TEXT_BYTES_MAX;
        let mut known = self.known();
        known.others.retain(|_, heard| now.saturating_duration_since(heard.at) < AGE_MAX);
        if !is_short || (known.others.len() >= MEMBERS_MAX && !known.others.contains_key(instance)) {
            return false;
        }
        let before = known.others.insert(instance.to_owned(), Heard { name, told, at: now });
        before.is_none_or(|before| now.saturating_duration_since(before.at) >= SILENCE)
    }

    pub(super) fn left(&self, instance: &str) {
        self.known().others.remove(instance);
    }

    pub(super) fn members(&self, now: Instant) -> Vec<Member> {
        let known = self.known();
        let members = known.others.iter().map(|(instance, Heard { name, told, at })| Member {
            name: name.clone(),
            instance: instance.clone(),
            program: told.program.clone(),
            revision: Revision(told.revision),
            head: Revision(told.head),
            text: told.text.clone(),
            age: now.saturating_duration_since(*at),
        });
        members.filter(|member| member.age < AGE_MAX).collect()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while holding the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
