//! Puts the ticks of schedules into the inbox when they are due.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use wasm_fn_events::{
    CloudEvent, Missed, OverlapDecision, Schedule, Tick, Timestamp, Trigger, TriggerId, TriggerKind,
};
use wasm_fn_store::{EventKey, Inbox, InboxError, Mark, NewEvent};

use crate::{
    event_request::EventRequest,
    runner::Events,
    triggers::{ActiveTrigger, Triggers, trigger_key},
};

/// What the names of marks begin with, before the trigger's key.
pub(crate) const MARK: &str = "tick/";

/// Most events in one transaction.
const BATCH_MAX: usize = 1000;

/// How long to wait after the inbox has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// The schedules of the current triggers, and when each has to be looked at.
#[derive(Default)]
struct Timetable {
    schedules: BTreeMap<TriggerId, Entry>,
    // Invariant: has each schedule that has a next tick, at that time.
    queue: BTreeSet<(Timestamp, TriggerId)>,
}

struct Entry {
    trigger: Arc<Trigger>,
    /// Up to where ticks were handled.
    since: Timestamp,
    next: Option<Timestamp>,
}

/// What a look at a schedule led to.
struct Looked {
    id: TriggerId,
    until: Timestamp,
    next: Option<Timestamp>,
    runs: Vec<NewEvent>,
    cancels: bool,
    skipped: u64,
    missed: Missed,
}

/// Runs until the process ends.
pub(crate) async fn run<I: Inbox>(events: Arc<Events<I>>) {
    let mut triggers = events.triggers.clone();
    let mut holdings = events.inbox.holdings();
    let mut timetable = Timetable::default();
    let mut current: Option<(Arc<Triggers>, u64)> = None;
    let mut marks = BTreeMap::new();
    loop {
        // Not after each batch: with many schedules, that would take longer than the batch.
        let (newest, held) = (Arc::clone(&triggers.borrow_and_update()), *holdings.borrow_and_update());
        let is_known = |(known, of): &(Arc<Triggers>, u64)| Arc::ptr_eq(known, &newest) && *of == held;
        if !current.as_ref().is_some_and(is_known) {
            // What another node has handled since is in the marks.
            if current.as_ref().is_none_or(|(_, of)| *of != held) {
                (timetable, marks) = (Timetable::default(), marks_of(&events).await);
            }
            timetable.update(&newest, &mut marks, |id| events.inbox.holds(&trigger_key(id)));
            current = Some((newest, held));
        }
        let now = events.clock.now();
        let looked = timetable.due(now, &events);
        let wake = if looked.is_empty() {
            timetable.next()
        } else if put(&events, &mut timetable, looked, now).await {
            continue;
        } else {
            Some(now.saturating_add(PAUSE))
        };
        tokio::select! {
            () = events.clock.sleep(wake) => {}
            changed = triggers.changed() => if changed.is_err() { return },
            // Without a sender, what is held stays what it is.
            Ok(()) = holdings.changed() => {}
        }
    }
}

/// Up to where the ticks of each trigger were handled, by its key.
async fn marks_of<I: Inbox>(events: &Events<I>) -> BTreeMap<String, Timestamp> {
    loop {
        match events.inbox.marks(MARK, usize::MAX).await {
            Ok(marks) => return read(marks),
            Err(error) => {
                tracing::warn!(%error, "ticks wait: the inbox cannot be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// The marks by the keys of their triggers.
fn read(marks: Vec<(String, Bytes)>) -> BTreeMap<String, Timestamp> {
    let marks = marks.into_iter().filter_map(|(name, value)| {
        let ms: u64 = std::str::from_utf8(&value).ok()?.parse().ok()?;
        Some((name.strip_prefix(MARK)?.to_owned(), Timestamp::from_unix_ms(ms)))
    });
    marks.collect()
}

impl Timetable {
    /// Takes over what `triggers` has and this node holds. A schedule that was made or resumed begins then;
    /// one that is known goes on from where it was, also across a restart, and on another node, by its mark.
    fn update(
        &mut self,
        triggers: &Triggers,
        marks: &mut BTreeMap<String, Timestamp>,
        holds: impl Fn(&TriggerId) -> bool,
    ) {
        let is_active = |id: &TriggerId| {
            let active = triggers.triggers.get(id);
            active.is_some_and(|active| schedule(&active.trigger).is_some()) && holds(id)
        };
        self.schedules.retain(|id, _| is_active(id));
        self.queue.retain(|(_, id)| is_active(id));
        for (id, ActiveTrigger { trigger, since, .. }) in &triggers.triggers {
            let Some(schedule) = schedule(trigger).filter(|_| holds(id)) else { continue };
            let known = self.schedules.get(id);
            if known.is_some_and(|entry| Arc::ptr_eq(&entry.trigger, trigger)) {
                continue;
            }
            let handled = known.map(|entry| entry.since).or(marks.remove(&trigger_key(id)));
            let since = handled.map_or(*since, |handled| handled.max(*since));
            let next = schedule.next_tick(id, since).map(|tick| tick.run_at);
            self.set(id.clone(), Entry { trigger: Arc::clone(trigger), since, next });
        }
    }

    fn set(&mut self, id: TriggerId, entry: Entry) {
        if let Some(next) = self.schedules.get(&id).and_then(|before| before.next) {
            self.queue.remove(&(next, id.clone()));
        }
        if let Some(next) = entry.next {
            self.queue.insert((next, id.clone()));
        }
        self.schedules.insert(id, entry);
    }

    fn next(&self) -> Option<Timestamp> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// Looks at the schedules that are due at `now`, until they have as many runs as fit into a transaction.
    fn due<I: Inbox>(&self, now: Timestamp, events: &Events<I>) -> Vec<Looked> {
        let mut looked = Vec::new();
        let mut runs = 0;
        for (at, id) in &self.queue {
            if *at > now || runs >= BATCH_MAX {
                break;
            }
            let Entry { trigger, since, .. } = &self.schedules[id];
            let Some(schedule) = schedule(trigger) else { continue };
            let due = schedule.due(id, *since, now);
            let next = due.next.map(|tick| tick.run_at);
            let (until, missed) = (due.until, due.missed);
            let (runs_of, cancels, skipped) = choose(id, trigger, schedule, due.ticks, events);
            runs += runs_of.len().max(1);
            looked.push(Looked { id: id.clone(), until, next, runs: runs_of, cancels, skipped, missed });
        }
        looked
    }
}

/// The ticks of `ticks` that run, whether the earlier runs are broken off, and how many ticks are skipped.
fn choose<I: Inbox>(
    id: &TriggerId,
    trigger: &Trigger,
    schedule: &Schedule,
    ticks: Vec<Tick>,
    events: &Events<I>,
) -> (Vec<NewEvent>, bool, u64) {
    let key = trigger_key(id);
    let (running, mut buffered) = events.inbox.in_progress(&key);
    let (mut runs, mut cancels, mut skipped) = (Vec::new(), false, 0);
    for tick in ticks {
        match schedule.options().overlap.decide(running, buffered) {
            OverlapDecision::Skip => {
                skipped += 1;
                continue;
            }
            OverlapDecision::CancelThenStart => {
                skipped += u64::try_from(runs.len()).unwrap_or(u64::MAX);
                runs.clear();
                (cancels, buffered) = (true, 0);
            }
            OverlapDecision::Start | OverlapDecision::Buffer => {}
        }
        buffered += 1;
        runs.push(event(id, trigger, tick));
    }
    (runs, cancels, skipped)
}

/// The event that is `tick`.
pub(crate) fn event(id: &TriggerId, trigger: &Trigger, tick: Tick) -> NewEvent {
    let happened = CloudEvent::tick(id, tick);
    let key = EventKey { trigger: trigger_key(id), id: happened.id.as_str().to_owned() };
    let body = EventRequest::of_event(&id.name, &trigger.path, happened).encode();
    NewEvent { key, due_ms: tick.run_at.unix_ms(), ordering_key: None, body }
}

fn schedule(trigger: &Trigger) -> Option<&Schedule> {
    match &trigger.kind {
        TriggerKind::Schedule(schedule) if trigger.paused.is_none() => Some(schedule),
        _ => None,
    }
}

/// Puts what `looked` found into the inbox, and moves on. Returns whether the inbox could be written to.
async fn put<I: Inbox>(
    events: &Events<I>,
    timetable: &mut Timetable,
    mut looked: Vec<Looked>,
    now: Timestamp,
) -> bool {
    let runs = looked.iter().flat_map(|looked| looked.runs.iter().cloned()).collect();
    let marks = looked.iter().map(mark).collect();
    match events.put(now, runs, marks).await {
        Ok(_) => {}
        Err(InboxError::Full { .. } | InboxError::TooLarge { .. }) => {
            // One that has no room must not hold up the others.
            for looked in &mut looked {
                if let Err(error) = events.put(now, looked.runs.clone(), vec![mark(looked)]).await {
                    let missed = u64::try_from(looked.runs.len()).unwrap_or(u64::MAX);
                    events.stats.note(&trigger_key(&looked.id), |stats| stats.missed += missed);
                    tracing::warn!(trigger = %looked.id, %error, missed, "ticks are missed");
                    looked.cancels = false;
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "ticks wait: the inbox cannot be written to");
            return false;
        }
    }
    for Looked { id, until, next, cancels, skipped, missed, .. } in looked {
        if skipped > 0 || missed.count > 0 {
            events.stats.note(&trigger_key(&id), |stats| {
                stats.skipped += skipped;
                stats.missed += missed.count;
            });
            let or_more = missed.has_more;
            tracing::info!(trigger = %id, skipped, missed = missed.count, or_more, "ticks do not run");
        }
        // Only now: what is to take the place of the earlier runs is there.
        if cancels {
            events.progress.supersede(&trigger_key(&id), now.unix_ms());
        }
        if let Some(entry) = timetable.schedules.get(&id) {
            let trigger = Arc::clone(&entry.trigger);
            timetable.set(id, Entry { trigger, since: until, next });
        }
    }
    true
}

fn mark(looked: &Looked) -> Mark {
    let (trigger, value) = (trigger_key(&looked.id), Bytes::from(looked.until.unix_ms().to_string()));
    Mark { name: format!("{MARK}{trigger}"), trigger, value: Some(value) }
}
