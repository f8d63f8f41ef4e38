//! The sessions of the page. They are kept in memory only: after a restart, people log in again.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use wasm_fn_control::Actor;

/// How long a session lasts at most.
pub(crate) const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Most sessions. About half a KiB each.
const SESSIONS_MAX: usize = 1024;

/// Most sessions of one token. The oldest goes first.
const OF_TOKEN_MAX: usize = 32;

/// A hash of half of a session. Nobody who reads the memory of the node finds what a browser shows.
type Hash = [u8; 32];

/// The sessions, by the hashes of their cookies.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<Hash, Session>>);

#[derive(Debug)]
struct Session {
    key: Hash,
    actor: Actor,
    /// Unix milliseconds.
    begun_ms: u64,
    until_ms: u64,
}

/// The halves of a new session.
pub(crate) struct Begun {
    pub(crate) cookie: String,
    pub(crate) key: String,
}

fn hash(half: &str) -> Hash {
    Sha256::digest(half).into()
}

impl Sessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<Hash, Session>> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session of `actor`. Sessions that are over, or whose actor is not `known` any more, make
    /// room. `None` if there is none.
    pub(crate) fn begin(&self, actor: Actor, now_ms: u64, known: impl Fn(&Actor) -> bool) -> Option<Begun> {
        let mut sessions = self.lock();
        sessions.retain(|_, session| now_ms < session.until_ms && known(&session.actor));
        let of_token = || sessions.iter().filter(|(_, session)| session.actor.name == actor.name);
        if of_token().count() >= OF_TOKEN_MAX {
            let oldest = of_token().min_by_key(|(_, session)| session.begun_ms).map(|(cookie, _)| *cookie);
            oldest.and_then(|oldest| sessions.remove(&oldest));
        }
        if sessions.len() >= SESSIONS_MAX {
            return None;
        }
        let half = || hex::encode(rand::random::<[u8; 32]>());
        let begun = Begun { cookie: half(), key: half() };
        let life_ms = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
        let until_ms = now_ms.saturating_add(life_ms);
        let session = Session { key: hash(&begun.key), actor, begun_ms: now_ms, until_ms };
        sessions.insert(hash(&begun.cookie), session);
        Some(begun)
    }

    /// Who has the session with these halves.
    pub(crate) fn actor(&self, cookie: &str, key: &str, now_ms: u64) -> Option<Actor> {
        let sessions = self.lock();
        let session = sessions.get(&hash(cookie))?;
        // Hashes are compared, so the time tells nothing about what would be right.
        (session.key == hash(key) && now_ms < session.until_ms).then(|| session.actor.clone())
    }

    /// Ends the session with these halves.
    pub(crate) fn end(&self, cookie: &str, key: &str) {
        let mut sessions = self.lock();
        let cookie = hash(cookie);
        if sessions.get(&cookie).is_some_and(|session| session.key == hash(key)) {
            sessions.remove(&cookie);
        }
    }
}

#[cfg(test)]
mod tests;
