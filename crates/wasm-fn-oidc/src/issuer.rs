//! An issuer and its keys: when to use those that are there, and when to fetch them again.

use std::{
    sync::{Arc, atomic::AtomicBool, atomic::Ordering::Relaxed},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use jsonwebtoken::DecodingKey;
use tokio::sync::{Mutex, OwnedMutexGuard};
use wasm_fn_access::ClaimRules;

use crate::{IssuerClient, IssuerUrl, SignatureAlgorithm, check::shown, issuers::OidcError, key_set::KeySet};

/// Age from which on keys are fetched again, milliseconds.
const FRESH_MS: u64 = 60 * 60 * 1000;

/// Age from which on keys are no longer used, milliseconds.
const KEEP_MS: u64 = 24 * 60 * 60 * 1000;

/// At most one fetch for the sake of a key that is not known, or after a failure, in this time, milliseconds.
const REFRESH_EVERY_MS: u64 = 60 * 1000;

/// The same while there are no keys at all.
const RETRY_EVERY_MS: u64 = 10 * 1000;

/// An issuer that a node trusts.
#[derive(Clone, Debug)]
pub struct IssuerOptions {
    /// Its identifier, which is also where it is.
    pub issuer: IssuerUrl,
    /// For whom its tokens have to be.
    pub audience: String,
    /// How its tokens may be signed.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// By how much its clock may differ from the node's.
    pub clock_skew: Duration,
    /// Who gets which rights.
    pub rules: ClaimRules,
    /// What fetches its keys.
    pub client: IssuerClient,
}

/// An issuer and what is known of it.
#[derive(Debug)]
pub(crate) struct Issuer {
    pub(crate) options: IssuerOptions,
    cached: ArcSwapOption<Cached>,
    /// Locked while keys are fetched.
    fetches: Arc<Mutex<Fetches>>,
    /// Whether the last fetch has failed, so that one warning is enough.
    failing: AtomicBool,
}

#[derive(Debug)]
struct Cached {
    keys: KeySet,
    fetched_ms: u64,
}

/// The last fetches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Fetches {
    /// When keys were asked for last.
    tried_ms: Option<u64>,
    /// When keys were asked for last because one was not known.
    missed_ms: Option<u64>,
    /// Why the last one has failed, if it has.
    failure: Option<String>,
}

/// What to do about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Use what is there.
    Use,
    /// Fetch, and use what is there if that fails.
    Renew,
    /// Fetch, because the key is not there.
    Seek,
    /// The issuer has no such key.
    Refuse,
    /// Nobody knows.
    Unknown,
}

/// What to do about a key at `now_ms`, if there are keys that are `age_ms` old and `has` tells whether the
/// key is among them.
fn plan(age_ms: Option<u64>, has: bool, fetches: &Fetches, now_ms: u64) -> Plan {
    let within = |then_ms: Option<u64>, time_ms| {
        then_ms.is_some_and(|then_ms| now_ms.saturating_sub(then_ms) < time_ms)
    };
    match age_ms.filter(|&age_ms| age_ms < KEEP_MS) {
        None if within(fetches.tried_ms, RETRY_EVERY_MS) => Plan::Unknown,
        None => Plan::Seek,
        Some(age_ms) if has && age_ms < FRESH_MS => Plan::Use,
        Some(_) if has && within(fetches.tried_ms, REFRESH_EVERY_MS) => Plan::Use,
        Some(_) if has => Plan::Renew,
        Some(_) if !within(fetches.missed_ms, REFRESH_EVERY_MS) => Plan::Seek,
        Some(_) if fetches.failure.is_some() => Plan::Unknown,
        Some(_) => Plan::Refuse,
    }
}

impl Issuer {
    pub(crate) fn new(options: IssuerOptions) -> Self {
        let (cached, fetches) = (ArcSwapOption::empty(), Arc::default());
        Self { options, cached, fetches, failing: AtomicBool::new(false) }
    }

    /// The key called `id` for `algorithm`.
    pub(crate) async fn key(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: SignatureAlgorithm,
        now_ms: u64,
    ) -> Result<DecodingKey, OidcError> {
        let cached = self.cached.load_full();
        let found = cached.as_ref().and_then(|cached| cached.keys.find(id, algorithm));
        let age_ms = |cached: &Cached| now_ms.saturating_sub(cached.fetched_ms);
        let fetches = match (found, cached.as_ref().map(|cached| age_ms(cached))) {
            (Some(key), Some(age_ms)) if age_ms < FRESH_MS => return Ok(key.clone()),
            (Some(key), Some(age_ms)) if age_ms < KEEP_MS => match self.fetches.clone().try_lock_owned() {
                Ok(fetches) => fetches,
                // Somebody is fetching them; these are good enough meanwhile.
                Err(_) => return Ok(key.clone()),
            },
            _ => self.fetches.clone().lock_owned().await,
        };
        // They may have come while this waited.
        let cached = self.cached.load_full();
        let has = |cached: &Cached| cached.keys.find(id, algorithm).is_some();
        let (age_ms, has) =
            (cached.as_ref().map(|cached| age_ms(cached)), cached.as_deref().is_some_and(has));
        let plan = plan(age_ms, has, &fetches, now_ms);
        let unavailable = |reason: &Option<String>| OidcError::Unavailable {
            issuer: self.options.issuer.to_string(),
            reason: reason.clone().unwrap_or_else(|| "the fetch was interrupted".to_owned()),
        };
        let failure = match plan {
            Plan::Use | Plan::Refuse => None,
            Plan::Unknown => return Err(unavailable(&fetches.failure)),
            Plan::Renew | Plan::Seek => {
                // A task of its own: a client that goes away does not waste the fetch that others wait for.
                let fetch = Arc::clone(self).fetch(fetches, plan == Plan::Seek, now_ms);
                tokio::spawn(fetch).await.unwrap_or_else(|error| Some(error.to_string()))
            }
        };
        let cached = self.cached.load_full().filter(|cached| age_ms_kept(cached, now_ms));
        match (cached.as_ref().and_then(|cached| cached.keys.find(id, algorithm)), failure) {
            (Some(key), _) => Ok(key.clone()),
            (None, failure @ Some(_)) => Err(unavailable(&failure)),
            (None, None) => {
                let found = id.map_or_else(|| "no key".to_owned(), |id| format!("the key {}", shown(id)));
                Err(OidcError::UnknownKey { found, algorithm, issuer: self.options.issuer.to_string() })
            }
        }
    }

    /// Fetches the keys. Returns why they could not be had.
    async fn fetch(
        self: Arc<Self>,
        mut fetches: OwnedMutexGuard<Fetches>,
        seeks: bool,
        now_ms: u64,
    ) -> Option<String> {
        let had_some = self.cached.load().is_some();
        fetches.tried_ms = Some(now_ms);
        if seeks && had_some {
            fetches.missed_ms = Some(now_ms);
        }
        let issuer = &self.options.issuer;
        fetches.failure = match self.keys().await {
            Ok(keys) => {
                tracing::info!(%issuer, keys = keys.len(), "keys of an issuer were fetched");
                self.cached.store(Some(Arc::new(Cached { keys, fetched_ms: now_ms })));
                self.failing.store(false, Relaxed);
                None
            }
            Err(reason) => {
                if !self.failing.swap(true, Relaxed) {
                    let kept = if had_some { ", those that are known stay for a day" } else { "" };
                    tracing::warn!(%issuer, reason, "keys of an issuer cannot be fetched{kept}");
                }
                Some(reason)
            }
        };
        fetches.failure.clone()
    }

    async fn keys(&self) -> Result<KeySet, String> {
        let IssuerOptions { issuer, client, .. } = &self.options;
        let discovery = client.discover(issuer).await.map_err(|error| error.to_string())?;
        let place = issuer.endpoint(&discovery.jwks_uri).map_err(|error| error.to_string())?;
        let document = client.document(place).await.map_err(|error| error.to_string())?;
        KeySet::parse(&document).map_err(|error| format!("{}: {error}", shown(&discovery.jwks_uri)))
    }
}

fn age_ms_kept(cached: &Cached, now_ms: u64) -> bool {
    now_ms.saturating_sub(cached.fetched_ms) < KEEP_MS
}

#[cfg(test)]
mod tests;
