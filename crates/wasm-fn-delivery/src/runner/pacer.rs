//! When deliveries may begin, by the rates of their triggers.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use wasm_fn_events::{Rate, RateLimiter, Timestamp};

/// Holds back deliveries of triggers that have a rate.
#[derive(Debug, Default)]
pub(crate) struct Pacer(Mutex<Paced>);

#[derive(Debug, Default)]
struct Paced {
    limiters: HashMap<String, (Rate, RateLimiter)>,
    /// When the first of those may begin that were held back in this round.
    next: Option<Timestamp>,
}

impl Pacer {
    fn lock(&self) -> MutexGuard<'_, Paced> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a round, in which nothing is held back yet.
    pub(crate) fn begin_round(&self) {
        self.lock().next = None;
    }

    /// Begins a delivery of the trigger `key`, which has this `rate`, at `now`. Returns whether it may begin.
    pub(crate) fn begin(&self, key: &str, rate: Rate, now: Timestamp) -> bool {
        let mut paced = self.lock();
        let Paced { limiters, next } = &mut *paced;
        let limiter = match limiters.get_mut(key) {
            Some((of, limiter)) if *of == rate => limiter,
            _ => {
                limiters.insert(key.to_owned(), (rate, RateLimiter::new(rate)));
                &mut limiters.get_mut(key).expect("it was just put there").1
            }
        };
        match limiter.begin(now) {
            Ok(()) => true,
            Err(earliest) => {
                *next = Some(next.map_or(earliest, |next| next.min(earliest)));
                false
            }
        }
    }

    /// When the first delivery may begin that was held back in this round.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.lock().next
    }

    /// Forgets triggers that are not `wanted`.
    pub(crate) fn retain(&self, wanted: impl Fn(&str) -> bool) {
        self.lock().limiters.retain(|key, _| wanted(key));
    }
}
