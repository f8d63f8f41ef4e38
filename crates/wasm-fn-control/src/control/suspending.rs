//! Tokens that are refused before it is committed that they are: a node that takes one away says so to the
//! others first, since a broker that has lost its leader takes seconds for a commit, or refuses it.
//!
//! A token that was suspended, and is still in the state after a while, is accepted again. Nothing here knows
//! why it is taken away.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasm_fn_access::{TokenHash, TokenKey};
use wasm_fn_core::TokenName;
use wasm_fn_store::Store;

use super::{Control, ControlError};
use crate::{
    clock,
    host::Host,
    peers::PeerMessage,
    state::{AccessChange, State},
};

/// For how long a token is suspended.
pub(super) const SUSPENDED_FOR: Duration = Duration::from_mins(10);

/// How often a node says it again, since messages may be lost.
const AGAIN: Duration = Duration::from_secs(1);

/// Maximum number of suspended tokens. Beyond that, those that were suspended first are accepted again.
const SUSPENDED_MAX: usize = 10_000;

/// The first byte of such a message.
const KIND: u8 = b'r';

/// The second byte: the version of the format.
const VERSION: u8 = 1;

/// Hexadecimal digits of a hash, and of its proof.
const DIGITS: usize = 64;

/// The tokens that are suspended on this node, by their hashes.
#[derive(Default)]
pub(super) struct SuspendedTokens(Mutex<BTreeMap<String, Suspension>>);

struct Suspension {
    until: Instant,
    /// Whether this node tells others of it.
    is_own: bool,
}

impl SuspendedTokens {
    fn suspended(&self) -> MutexGuard<'_, BTreeMap<String, Suspension>> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, hash: TokenHash, is_own: bool, now: Instant) {
        let mut suspended = self.suspended();
        suspended.retain(|_, suspension| now < suspension.until);
        let known = suspended.get(&hash.to_hex()).is_some_and(|known| known.is_own);
        while suspended.len() >= SUSPENDED_MAX
            && let Some(first) = suspended.iter().min_by_key(|(_, suspension)| suspension.until)
        {
            let first = first.0.clone();
            suspended.remove(&first);
        }
        let until = now + SUSPENDED_FOR;
        suspended.insert(hash.to_hex(), Suspension { until, is_own: is_own || known });
    }

    pub(super) fn has(&self, hash: TokenHash, now: Instant) -> bool {
        let suspended = self.suspended();
        !suspended.is_empty()
            && suspended.get(&hash.to_hex()).is_some_and(|suspension| now < suspension.until)
    }

    /// Those of this node that `state` still has.
    fn own(&self, state: &State, now: Instant) -> Vec<TokenHash> {
        let mut suspended = self.suspended();
        suspended.retain(|_, suspension| now < suspension.until);
        let own = |hash: &TokenHash| suspended.get(&hash.to_hex()).is_some_and(|it| it.is_own);
        if suspended.is_empty() {
            return Vec::new();
        }
        state.tokens().iter().map(|(_, token)| token.hash).filter(own).collect()
    }
}

/// What a node tells of the token with this hash.
fn encode(key: &TokenKey, hash: TokenHash) -> Bytes {
    let text = hash.to_hex() + &hex::encode(key.revocation(hash));
    [&[KIND, VERSION], text.as_bytes()].concat().into()
}

/// The token that another node tells of; `None` if nobody with `key` said so.
fn decode(key: &TokenKey, body: &[u8]) -> Option<TokenHash> {
    let text = std::str::from_utf8(body.strip_prefix(&[KIND, VERSION])?).ok()?;
    let (hash, digits) = text.split_at_checked(DIGITS)?;
    let (hash, mut proof) = (TokenHash::from_hex(hash)?, [0; DIGITS / 2]);
    hex::decode_to_slice(digits, &mut proof).ok()?;
    key.is_revocation(hash, &proof).then_some(hash)
}

impl<H: Host, S: Store> Control<H, S> {
    /// Whether the token with this hash is refused, although the state has it.
    pub(super) fn is_suspended(&self, hash: TokenHash) -> bool {
        self.suspended.has(hash, clock::instant())
    }

    /// Has this node and all others refuse the token that `change` of `state` takes away, if there are
    /// others. Returns its name.
    pub(super) fn suspend(&self, state: &State, change: &AccessChange) -> Option<TokenName> {
        let peers = self.peers.as_ref()?;
        let (AccessChange::RevokeToken { name } | AccessChange::RotateToken { name, .. }) = change else {
            return None;
        };
        let hash = state.tokens().get(name)?.hash;
        self.suspended.add(hash, true, clock::instant());
        peers.tell(encode(self.access.token_key(), hash));
        self.followers.send_modify(|_| {});
        Some(name.clone())
    }

    /// Takes what another node tells, if it is about a token.
    pub(super) fn hear_of_token(&self, message: &PeerMessage) {
        if message.body.first() != Some(&KIND) {
            return;
        }
        match decode(self.access.token_key(), &message.body) {
            Some(hash) => {
                self.suspended.add(hash, false, clock::instant());
                // Whoever is connected by the token looks whether it is still accepted.
                self.followers.send_modify(|_| {});
            }
            None => tracing::warn!(node = %message.from, "a message of another node was dropped"),
        }
    }
}

/// What became of taking the token `taken` away, if that is what `done` is about.
pub(super) fn unless_suspended<T>(
    taken: Option<TokenName>,
    done: Result<T, ControlError>,
) -> Result<T, ControlError> {
    done.map_err(|error| match (taken, error) {
        (Some(token), ControlError::Store(cause)) => ControlError::Suspended { token, cause },
        (_, error) => error,
    })
}

/// Tells the others again of tokens that this node suspended, until the control plane is gone.
pub(super) async fn tell_again<H: Host, S: Store>(control: Weak<Control<H, S>>) {
    loop {
        tokio::time::sleep(AGAIN).await;
        let Some(control) = control.upgrade() else { return };
        let Some(peers) = &control.peers else { return };
        for hash in control.suspended.own(&control.state(), clock::instant()) {
            peers.tell(encode(control.access.token_key(), hash));
        }
    }
}

#[cfg(test)]
mod tests;
