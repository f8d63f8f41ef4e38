//! When the tags that are watched are looked at, and the event that one has another digest.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use wasm_fn_events::{CloudEvent, Timestamp, Trigger, TriggerId, TriggerKind, WatchSource};
use wasm_fn_store::{EventKey, NewEvent};

use crate::{
    clock::WallClock,
    event_request::EventRequest,
    triggers::{Triggers, trigger_key},
};

/// What the names of marks begin with, before the trigger's key. Their value is the digest seen last.
pub(crate) const MARK: &str = "watch/";

/// Looks under way at a time.
const LOOKS_MAX: usize = 4;

/// Up to this, the time between looks doubles with each one that fails.
const BACKOFF_MAX: Duration = Duration::from_secs(15 * 60);

/// What is known of a watched tag since the node started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchStatus {
    /// The digest that it had when it was last seen.
    pub digest: Option<String>,
    /// When that was.
    pub seen: Option<Timestamp>,
    /// When it was looked at last.
    pub looked: Option<Timestamp>,
    /// Why the last look failed; `None` if it did not.
    pub failing: Option<String>,
}

struct Watched {
    trigger: Arc<Trigger>,
    next: Timestamp,
    failures: u32,
    is_looked_at: bool,
}

/// Has `look` look at each tag of the triggers that this node holds when it is time; `look` tells whether the
/// tag could be seen. What is held may be others when `holdings` change. Runs until it is dropped.
pub(crate) async fn run<H, L, F>(
    clock: WallClock,
    (mut triggers, mut holdings, holds): (watch::Receiver<Arc<Triggers>>, watch::Receiver<u64>, H),
    look: L,
) where
    H: Fn(&TriggerId) -> bool,
    L: Fn(TriggerId, Arc<Trigger>) -> F,
    F: Future<Output = bool> + Send + 'static,
{
    let turns = Arc::new(Semaphore::new(LOOKS_MAX));
    let mut watched: BTreeMap<TriggerId, Watched> = BTreeMap::new();
    let mut looks: JoinSet<(TriggerId, Arc<Trigger>, bool)> = JoinSet::new();
    loop {
        let now = clock.now();
        holdings.mark_unchanged();
        update(&mut watched, &triggers.borrow_and_update().clone(), &holds, now);
        for (id, found) in &mut watched {
            if found.next <= now && !found.is_looked_at {
                found.is_looked_at = true;
                let (id, trigger, turns) = (id.clone(), Arc::clone(&found.trigger), Arc::clone(&turns));
                let seen = look(id.clone(), Arc::clone(&trigger));
                looks.spawn(async move {
                    let _turn = turns.acquire().await;
                    let has_seen = seen.await;
                    (id, trigger, has_seen)
                });
            }
        }
        let waiting = watched.values().filter(|found| !found.is_looked_at);
        let next = waiting.map(|found| found.next).min();
        tokio::select! {
            () = clock.sleep(next) => {}
            Some(looked) = looks.join_next() => {
                let Ok((id, trigger, has_seen)) = looked else { continue };
                // One that was replaced meanwhile is looked at anew.
                if let Some(found) = watched.get_mut(&id)
                    && Arc::ptr_eq(&found.trigger, &trigger)
                {
                    found.failures = if has_seen { 0 } else { found.failures.saturating_add(1) };
                    let every = source(&trigger).map_or(BACKOFF_MAX, WatchSource::every);
                    let wait = wait(every, found.failures).mul_f64(rand::random_range(0.9..1.1));
                    found.next = clock.now().saturating_add(wait);
                    found.is_looked_at = false;
                }
            }
            changed = triggers.changed() => if changed.is_err() { return },
            Ok(()) = holdings.changed() => {}
        }
    }
}

/// Takes over what `triggers` has and this node holds. A tag that is new here is looked at now.
fn update(
    watched: &mut BTreeMap<TriggerId, Watched>,
    triggers: &Triggers,
    holds: impl Fn(&TriggerId) -> bool,
    now: Timestamp,
) {
    let current = |id: &TriggerId| {
        Some(&triggers.triggers.get(id)?.trigger).filter(|of| source(of).is_some() && holds(id))
    };
    watched.retain(|id, found| current(id).is_some_and(|trigger| Arc::ptr_eq(trigger, &found.trigger)));
    for (id, active) in &triggers.triggers {
        if source(&active.trigger).is_some() && !watched.contains_key(id) && holds(id) {
            let trigger = Arc::clone(&active.trigger);
            watched.insert(id.clone(), Watched { trigger, next: now, failures: 0, is_looked_at: false });
        }
    }
}

/// What `trigger` watches, unless it is paused.
pub(crate) fn source(trigger: &Trigger) -> Option<&WatchSource> {
    match &trigger.kind {
        TriggerKind::Watch(source) if trigger.paused.is_none() => Some(source),
        _ => None,
    }
}

/// The time until the next look, after so many failures one after the other.
fn wait(every: Duration, failures: u32) -> Duration {
    let factor = 2_u32.saturating_pow(failures);
    every.saturating_mul(factor).min(every.max(BACKOFF_MAX))
}

/// The event that the tag of `watch` has another `digest`.
pub(crate) fn event(
    id: &TriggerId,
    trigger: &Trigger,
    watch: &WatchSource,
    digest: &str,
    now: Timestamp,
) -> NewEvent {
    let happened = CloudEvent::artifact_changed(id, watch.artifact(), digest, now);
    let key = EventKey { trigger: trigger_key(id), id: happened.id.as_str().to_owned() };
    let body = EventRequest::of_event(&id.name, &trigger.path, happened).encode();
    NewEvent { key, due_ms: now.unix_ms(), ordering_key: None, body }
}

#[cfg(test)]
mod tests;
