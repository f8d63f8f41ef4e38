//! What the other nodes of a cluster are told of the evidence.
//!
//! The nodes count their requests in *rounds*: a request belongs to the round in which it began. A round's
//! report is complete when the gate has taken all epochs that began in it.

use std::{sync::atomic::Ordering::SeqCst, time::Instant};

use super::{Arm, Batch, Feed, Inner, cluster};

/// Maximum number of different shares and places in one report.
const PIECES_MAX: usize = 32;

/// Maximum number of users with events in one report.
const USERS_MAX: usize = 2_000;

/// The users of a step, as the bits that their keys set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoiceBits(pub [u64; 4]);

/// What one node's gate took of requests under the same shares.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// The place of the plan; later places have greater numbers.
    pub place: u32,
    /// Whether that place's requests are those of a cohort.
    pub by_cohort: bool,
    /// What happened. Its voices are only the requests that drew the canary.
    pub batch: Batch,
}

/// What one node's requests of a round came to.
#[derive(Clone, Debug, PartialEq)]
pub struct RoundReport {
    /// The round in which they began.
    pub round: u64,
    /// The node's next round. Those between the two it never was in.
    pub next: u64,
    /// What happened, by shares and places.
    pub pieces: Vec<Piece>,
    /// The place in which the node is, and the users of the canary there so far.
    pub voices: (u32, VoiceBits),
}

/// What a feed has for the other nodes.
#[derive(Debug, Default)]
pub struct Drained {
    /// Rounds that are complete, in their order.
    pub reports: Vec<RoundReport>,
    /// Whether something bad happened on the canary since the last time.
    pub urgent: bool,
    /// Whether requests have begun in the current round, or others are not reported yet.
    pub busy: bool,
    /// Requests on the canary that have begun: those with a share, and the cohort's.
    pub begun: [u64; 2],
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) round: u64,
    pub(super) place: u32,
}

/// What is told and not drained yet.
pub(super) struct Told {
    /// The oldest round that is not complete.
    round: u64,
    pieces: Vec<Piece>,
    complete: Vec<RoundReport>,
    urgent: bool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Feed {
    /// Keeps what the gate takes, for other nodes, from round `round` at `place` of the plan. `wake` is
    /// called when there is something that should not wait.
    #[must_use]
    pub fn telling(self, round: u64, place: u32, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        {
            let mut inner = self.inner();
            inner.label = Label { round, place };
            let (current, label) = (self.current.load(SeqCst), inner.label);
            inner.pending(current).label = label;
            let (pieces, complete) = (Vec::new(), Vec::new());
            inner.told = Some(Box::new(Told { round, pieces, complete, urgent: false, wake }));
        }
        self
    }

    /// Begins `round` for requests that begin from now on. False if there is no room for another epoch.
    #[must_use]
    pub fn begin_round(&self, round: u64, at: Instant) -> bool {
        let mut inner = self.inner();
        if round <= inner.label.round {
            return true;
        }
        self.advance(&mut inner, at);
        let before = std::mem::replace(&mut inner.label.round, round);
        let current = self.current.load(SeqCst);
        if !self.slot(current).has_begun() {
            inner.pending(current).label.round = round;
            return true;
        }
        if !self.close(&mut inner, at) {
            inner.label.round = before;
            return false;
        }
        self.advance(&mut inner, at);
        true
    }

    /// Takes what there is for other nodes at `now`.
    pub fn drain(&self, now: Instant) -> Drained {
        let begun = [Arm::Canary, Arm::Cohort].map(|arm| self.begun(arm));
        let mut inner = self.inner();
        self.advance(&mut inner, now);
        let round = inner.oldest_label().round;
        let voices = (inner.label.place, VoiceBits(self.voices.bits()));
        let current = self.current.load(SeqCst);
        let open = current != inner.tail || self.slot(current).has_begun();
        let Some(told) = &mut inner.told else { return Drained { begun, ..Drained::default() } };
        told.complete(round);
        let mut reports = std::mem::take(&mut told.complete);
        reports.iter_mut().for_each(|report| report.voices = voices);
        let busy = open || !told.pieces.is_empty();
        Drained { reports, urgent: std::mem::take(&mut told.urgent), busy, begun }
    }

    /// Takes note that a response on another node was slow. Other responses may be so for the same reason.
    pub fn share_slow(&self, at: Instant) {
        self.clusters.begin(at);
        let mut inner = self.inner();
        inner.slow_until = inner.slow_until.max(at.checked_add(cluster::LENGTH));
    }
}

impl Inner {
    /// Where the oldest epoch belongs that the gate has not taken.
    pub(super) fn oldest_label(&mut self) -> Label {
        let tail = self.tail;
        self.pending(tail).label
    }

    /// Has the others told soon.
    pub(super) fn hurry(&mut self) {
        if let Some(told) = &mut self.told {
            told.urgent = true;
            (told.wake)();
        }
    }

    /// Wakes those who wait for a round if it is complete.
    pub(super) fn note_complete(&mut self) {
        let round = self.oldest_label().round;
        if let Some(told) = self.told.as_ref().filter(|told| told.round < round) {
            (told.wake)();
        }
    }

    /// Keeps what the gate took of `label`, for the others; `drawn` are those who drew the canary.
    pub(super) fn tell(&mut self, mut batch: Batch, drawn: u64, by_cohort: bool, label: Label) {
        let Some(told) = &mut self.told else { return };
        told.complete(label.round);
        batch.voices = drawn;
        add(&mut told.pieces, Piece { place: label.place, by_cohort, batch });
    }
}

impl Told {
    /// Completes what comes before `round`.
    fn complete(&mut self, round: u64) {
        if round <= self.round {
            return;
        }
        let mut pieces = std::mem::take(&mut self.pieces);
        bound_users(&mut pieces);
        let voices = (0, VoiceBits::default());
        self.complete.push(RoundReport { round: self.round, next: round, pieces, voices });
        self.round = round;
    }
}

impl Piece {
    /// Whether both can be one.
    fn is_like(&self, other: &Self) -> bool {
        let key = |piece: &Self| {
            let Batch { share, baseline_share, stalled, .. } = piece.batch;
            (piece.place, piece.by_cohort, share, baseline_share, stalled)
        };
        key(self) == key(other)
    }
}

/// Adds `piece` to `pieces`. There are few different ones, unless the shares change all the time.
pub(crate) fn add(pieces: &mut Vec<Piece>, piece: Piece) {
    if let Some(like) = pieces.iter_mut().find(|like| like.is_like(&piece)) {
        like.batch.merge(&piece.batch);
    } else if pieces.len() < PIECES_MAX {
        pieces.push(piece);
    }
}

/// Forgets users of `pieces` above the maximum, by their keys alone.
fn bound_users(pieces: &mut [Piece]) {
    for halvings in 1..=u64::BITS {
        if pieces.iter().map(|piece| piece.batch.users_len()).sum::<usize>() <= USERS_MAX {
            return;
        }
        pieces.iter_mut().for_each(|piece| piece.batch.halve_users(halvings));
    }
}
