//! The triggers that a node has at a time.

use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use wasm_fn_core::{FunctionName, OrderedBy, StageName};
use wasm_fn_events::{Overlap, Rate, RetryPolicy, Timestamp, Trigger, TriggerId, TriggerKind};

/// What stands in place of a trigger's name for requests that a client sent asynchronously. No trigger has
/// it.
pub const ASYNC: &str = "@async";

/// Asynchronous requests of a stage that are in flight, at most.
const ASYNC_CONCURRENCY: usize = 100;

/// Every trigger, and every stage, since any may have asynchronous requests. Copies share what is the same.
#[derive(Clone, Debug, Default)]
pub struct Triggers {
    /// The triggers.
    pub triggers: RedBlackTreeMapSync<TriggerId, ActiveTrigger>,
    /// The stages in which something is deployed.
    pub stages: RedBlackTreeSetSync<(FunctionName, StageName)>,
    /// Those that take asynchronous requests, and by what these are in order.
    pub asynchronous: RedBlackTreeMapSync<(FunctionName, StageName), Option<OrderedBy>>,
}

/// A trigger that was decided.
#[derive(Clone, Debug)]
pub struct ActiveTrigger {
    /// The trigger.
    pub trigger: Arc<Trigger>,
    /// Since when it is as it is: ticks before that are none of its.
    pub since: Timestamp,
    /// What the path of its webhook ends with, if it has one.
    pub hook: Option<String>,
}

/// Where the events of a key go, and how.
pub(crate) struct Route<'a> {
    pub(crate) function: FunctionName,
    pub(crate) stage: StageName,
    /// `None` for asynchronous requests.
    pub(crate) trigger: Option<(&'a TriggerId, &'a Trigger)>,
    pub(crate) retry: RetryPolicy,
}

/// The key of a trigger's events in the inbox.
pub fn trigger_key(trigger: &TriggerId) -> String {
    trigger.to_string()
}

impl Triggers {
    /// How many events with `key` may be in flight, and how many deliveries may begin in a time.
    pub(crate) fn limits(&self, key: &str) -> (usize, Option<Rate>) {
        let Some(route) = self.route(key) else { return (0, None) };
        let Some((_, trigger)) = route.trigger else { return (ASYNC_CONCURRENCY, None) };
        let in_flight_max = match trigger {
            Trigger { paused: Some(_), .. } => 0,
            trigger if one_at_a_time(trigger) => 1,
            trigger => usize::try_from(trigger.concurrency_max.get()).unwrap_or(usize::MAX),
        };
        (in_flight_max, trigger.rate)
    }

    /// Whether events with `key` are handled one at a time.
    pub(crate) fn is_exclusive(&self, key: &str) -> bool {
        let Some(Route { trigger: Some((_, trigger)), .. }) = self.route(key) else { return false };
        trigger.concurrency_max.get() == 1 || one_at_a_time(trigger)
    }

    /// Where events with `key` go; `None` if its trigger or its stage is gone.
    pub(crate) fn route(&self, key: &str) -> Option<Route<'_>> {
        let mut names = key.split('/');
        let (function, stage, name) =
            (names.next()?.parse().ok()?, names.next()?.parse().ok()?, names.next()?);
        if name == ASYNC {
            let has = self.stages.contains(&(FunctionName::clone(&function), StageName::clone(&stage)));
            return has.then(|| Route { function, stage, trigger: None, retry: RetryPolicy::default() });
        }
        let id = TriggerId { function, stage, name: name.parse().ok()? };
        let (id, active) = self.triggers.get_key_value(&id)?;
        let (function, stage) = (id.function.clone(), id.stage.clone());
        Some(Route { function, stage, trigger: Some((id, &active.trigger)), retry: active.trigger.retry })
    }
}

/// Whether two events of `trigger` are never handled at the same time, whatever its concurrency.
fn one_at_a_time(trigger: &Trigger) -> bool {
    let overlaps = match &trigger.kind {
        TriggerKind::Schedule(schedule) => schedule.options().overlap == Overlap::AllowAll,
        TriggerKind::Webhook(_) | TriggerKind::Queue(_) | TriggerKind::Watch(_) => true,
    };
    trigger.deploys() || !overlaps
}
