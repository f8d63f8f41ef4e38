//! The evidence of all nodes of a cluster, for one gate.
//!
//! Each node's [`Feed`] takes its own requests in the order in which they began. Batches of several nodes may
//! not be added as they come: how soon a batch comes depends on how its requests ended. A canary that fails
//! in a millisecond would be heard of on every node before a stable that fails after seconds.
//!
//! So the nodes count *rounds*. A request belongs to the round in which its node was when it began. A node
//! that wants the evidence looked at begins the next round, and all others begin it when they hear of it.
//! Nobody begins another before all others said that they are in this one. The gate takes a round when all
//! requests of all nodes that began in it are known, as a whole, and the rounds in their order. What it has
//! taken is then always *all that began before a cut*. The cut does not depend on how the requests behind it
//! end, so the order of the rounds is one in which the test is valid at every prefix, as decision 18 has it
//! for one node.
//!
//! A node that is silent for [`SILENT`], or deaf for so long, is not waited for; what it had not told is
//! lost, whatever is in it. Each message has a number, so it counts once, and in its order; what is missing
//! is asked for again.

mod member;
mod outbox;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use wasm_fn_core::NodeName;

use crate::{
    Arm, Counts, Feed, Gate, GateFailure, GateState, NODES_MAX, Piece, RoundReport, Trapped, Verdict,
    VoiceBits, feed::add_piece,
};

use member::{Contribution, Member};
use outbox::Outbox;

/// How often a node tells the others that it is there, and how long a round lasts without bad events.
pub const EVERY: Duration = Duration::from_millis(100);

/// Minimum duration of a round.
const ROUND_MIN: Duration = Duration::from_millis(2);

/// Rounds that may be incomplete at a time.
const ROUNDS_MAX: u64 = 8;

/// How long a node is waited for that says nothing, or has not heard of a round.
pub const SILENT: Duration = Duration::from_secs(1);

/// How long after a slow response others may be slow for the same reason, on any node.
const SLOW: Duration = Duration::from_secs(1);

/// How often the gate starts looking for a new fault.
const RENEW_AFTER: Duration = Duration::from_secs(60);

/// What a node tells all others of one gate.
#[derive(Clone, Debug, PartialEq)]
pub struct JointMessage {
    /// The life of the sender: a number drawn at its start.
    pub instance: u64,
    /// Whether nothing has happened on it yet.
    pub is_fresh: bool,
    /// The round in which it is.
    pub round: u64,
    /// The newest round that it has heard of.
    pub wanted: u64,
    /// How many leaders the gate has had, as far as it knows.
    pub terms: u32,
    /// Requests on the canary that have begun: those with a share, and the cohort's.
    pub begun: [u64; 2],
    /// Number of the oldest entry that it can tell again.
    pub oldest: u64,
    /// Number of the first of `entries`.
    pub first: u64,
    /// What it tells, in its order.
    pub entries: Vec<JointEntry>,
    /// Number of the entry that it will have next.
    pub end: u64,
    /// Whose entries it misses, by instance, and from which number on.
    pub asks: Vec<(u64, u64)>,
    /// Why its own evidence fails the canary.
    pub failed: Option<String>,
    /// Whether the canary must get no more requests.
    pub withheld: bool,
}

/// A piece of evidence, numbered by its sender.
#[derive(Clone, Debug, PartialEq)]
pub enum JointEntry {
    /// What its requests of a round came to.
    Round(RoundReport),
    /// A trap, which counts at once.
    Trap(Trapped),
    /// Fingerprints of traps that stable has had.
    Known(Vec<u64>),
}

/// What one node contributed to the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeCounts {
    /// Which node.
    pub node: NodeName,
    /// What the canary did there.
    pub canary: Counts,
    /// What stable did there.
    pub stable: Counts,
}

/// A gate of the evidence of all nodes, on one of them.
#[derive(Debug)]
pub struct Joint {
    gate: Gate,
    name: NodeName,
    instance: u64,
    /// The place of the gate's current step.
    place: u32,
    /// The round in which requests begin here.
    round: u64,
    /// The newest round that was heard of.
    wanted: u64,
    /// The oldest round that the gate has not taken.
    next: u64,
    entered: Instant,
    own: Contribution,
    begun: [u64; 2],
    members: BTreeMap<NodeName, Member>,
    outbox: Outbox,
    voices: VoiceBits,
    /// How many of them the gate has counted.
    voices_counted: u64,
    slow_until: Option<Instant>,
    renewed: Instant,
    terms: u32,
    term: Option<u32>,
    urgent: bool,
    busy: bool,
    is_fresh: bool,
    /// When the last message was made, unless there is something new to tell.
    told: Option<Instant>,
    failed: Option<String>,
    failed_elsewhere: Option<(NodeName, String)>,
    withheld: bool,
    counts: BTreeMap<NodeName, [Counts; 2]>,
}

impl Joint {
    /// The first round.
    pub const FIRST_ROUND: u64 = 1;

    /// Collects evidence for `gate`, whose scope is [`Joint`](crate::GateScope::Joint), at `place` of the
    /// plan, by cohort or not, on the node `name`. `instance` is a random number of this life of the node.
    pub fn new(
        mut gate: Gate,
        place: u32,
        by_cohort: bool,
        name: NodeName,
        instance: u64,
        now: Instant,
    ) -> Self {
        gate.set_by_cohort(by_cohort);
        Self {
            gate,
            name,
            instance,
            place,
            round: Self::FIRST_ROUND,
            wanted: Self::FIRST_ROUND,
            next: Self::FIRST_ROUND,
            entered: now,
            own: Contribution::from(Self::FIRST_ROUND),
            begun: [0; 2],
            members: BTreeMap::new(),
            outbox: Outbox::default(),
            voices: VoiceBits::default(),
            voices_counted: 0,
            slow_until: None,
            renewed: now,
            terms: 0,
            term: None,
            urgent: false,
            busy: false,
            is_fresh: true,
            told: None,
            failed: None,
            failed_elsewhere: None,
            withheld: false,
            counts: BTreeMap::new(),
        }
    }

    /// Takes what `feed` has, begins a round if that is due, and lets the gate take what is complete at
    /// `now`. Returns what to tell the others now; call it again until there is nothing.
    pub fn turn(&mut self, feed: &Feed, now: Instant) -> Option<JointMessage> {
        self.collect(feed, now);
        let next = if self.may_begin(now) { self.round.saturating_add(1) } else { self.wanted };
        if next > self.round && feed.begin_round(next, now) {
            (self.round, self.wanted, self.entered) = (next, next, now);
            (self.urgent, self.told) = (false, None);
            self.collect(feed, now);
        }
        self.advance(now);
        self.message(now)
    }

    /// How long to wait for the next [`turn`](Self::turn) if nothing is heard meanwhile.
    pub fn waits(&self) -> Duration {
        let soon = self.urgent || self.wanted > self.round || self.members.values().any(Member::misses);
        if soon { ROUND_MIN } else { EVERY }
    }

    /// Takes a message of the node `from`. [`turn`](Self::turn) must follow.
    pub fn hear(&mut self, feed: &Feed, from: &NodeName, message: JointMessage, now: Instant) {
        if *from == self.name || message.round > self.round.saturating_add(Member::AHEAD_MAX) {
            return;
        }
        let (is_fresh, full) = (message.is_fresh, self.members.len() + 1 >= NODES_MAX);
        let is_new = match self.members.get_mut(from) {
            Some(member) if member.is_of_earlier_life(&message) => return,
            Some(member) => member.meet(&message, self.round, now),
            None if full => return,
            None => {
                self.members.insert(from.clone(), Member::new(&message, None, now));
                true
            }
        };
        let Some(member) = self.members.get_mut(from) else { return };
        member.note(&message, now);
        for (_, number) in message.asks.iter().filter(|(instance, _)| *instance == self.instance) {
            self.outbox.tell_again_from(*number);
        }
        let known: Vec<_> = self.gate.known_traps().collect();
        if is_new && !known.is_empty() {
            self.outbox.push(JointEntry::Known(known));
        }
        if is_new || message.terms > self.terms {
            self.told = None;
        }
        self.terms = self.terms.max(message.terms);
        self.wanted = self.wanted.max(message.round);
        self.withheld |= message.withheld;
        if let Some(found) = &message.failed {
            self.failed_elsewhere.get_or_insert_with(|| (from.clone(), found.clone()));
        }
        // A trap may be why the node is heard for the first time, so it must not count.
        let skips = |entry: &JointEntry| {
            let of_canary = |trapped: &Trapped| matches!(trapped.arm, Arm::Canary | Arm::Cohort);
            is_new && !is_fresh && matches!(entry, JointEntry::Trap(trapped) if of_canary(trapped))
        };
        let entries = self.members.get_mut(from).map(|member| member.take_entries(message, now));
        for entry in entries.unwrap_or_default().into_iter().filter(|entry| !skips(entry)) {
            self.take_entry(feed, from, entry, now);
        }
    }

    /// Records a trap on this node.
    pub fn trap(&mut self, trapped: &Trapped) {
        // What is known to be no news needs not be told.
        if !self.gate.knows_trap(trapped.fingerprint) {
            self.outbox.push(JointEntry::Trap(*trapped));
            self.is_fresh = false;
        }
        let begun = &mut self.begun[usize::from(trapped.arm == Arm::Cohort)];
        *begun = (*begun).max(trapped.begun);
        self.take_trap(trapped);
    }

    /// Lets this node's gate fail the canary: the node leads the rollout.
    pub fn lead(&mut self) {
        let term = *self.term.get_or_insert_with(|| {
            self.told = None;
            self.terms = self.terms.saturating_add(1);
            self.terms
        });
        self.gate.lead(term);
    }

    /// Keeps this node's gate from failing the canary: another node leads the rollout, or none.
    pub fn follow(&mut self) {
        self.gate.follow();
    }

    /// Records that this node's own evidence fails the canary, for the reason `found`.
    pub fn fail(&mut self, found: String) {
        if self.failed.is_none() {
            (self.failed, self.told) = (Some(found), None);
        }
    }

    /// Tells all others to send the canary no more requests.
    pub fn withhold(&mut self) {
        if !std::mem::replace(&mut self.withheld, true) {
            self.told = None;
        }
    }

    /// Whether some node said that the canary must get no more requests.
    pub fn is_withheld(&self) -> bool {
        self.withheld
    }

    /// The verdict on the step at `place`, by cohort or not.
    pub fn verdict(&self, place: u32, by_cohort: bool) -> Verdict {
        let own = self.failed.as_ref().map(|found| (&self.name, found));
        let elsewhere = self.failed_elsewhere.as_ref().map(|(node, found)| (node, found));
        if let Some((node, found)) = own.or(elsewhere) {
            return Verdict::Fail(GateFailure::Elsewhere { node: node.clone(), found: found.clone() });
        }
        if place > self.place { self.gate.verdict_of_next_step(by_cohort) } else { self.gate.verdict() }
    }

    /// Requests of the canary in the step at `place`.
    pub fn step_requests(&self, place: u32) -> u64 {
        if place > self.place { 0 } else { self.gate.step_requests() }
    }

    /// The gate.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The state of the gate.
    pub fn state(&self) -> GateState {
        self.gate.state()
    }

    /// What each node contributed, as far as the gate has taken it.
    pub fn nodes(&self) -> impl Iterator<Item = NodeCounts> {
        let each = |(node, [canary, stable]): (&NodeName, &[Counts; 2])| NodeCounts {
            node: node.clone(),
            canary: *canary,
            stable: *stable,
        };
        self.counts.iter().map(each)
    }

    fn collect(&mut self, feed: &Feed, now: Instant) {
        let drained = feed.drain(now);
        self.urgent |= drained.urgent;
        self.busy = drained.busy;
        self.is_fresh &= !drained.urgent && drained.reports.is_empty();
        for (own, begun) in self.begun.iter_mut().zip(drained.begun) {
            *own = (*own).max(begun);
        }
        for report in drained.reports {
            self.own.take(&report, self.next);
            self.outbox.push(JointEntry::Round(report));
        }
    }

    /// Whether this node may begin the next round, and has a reason to.
    fn may_begin(&self, now: Instant) -> bool {
        let lasted = now.saturating_duration_since(self.entered);
        let due = (self.urgent && lasted >= ROUND_MIN) || (self.busy && lasted >= EVERY);
        due && self.wanted <= self.round && self.round - self.next < ROUNDS_MAX && self.all_in(now)
    }

    /// Whether all nodes are in this round.
    fn all_in(&self, now: Instant) -> bool {
        self.live(now).all(|member| member.round >= self.round)
    }

    fn live(&self, now: Instant) -> impl Iterator<Item = &Member> {
        self.members.values().filter(move |member| member.is_live(self.round, self.entered, now))
    }

    /// Lets the gate take the rounds that are complete.
    fn advance(&mut self, now: Instant) {
        let (round, entered) = (self.round, self.entered);
        let silent = self.members.values_mut().filter(|member| !member.is_live(round, entered, now));
        silent.for_each(Member::leave);
        let told = self.live(now).map(|member| member.contribution.reported);
        let complete = told.fold(self.own.reported.min(self.round), u64::min);
        let all = self.members.values().map(|member| &member.contribution).chain([&self.own]);
        let rounds: BTreeSet<_> = all
            .flat_map(|contribution| contribution.rounds.range(..complete))
            .map(|(&round, _)| round)
            .collect();
        for round in rounds {
            self.take_round(round, now);
        }
        self.next = self.next.max(complete);
    }

    fn take_round(&mut self, round: u64, now: Instant) {
        let own = (&self.name, &mut self.own);
        let others = self.members.iter_mut().map(|(name, member)| (name, &mut member.contribution));
        let (mut pieces, mut voices) = (Vec::new(), Vec::new());
        for (name, contribution) in others.chain([own]) {
            let Some(report) = contribution.rounds.remove(&round) else { continue };
            if self.counts.len() < NODES_MAX || self.counts.contains_key(name) {
                let [canary, stable] = self.counts.entry(name.clone()).or_default();
                for Piece { batch, .. } in &report.pieces {
                    canary.add(&batch.of(Arm::Canary).and(&batch.cohort));
                    stable.add(&batch.stable.and(&batch.baseline));
                }
            }
            voices.push(report.voices);
            report.pieces.into_iter().for_each(|piece| add_piece(&mut pieces, piece));
        }
        if now.saturating_duration_since(self.renewed) >= RENEW_AFTER {
            self.renewed = now;
            self.gate.renew();
        }
        if let Some(newest) = pieces.iter().max_by_key(|piece| piece.place).filter(|it| it.place > self.place)
        {
            self.place = newest.place;
            self.gate.step();
            self.gate.set_by_cohort(newest.by_cohort);
            (self.voices, self.voices_counted) = (VoiceBits::default(), 0);
        }
        let of_step = voices.iter().filter(|(place, _)| *place == self.place);
        of_step.for_each(|(_, voices)| self.voices.unite(voices));
        for piece in pieces.iter_mut().filter(|piece| piece.batch.has_slow()) {
            // One cause may make responses of several nodes slow, and counts once.
            piece.batch.stalled = self.slow_until.is_some_and(|until| now < until);
            if !piece.batch.stalled {
                self.slow_until = now.checked_add(SLOW);
            }
        }
        if let Some(piece) = pieces.iter_mut().find(|piece| piece.place == self.place) {
            let heard = self.voices.count();
            let new = heard.saturating_sub(self.voices_counted);
            piece.batch.voices = piece.batch.voices.saturating_add(new);
            self.voices_counted = self.voices_counted.max(heard);
        }
        let batches: Vec<_> =
            pieces.into_iter().map(|piece| (piece.batch, piece.place == self.place)).collect();
        self.gate.observe_all(&batches);
    }

    fn take_entry(&mut self, feed: &Feed, from: &NodeName, entry: JointEntry, now: Instant) {
        match entry {
            JointEntry::Round(report) => {
                if report.pieces.iter().any(|piece| piece.batch.has_slow()) {
                    feed.share_slow(now);
                }
                if let Some(member) = self.members.get_mut(from) {
                    member.contribution.take(&report, self.next);
                }
            }
            JointEntry::Trap(trapped) => self.take_trap(&trapped),
            JointEntry::Known(known) => {
                for fingerprint in known {
                    let (arm, share) = (Arm::Stable, wasm_fn_core::Weight::ZERO);
                    self.gate.trap(&Trapped { arm, fingerprint, user: None, share, begun: 0 });
                }
            }
        }
    }

    /// Records a trap on any node, among all requests on all nodes.
    fn take_trap(&mut self, trapped: &Trapped) {
        let at = usize::from(trapped.arm == Arm::Cohort);
        let others = self.members.values().map(|member| member.begun[at]);
        let begun = others.fold(self.begun[at], u64::saturating_add).max(trapped.begun);
        self.gate.trap(&Trapped { begun, ..*trapped });
    }

    /// What to tell now.
    fn message(&mut self, now: Instant) -> Option<JointMessage> {
        let waited = self.told.is_none_or(|told| now.saturating_duration_since(told) >= EVERY);
        let asks: Vec<_> = self.members.values_mut().filter_map(|member| member.ask(now)).collect();
        // A trap tells nobody of a round: when the others begin it must not depend on what happens in it.
        let more = self.outbox.has_more() && (self.outbox.is_round_next() || self.all_in(now));
        if !waited && asks.is_empty() && !more {
            return None;
        }
        self.told = Some(now);
        let (first, entries) = self.outbox.take();
        Some(JointMessage {
            instance: self.instance,
            is_fresh: self.is_fresh,
            round: self.round,
            wanted: self.wanted,
            terms: self.terms,
            begun: self.begun,
            oldest: self.outbox.oldest(),
            first,
            entries,
            end: self.outbox.end(),
            asks,
            failed: self.failed.clone(),
            withheld: self.withheld,
        })
    }
}

#[cfg(test)]
mod tests;
