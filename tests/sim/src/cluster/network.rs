//! What is between nodes and their broker: connections on which everything is late, lost, doubled or out of
//! order, and a broker that stalls, restarts, answers from the past and loses what it acknowledged.
//!
//! Whoever drives it moves time on. Draws do not depend on the order in which the tasks of a node run: each
//! kind of message of each node has dice of its own.

mod connection;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use wasm_fn_cluster::{AskError, BrokerMessage, HeaderMap};

use super::broker::{Broker, Handled, Told};
use crate::dice::Dice;

pub(super) use self::connection::{DirectConnector, SimConnector};

/// Messages of one subscription that wait at most.
const WAITING_MAX: usize = 4096;

/// What goes wrong with single messages, as probabilities.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Weather {
    /// A question or its answer is lost.
    pub(super) lost: f64,
    /// A message between nodes, or what the broker tells of a write, is lost on the way to one node.
    pub(super) untold: f64,
    /// Such a message comes twice.
    pub(super) doubled: f64,
    /// Something takes seconds.
    pub(super) late: f64,
}

/// How one node reaches the broker.
#[derive(Debug, Default)]
struct Path {
    is_cut_to: bool,
    is_cut_from: bool,
    /// What a server answers that the others have deposed, and that does not know it.
    deposed: Option<Broker>,
    is_paused: bool,
    /// When the newest question was sent that was answered.
    asked_ms: u64,
}

/// An end of a connection, as the network has it.
struct Line {
    node: usize,
    lost: watch::Sender<bool>,
    heard: Vec<(String, mpsc::Sender<BrokerMessage>)>,
}

/// Something on its way.
enum Event {
    /// To the broker.
    Question {
        line: u64,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
        asked_ms: u64,
        answer: Option<oneshot::Sender<Result<Bytes, AskError>>>,
    },
    /// To a node.
    Answer {
        line: u64,
        asked_ms: u64,
        found: Result<Bytes, AskError>,
        answer: oneshot::Sender<Result<Bytes, AskError>>,
    },
    /// To a node that subscribed.
    Message { line: u64, told: Told, from: Option<usize> },
    /// A connection is lost.
    Lost { line: u64 },
}

/// When something arrives, and what tells it from others: the node, the kind, and the number.
type At = (u64, usize, u8, u64);

/// A message from node to node that has arrived.
pub(super) struct Heard {
    pub(super) to: usize,
    pub(super) payload: Bytes,
}

#[derive(Clone)]
pub(super) struct Network {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    seed: u64,
    now_ms: u64,
    weather: Weather,
    broker: Broker,
    /// The broker is there.
    is_up: bool,
    /// The broker does nothing until then.
    stalls_until_ms: u64,
    /// Nobody answers for JetStream until then.
    elects_until_ms: u64,
    paths: Vec<Path>,
    lines: BTreeMap<u64, Line>,
    lines_made: u64,
    events: BTreeMap<At, Event>,
    /// What waits for a path to be whole again.
    held: Vec<(At, Event)>,
    dice: BTreeMap<(usize, u8), (Dice, u64)>,
    happened: BTreeMap<&'static str, u64>,
}

impl std::fmt::Debug for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// A network of so many nodes.
    pub(super) fn new(seed: u64, nodes: usize, weather: Weather) -> Self {
        let inner = Inner {
            seed,
            now_ms: 0,
            weather,
            broker: Broker::default(),
            is_up: true,
            stalls_until_ms: 0,
            elects_until_ms: 0,
            paths: (0..nodes).map(|_| Path::default()).collect(),
            lines: BTreeMap::new(),
            lines_made: 0,
            events: BTreeMap::new(),
            held: Vec::new(),
            dice: BTreeMap::new(),
            happened: BTreeMap::new(),
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everything arrive that does so until `now_ms`. Gives what nodes heard of others.
    pub(super) fn move_on(&self, now_ms: u64) -> Vec<Heard> {
        let mut inner = self.lock();
        let mut heard = Vec::new();
        while let Some(entry) = inner.events.first_entry().filter(|entry| entry.key().0 <= now_ms) {
            let (at, event) = entry.remove_entry();
            inner.now_ms = inner.now_ms.max(at.0);
            heard.extend(inner.arrive(at, event));
        }
        inner.now_ms = now_ms;
        heard
    }

    /// What waits for a path goes on, where it is whole.
    pub(super) fn release(&self) {
        let mut inner = self.lock();
        for ((_, node, kind, number), event) in std::mem::take(&mut inner.held) {
            let now_ms = inner.now_ms;
            inner.events.insert((now_ms, node, kind, number), event);
        }
    }

    /// Cuts the ways between the broker and `node`, or mends them.
    pub(super) fn cut(&self, node: usize, to: bool, from: bool) {
        let mut inner = self.lock();
        (inner.paths[node].is_cut_to, inner.paths[node].is_cut_from) = (to, from);
    }

    pub(super) fn pause(&self, node: usize, is_paused: bool) {
        self.lock().paths[node].is_paused = is_paused;
    }

    /// A server that leads no longer answers the questions of `node` with what there is now.
    pub(super) fn depose(&self, node: usize, is_deposed: bool) {
        let mut inner = self.lock();
        inner.paths[node].deposed = is_deposed.then(|| inner.broker.clone());
    }

    pub(super) fn stall(&self, until_ms: u64) {
        self.lock().stalls_until_ms = until_ms;
    }

    /// The broker ends. What is on its way to it is lost.
    pub(super) fn stop(&self) {
        let mut inner = self.lock();
        inner.is_up = false;
        inner.events.retain(|_, event| !matches!(event, Event::Question { .. }));
        let lines: Vec<_> = inner.lines.iter().map(|(&line, known)| (line, known.node)).collect();
        for (line, node) in lines {
            let at = inner.at(node, LOST);
            inner.events.insert(at, Event::Lost { line });
        }
    }

    /// The broker is there again, without a leader until `elects_until_ms`.
    pub(super) fn start(&self, elects_until_ms: u64) {
        let mut inner = self.lock();
        (inner.is_up, inner.elects_until_ms) = (true, elects_until_ms);
    }

    /// The broker loses what it acknowledged last of what it keeps with `subject`.
    pub(super) fn lose(&self, subject: &str, count: usize, least: usize) {
        self.lock().broker.lose(subject, count, least);
    }

    /// Reads what the broker keeps.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Broker) -> T) -> T {
        read(&self.lock().broker)
    }

    /// When the newest question of `node` was sent that was answered.
    pub(super) fn asked_ms(&self, node: usize) -> u64 {
        self.lock().paths[node].asked_ms
    }

    /// What happened how often.
    pub(super) fn happened(&self) -> BTreeMap<&'static str, u64> {
        self.lock().happened.clone()
    }
}

/// Kinds of messages, for their dice.
const LOST: u8 = 0;
const TO_LOG: u8 = 1;
const TO_LEASES: u8 = 2;
const TO_PEERS: u8 = 3;
const ANSWERS: u8 = 4;
const TELLS: u8 = 5;
const CONNECTS: u8 = 6;

/// The kind of a message with `subject`.
fn kind(subject: &str) -> u8 {
    if subject.ends_with("peers") {
        TO_PEERS
    } else if subject.ends_with("COORDINATION") || subject.ends_with("leases") {
        TO_LEASES
    } else {
        TO_LOG
    }
}

impl Inner {
    fn dice(&mut self, node: usize, kind: u8) -> &mut (Dice, u64) {
        let seed = self.seed
            ^ (((node as u64 + 1) << 8) | (u64::from(kind) + 1)).wrapping_mul(0x2545_f491_4f6c_dd1d);
        self.dice.entry((node, kind)).or_insert_with(|| {
            let mut dice = Dice::new(seed);
            (Dice::new(dice.bits()), 0)
        })
    }

    /// When something of this kind arrives that is sent now.
    fn at(&mut self, node: usize, kind: u8) -> At {
        let now_ms = self.now_ms;
        self.at_from(now_ms, node, kind)
    }

    fn at_from(&mut self, sent_ms: u64, node: usize, kind: u8) -> At {
        let late = self.weather.late;
        let (dice, number) = self.dice(node, kind);
        *number += 1;
        let takes_ms = if dice.chance(late) {
            dice.within(500..=8000)
        } else if dice.chance(0.02) {
            dice.within(10..=200)
        } else {
            dice.within(1..=4)
        };
        (sent_ms + takes_ms, node, kind, *number)
    }

    fn chance(&mut self, node: usize, kind: u8, p: f64) -> bool {
        p > 0.0 && self.dice(node, kind).0.chance(p)
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    fn arrive(&mut self, at: At, event: Event) -> Option<Heard> {
        match event {
            Event::Question { line, subject, headers, payload, asked_ms, answer } => {
                let node = at.1;
                if !self.is_up || self.chance(node, at.2, self.weather.lost) {
                    self.count("lost question");
                    return None;
                }
                if self.paths[node].is_cut_to {
                    let event = Event::Question { line, subject, headers, payload, asked_ms, answer };
                    self.held.push((at, event));
                    return None;
                }
                if self.stalls_until_ms > self.now_ms {
                    let event = Event::Question { line, subject, headers, payload, asked_ms, answer };
                    self.events.insert((self.stalls_until_ms, at.1, at.2, at.3), event);
                    return None;
                }
                self.handle(node, line, asked_ms, (&subject, &headers, &payload), answer);
                None
            }
            Event::Answer { line, asked_ms, found, answer } => {
                if self.is_held(at) {
                    self.held.push((at, Event::Answer { line, asked_ms, found, answer }));
                    return None;
                }
                if self.lines.contains_key(&line) {
                    let path = &mut self.paths[at.1];
                    path.asked_ms = path.asked_ms.max(asked_ms);
                    // Who does not wait any more has lost nothing.
                    let _ = answer.send(found);
                }
                None
            }
            Event::Message { line, told, from } => {
                if self.is_held(at) {
                    self.held.push((at, Event::Message { line, told, from }));
                    return None;
                }
                let known = self.lines.get(&line)?;
                let Told { subject, headers, payload } = told;
                let (_, to) = known.heard.iter().find(|(heard, _)| *heard == subject)?;
                let message = BrokerMessage { status: None, headers, payload: payload.clone() };
                let taken = to.try_send(message).is_ok();
                let is_others = subject.ends_with("peers") && from != Some(at.1);
                (taken && is_others).then_some(Heard { to: at.1, payload })
            }
            Event::Lost { line } => {
                if self.is_held(at) {
                    self.held.push((at, Event::Lost { line }));
                } else if let Some(line) = self.lines.remove(&line) {
                    line.lost.send_replace(true);
                }
                None
            }
        }
    }

    /// Whether nothing arrives at the node of `at`.
    fn is_held(&self, at: At) -> bool {
        let path = &self.paths[at.1];
        path.is_paused || path.is_cut_from
    }

    /// Has the broker take a message.
    fn handle(
        &mut self,
        node: usize,
        line: u64,
        asked_ms: u64,
        (subject, headers, payload): (&str, &HeaderMap, &Bytes),
        answer: Option<oneshot::Sender<Result<Bytes, AskError>>>,
    ) {
        let is_question = answer.is_some();
        if is_question && self.elects_until_ms > self.now_ms {
            if let Some(answer) = answer.filter(|_| self.chance(node, ANSWERS, 0.5)) {
                self.answer(node, line, asked_ms, Err(AskError::Nobody), answer);
            }
            return;
        }
        let Handled { answer: found, told } = match &mut self.paths[node].deposed {
            Some(deposed) if is_question => {
                if deposed.is_write(subject) {
                    self.count("write to a deposed server");
                    return;
                }
                deposed.handle(subject, headers, payload)
            }
            _ => self.broker.handle(subject, headers, payload),
        };
        if let Some(told) = told {
            self.tell(node, &told);
        }
        if let (Some(answer), Some(found)) = (answer, found) {
            self.answer(node, line, asked_ms, Ok(found), answer);
        }
    }

    fn answer(
        &mut self,
        node: usize,
        line: u64,
        asked_ms: u64,
        found: Result<Bytes, AskError>,
        answer: oneshot::Sender<Result<Bytes, AskError>>,
    ) {
        if self.chance(node, ANSWERS, self.weather.lost) {
            self.count("lost answer");
            return;
        }
        let at = self.at(node, ANSWERS);
        self.events.insert(at, Event::Answer { line, asked_ms, found, answer });
    }

    /// Tells all who subscribed.
    fn tell(&mut self, from: usize, told: &Told) {
        let hears = |line: &Line| line.heard.iter().any(|(subject, _)| *subject == told.subject);
        let lines: Vec<_> =
            self.lines.iter().filter(|(_, line)| hears(line)).map(|(&no, line)| (no, line.node)).collect();
        for (line, node) in lines {
            if self.chance(node, TELLS, self.weather.untold) {
                self.count("lost message");
                continue;
            }
            let doubled = self.chance(node, TELLS, self.weather.doubled);
            if doubled {
                self.count("doubled message");
            }
            for _ in 0..=usize::from(doubled) {
                let at = self.at(node, TELLS);
                self.events.insert(at, Event::Message { line, told: told.clone(), from: Some(from) });
            }
        }
    }
}
