//! Warns when one sticky key has most of a function's requests, so that a split moves all its users at once.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderMap;
use wasm_fn_core::FunctionName;
use wasm_fn_router::{KEY_HEADER, Stage};

use super::id::RequestId;
use crate::clock;

/// One in this many sticky requests is sampled, so the others cost nothing. With 125 samples for a verdict, a
/// stage has one after about a thousand requests.
const SAMPLED: u128 = 8;

/// Time between two warnings about a function.
const QUIET: Duration = Duration::from_secs(3600);

/// When there was a warning about each function, within [`QUIET`].
#[derive(Default)]
pub(crate) struct KeySkewWarnings {
    warned: Mutex<HashMap<FunctionName, Instant>>,
}

impl KeySkewWarnings {
    /// Notes that the sticky `key`, which comes from `headers` or the address of `client`, placed the request
    /// with `id`.
    pub(crate) fn observe<V>(
        &self,
        stage: &Stage<V>,
        key: u64,
        id: RequestId,
        client: IpAddr,
        headers: &HeaderMap,
    ) {
        if !id.bits().is_multiple_of(SAMPLED) {
            return;
        }
        let Some(percent) = stage.sample(key) else { return };
        if !self.may_warn(stage.function(), clock::now()) {
            return;
        }
        let (function, stage_name) = (stage.function(), stage.name());
        if stage.sticks_to_address() && !headers.contains_key(&KEY_HEADER) {
            tracing::warn!(
                %function, stage = %stage_name, percent, %client,
                "most requests come from one address, so a split moves them all at once; \
                 if it is a proxy, name it by --trusted-proxy"
            );
        } else {
            tracing::warn!(
                %function, stage = %stage_name, percent,
                "most requests have the same sticky key, so a split moves them all at once"
            );
        }
    }

    /// Whether there was no warning about `function` lately. If so, there is one now.
    fn may_warn(&self, function: &FunctionName, now: Instant) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.retain(|_, at| now.saturating_duration_since(*at) < QUIET);
        let may = !warned.contains_key(function);
        if may {
            warned.insert(function.clone(), now);
        }
        may
    }
}

#[cfg(test)]
mod tests;
