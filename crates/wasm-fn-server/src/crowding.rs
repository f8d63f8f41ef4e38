//! Warns when one sticky key has most of a function's requests, so that its users do not split.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::HeaderMap;
use wasm_fn_core::FunctionName;
use wasm_fn_router::{KEY_HEADER, Stage};

use crate::{RequestId, clock};

/// Of so many sticky requests one is looked at, so that the others pay nothing; with a stage's 125 samples for a
/// verdict, that is one after about a thousand.
const SAMPLED: u128 = 8;

/// How long nothing more is said of a function.
const QUIET: Duration = Duration::from_secs(3600);

/// When each function was warned of last, within [`QUIET`].
#[derive(Default)]
pub(crate) struct Crowding {
    warned: Mutex<HashMap<FunctionName, Instant>>,
}

impl Crowding {
    /// Hears that a request with `id` was placed by the sticky `key`, which `headers` or the address of its `client` gave.
    pub(crate) fn placed<V>(
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

    /// Whether `function` was not warned of lately; if so, it is now.
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
