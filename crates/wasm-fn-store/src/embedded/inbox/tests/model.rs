//! Any sequence of operations leaves the inbox as a plain model of it, also across restarts.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Put { trigger: u8, id: u8, due_in: u64, ordering_key: Option<u8> },
    Take { events_max: usize },
    Finish { nth: usize, finish: u8, due_in: u64 },
    Redrive { trigger: u8 },
    Discard { trigger: u8 },
    Forget { trigger: u8 },
    Wait { ms: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let trigger = 0_u8..3;
    prop_oneof![
        8 => (trigger.clone(), 0_u8..12, 0_u64..30, proptest::option::of(0_u8..2)).prop_map(
            |(trigger, id, due_in, ordering_key)| Step::Put { trigger, id, due_in, ordering_key }
        ),
        6 => (1_usize..5).prop_map(|events_max| Step::Take { events_max }),
        8 => (0_usize..8, 0_u8..6, 0_u64..30)
            .prop_map(|(nth, finish, due_in)| Step::Finish { nth, finish, due_in }),
        1 => trigger.clone().prop_map(|trigger| Step::Redrive { trigger }),
        1 => trigger.clone().prop_map(|trigger| Step::Discard { trigger }),
        1 => trigger.prop_map(|trigger| Step::Forget { trigger }),
        4 => (1_u64..40).prop_map(|ms| Step::Wait { ms }),
        1 => Just(Step::Reopen),
    ]
}

#[derive(Clone, Debug)]
struct Expected {
    id: String,
    due_ms: u64,
    ordering_key: Option<String>,
    attempts: u32,
    arrived: u64,
}

#[derive(Default)]
struct Model {
    waiting: BTreeMap<String, Vec<Expected>>,
    dead: BTreeMap<String, Vec<Expected>>,
    remembered: BTreeMap<String, VecDeque<(u64, String)>>,
    in_flight: Vec<(Receipt, String, String)>,
    arrivals: u64,
}

impl Model {
    fn is_known(&self, now_ms: u64, trigger: &str, id: &str) -> bool {
        let has = |events: &BTreeMap<String, Vec<Expected>>| {
            events.get(trigger).is_some_and(|events| events.iter().any(|event| event.id == id))
        };
        let is_remembered = self.remembered.get(trigger).is_some_and(|ids| {
            ids.iter().any(|(at_ms, other)| other == id && now_ms - at_ms < LIMITS.remembered_ms)
        });
        has(&self.waiting) || has(&self.dead) || is_remembered
    }

    fn put(&mut self, trigger: &str, mut event: Expected) {
        self.arrivals += 1;
        if let Some(ids) = self.remembered.get_mut(trigger) {
            ids.retain(|(_, id)| *id != event.id);
        }
        event.arrived = self.arrivals;
        self.waiting.entry(trigger.to_owned()).or_default().push(event);
    }

    fn remember(&mut self, now_ms: u64, trigger: &str, id: String) {
        let ids = self.remembered.entry(trigger.to_owned()).or_default();
        ids.push_back((now_ms, id));
        while ids.len() as u64 > LIMITS.remembered_max {
            ids.pop_front();
        }
    }

    fn is_blocked(&self, trigger: &str) -> bool {
        self.dead.get(trigger).is_some_and(|dead| dead.len() as u64 >= LIMITS.dead_max)
    }

    fn is_in_flight(&self, trigger: &str, id: &str) -> bool {
        self.in_flight.iter().any(|(_, other, taken)| other == trigger && taken == id)
    }

    /// The events of `trigger` that may be taken, the first one first.
    fn eligible(&self, now_ms: u64, trigger: &str) -> Vec<&Expected> {
        let running = self.in_flight.iter().filter(|(_, other, _)| other == trigger).count();
        if self.is_blocked(trigger) || running >= 2 {
            return Vec::new();
        }
        let waiting = self.waiting.get(trigger).map_or(&[][..], Vec::as_slice);
        let mut keys = BTreeSet::new();
        // In the order of arrival.
        let first_of_key = waiting.iter().filter(|event| match &event.ordering_key {
            Some(key) => keys.insert(key.clone()),
            None => true,
        });
        let eligible =
            first_of_key.filter(|event| event.due_ms <= now_ms && !self.is_in_flight(trigger, &event.id));
        let mut eligible = Vec::from_iter(eligible);
        eligible.sort_by_key(|event| (event.due_ms, event.arrived));
        eligible
    }
}

fn trigger_name(trigger: u8) -> String {
    format!("t{trigger}")
}

async fn apply(inbox: &EmbeddedInbox, model: &mut Model, now_ms: u64, step: &Step) {
    match step {
        Step::Put { trigger, id, due_in, ordering_key } => {
            let (trigger, id) = (trigger_name(*trigger), format!("e{id}"));
            let ordering_key = ordering_key.map(|key| format!("k{key}"));
            let due_ms = now_ms + due_in;
            let event = NewEvent { due_ms, ordering_key: ordering_key.clone(), ..event(&trigger, &id) };
            let put = inbox.put(now_ms, vec![event], Vec::new()).await.unwrap();
            if model.is_known(now_ms, &trigger, &id) {
                assert_eq!(put, [Put::Duplicate]);
            } else {
                assert_eq!(put, [Put::Accepted]);
                model.put(&trigger, Expected { id, due_ms, ordering_key, attempts: 0, arrived: 0 });
            }
        }
        Step::Take { events_max } => {
            let take = Take {
                events_max: *events_max,
                bytes_max: u64::MAX,
                admit: |_: &str, in_flight| in_flight < 2,
            };
            let taken = inbox.take(now_ms, take).await.unwrap();
            for event in &taken {
                let expected = model.eligible(now_ms, &event.trigger);
                let expected = expected.first().expect("what is taken may be taken");
                let (id, attempts) = (expected.id.clone(), expected.attempts);
                assert_eq!((&event.id, event.attempt), (&id, attempts + 1));
                assert_eq!(event.body, format!("body of {id}"));
                model.in_flight.push((event.receipt, event.trigger.to_string(), id));
            }
            if taken.len() < *events_max {
                let left =
                    (0..3).map(trigger_name).find(|trigger| !model.eligible(now_ms, trigger).is_empty());
                assert_eq!(left, None, "less was taken than there is");
            }
        }
        Step::Finish { nth, finish, due_in } => {
            if model.in_flight.is_empty() {
                return;
            }
            let (receipt, trigger, id) = model.in_flight.remove(nth % model.in_flight.len());
            finish_one(inbox, model, now_ms, (receipt, &trigger, &id), (*finish, *due_in)).await;
            flush(inbox).await;
        }
        Step::Redrive { trigger } => {
            let trigger = trigger_name(*trigger);
            let letters = model.dead.remove(&trigger).unwrap_or_default();
            let count = inbox.redrive(now_ms, &trigger, DeadLetters::All).await.unwrap();
            assert_eq!(count, letters.len() as u64);
            for letter in letters {
                model.put(&trigger, Expected { due_ms: now_ms, attempts: 0, ..letter });
            }
        }
        Step::Discard { trigger } => {
            let trigger = trigger_name(*trigger);
            let letters = model.dead.remove(&trigger).unwrap_or_default();
            let ids = letters.iter().map(|letter| letter.id.clone()).collect();
            let count = inbox.discard(now_ms, &trigger, DeadLetters::Ids(ids)).await.unwrap();
            assert_eq!(count, letters.len() as u64);
            for letter in letters {
                model.remember(now_ms, &trigger, letter.id);
            }
        }
        Step::Forget { trigger } => {
            let trigger = trigger_name(*trigger);
            inbox.forget(&trigger, u64::MAX).await.unwrap();
            model.waiting.remove(&trigger);
            model.dead.remove(&trigger);
            model.remembered.remove(&trigger);
            model.in_flight.retain(|(_, other, _)| *other != trigger);
        }
        Step::Wait { .. } | Step::Reopen => {}
    }
}

async fn finish_one(
    inbox: &EmbeddedInbox,
    model: &mut Model,
    now_ms: u64,
    (receipt, trigger, id): (Receipt, &str, &str),
    (finish, due_in): (u8, u64),
) {
    let is_blocked = model.is_blocked(trigger);
    let waiting = model.waiting.get_mut(trigger).unwrap();
    let at = waiting.iter().position(|event| event.id == id).unwrap();
    match finish {
        0 | 1 => {
            let due_ms = now_ms + due_in;
            inbox.finish(now_ms, receipt, retry(due_ms)).await.unwrap();
            waiting[at].due_ms = due_ms;
            waiting[at].attempts += 1;
        }
        2 if is_blocked => {
            let error = inbox.finish(now_ms, receipt, dead()).await.unwrap_err();
            assert!(matches!(error, InboxError::Full { .. }), "{error}");
            waiting[at].due_ms = now_ms;
            waiting[at].attempts += 1;
        }
        2 => {
            inbox.finish(now_ms, receipt, dead()).await.unwrap();
            let mut letter = waiting.remove(at);
            letter.attempts += 1;
            let dead = model.dead.entry(trigger.to_owned()).or_default();
            dead.push(letter);
            dead.sort_by_key(|letter| letter.arrived);
        }
        3 => inbox.finish(now_ms, receipt, Finish::Released).await.unwrap(),
        _ => {
            inbox.finish(now_ms, receipt, acknowledged()).await.unwrap();
            let event = waiting.remove(at);
            model.remember(now_ms, trigger, event.id);
        }
    }
}

async fn is_as_expected(inbox: &EmbeddedInbox, model: &Model) {
    let listed = |events: Vec<StoredEvent>| events.into_iter().map(|event| event.id).collect::<Vec<_>>();
    let expected = |events: &BTreeMap<String, Vec<Expected>>, trigger: &str| {
        let events = events.get(trigger).into_iter().flatten();
        events.map(|event| event.id.clone()).collect::<Vec<_>>()
    };
    for trigger in (0..3).map(trigger_name) {
        assert_eq!(listed(inbox.waiting(&trigger, ALL).await.unwrap()), expected(&model.waiting, &trigger));
        assert_eq!(listed(inbox.dead_letters(&trigger, ALL).await.unwrap()), expected(&model.dead, &trigger));
    }
    for counts in inbox.counts().await.unwrap() {
        let waiting = expected(&model.waiting, &counts.trigger).len();
        let in_flight = model.in_flight.iter().filter(|(_, trigger, _)| **trigger == *counts.trigger).count();
        assert_eq!((counts.waiting, counts.in_flight), ((waiting - in_flight) as u64, in_flight as u64));
        assert_eq!(counts.dead, expected(&model.dead, &counts.trigger).len() as u64);
        assert_eq!(counts.is_blocked, model.is_blocked(&counts.trigger));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 40, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn inbox_does_what_the_model_says(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (mut inbox, mut model, mut now_ms) = (open(folder.path()), Model::default(), 1);
            for step in &steps {
                match step {
                    Step::Wait { ms } => now_ms += ms,
                    Step::Reopen => {
                        drop(inbox);
                        inbox = open(folder.path());
                        model.in_flight.clear();
                    }
                    step => apply(&inbox, &mut model, now_ms, step).await,
                }
                is_as_expected(&inbox, &model).await;
            }
        });
    }
}
