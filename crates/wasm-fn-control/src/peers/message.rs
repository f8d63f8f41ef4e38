//! Messages about the evidence of rollouts, as they travel between nodes.
//!
//! Nodes of two adjacent releases understand each other: a field that is missing has a default, and one that
//! is unknown is ignored. A message that cannot be read is dropped, which is as if it were lost.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasm_fn_core::{FunctionName, StageName, VersionNo, Weight};
use wasm_fn_rollout::{
    Arm, Bad, Batch, Counts, Event, JointEntry, JointMessage, Piece, RoundReport, Trapped, VoiceBits,
};

use crate::state::{RolloutId, StageKey};

/// The first byte of such a message.
pub(crate) const KIND: u8 = b'e';

/// The second byte: the version of the format.
const VERSION: u8 = 1;

/// Maximum size of a message, bytes.
const BYTES_MAX: usize = 512 << 10;

/// Maximum of a count or of a number in an order. What is above is garbled, and could not be added up.
const NUMBER_MAX: u64 = 1 << 48;

/// Maximum length of a reason, bytes.
const REASON_MAX: usize = 1_000;

/// Which gate a message is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GateId {
    /// The stage of its rollout.
    pub(crate) key: StageKey,
    /// The rollout.
    pub(crate) rollout: RolloutId,
    /// Number of the gate in the rollout.
    pub(crate) gate_no: u32,
}

/// Why a message is dropped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    /// It is too large.
    #[error("message has {0} bytes, expected at most {BYTES_MAX}")]
    TooLarge(usize),
    /// Another release sent it.
    #[error("message has format {0:?}, expected {VERSION}")]
    Version(Option<u8>),
    /// It cannot be read.
    #[error("message cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// A value is out of bounds.
    #[error("{0} of the message is out of bounds")]
    Value(&'static str),
}

#[derive(Serialize, Deserialize)]
struct WireMessage {
    function: String,
    stage: String,
    canary: u32,
    base: u32,
    started_ms: u64,
    gate_no: u32,
    instance: u64,
    #[serde(default)]
    fresh: bool,
    round: u64,
    #[serde(default)]
    wanted: u64,
    #[serde(default)]
    terms: u32,
    #[serde(default)]
    begun: [u64; 2],
    oldest: u64,
    first: u64,
    #[serde(default)]
    entries: Vec<WireEntry>,
    end: u64,
    #[serde(default)]
    asks: Vec<(u64, u64)>,
    #[serde(default)]
    failed: Option<String>,
    #[serde(default)]
    withheld: bool,
}

/// One of these. None of them is an entry of a later release.
#[derive(Default, Serialize, Deserialize)]
struct WireEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    round: Option<WireRound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trap: Option<WireTrap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    known: Option<Vec<u64>>,
}

#[derive(Serialize, Deserialize)]
struct WireRound {
    round: u64,
    next: u64,
    place: u32,
    voices: [u64; 4],
    #[serde(default)]
    pieces: Vec<WirePiece>,
}

#[derive(Serialize, Deserialize)]
struct WirePiece {
    place: u32,
    #[serde(default)]
    by_cohort: bool,
    share: u16,
    #[serde(default)]
    baseline_share: u16,
    #[serde(default)]
    voices: u64,
    #[serde(default)]
    stalled: bool,
    /// The canary, its clustered part, stable, the baseline, and the cohort.
    arms: [WireCounts; 5],
    /// The user, the number of the arm, whether clustered, and the events.
    #[serde(default)]
    users: Vec<(u64, u8, bool, u16)>,
}

#[derive(Default, Serialize, Deserialize)]
struct WireCounts {
    #[serde(default)]
    requests: u64,
    #[serde(default)]
    sampled: u64,
    /// The event's index, how many requests, and how many independent ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bad: Vec<(usize, u64, u64)>,
}

#[derive(Serialize, Deserialize)]
struct WireTrap {
    arm: u8,
    fingerprint: u64,
    user: Option<u64>,
    share: u16,
    begun: u64,
}

/// The arms, by their numbers.
const ARMS: [Arm; 4] = [Arm::Canary, Arm::Stable, Arm::Baseline, Arm::Cohort];

/// `message` about the gate `id`, as it travels.
pub(crate) fn encode(id: &GateId, message: JointMessage) -> Bytes {
    let JointMessage { instance, is_fresh, round, wanted, terms, begun, .. } = message;
    let JointMessage { oldest, first, entries, .. } = message;
    let wire = WireMessage {
        function: id.key.0.to_string(),
        stage: id.key.1.to_string(),
        canary: id.rollout.canary.number(),
        base: id.rollout.base.number(),
        started_ms: id.rollout.started_ms,
        gate_no: id.gate_no,
        instance,
        fresh: is_fresh,
        round,
        wanted,
        terms,
        begun,
        oldest,
        first,
        entries: entries.into_iter().map(WireEntry::from).collect(),
        end: message.end,
        asks: message.asks,
        failed: message.failed.map(shortened),
        withheld: message.withheld,
    };
    let mut bytes = vec![KIND, VERSION];
    serde_json::to_writer(&mut bytes, &wire).expect("it has only texts, numbers and lists");
    bytes.into()
}

/// The message in `bytes`, and which gate it is about.
pub(crate) fn decode(bytes: &[u8]) -> Result<(GateId, JointMessage), MessageError> {
    if bytes.len() > BYTES_MAX {
        return Err(MessageError::TooLarge(bytes.len()));
    }
    let [KIND, VERSION, json @ ..] = bytes else {
        return Err(MessageError::Version(bytes.get(1).copied()));
    };
    let wire: WireMessage = serde_json::from_slice(json)?;
    let numbers = [wire.round, wire.wanted, wire.oldest, wire.first, wire.end].into_iter().chain(wire.begun);
    bounded(numbers.chain(wire.asks.iter().map(|(_, number)| *number)))?;
    let version = |no| VersionNo::new(no).ok_or(MessageError::Value("version"));
    let function: FunctionName = wire.function.parse().map_err(|_| MessageError::Value("function"))?;
    let stage: StageName = wire.stage.parse().map_err(|_| MessageError::Value("stage"))?;
    let (canary, base) = (version(wire.canary)?, version(wire.base)?);
    let rollout = RolloutId { canary, base, started_ms: wire.started_ms };
    let entries = wire.entries.into_iter().map(JointEntry::try_from).collect::<Result<_, _>>()?;
    let message = JointMessage {
        instance: wire.instance,
        is_fresh: wire.fresh,
        round: wire.round,
        wanted: wire.wanted,
        terms: wire.terms,
        begun: wire.begun,
        oldest: wire.oldest,
        first: wire.first,
        entries,
        end: wire.end,
        asks: wire.asks,
        failed: wire.failed.map(shortened),
        withheld: wire.withheld,
    };
    Ok((GateId { key: (function, stage), rollout, gate_no: wire.gate_no }, message))
}

fn shortened(mut reason: String) -> String {
    let end = reason.floor_char_boundary(REASON_MAX);
    reason.truncate(end);
    reason
}

fn bounded(numbers: impl IntoIterator<Item = u64>) -> Result<(), MessageError> {
    if numbers.into_iter().all(|number| number <= NUMBER_MAX) {
        Ok(())
    } else {
        Err(MessageError::Value("number"))
    }
}

fn weight(basis_points: u16) -> Result<Weight, MessageError> {
    Weight::from_basis_points(basis_points).ok_or(MessageError::Value("share"))
}

fn number(arm: Arm) -> u8 {
    match arm {
        Arm::Canary => 0,
        Arm::Stable => 1,
        Arm::Baseline => 2,
        Arm::Cohort => 3,
    }
}

fn arm(number: u8) -> Result<Arm, MessageError> {
    ARMS.get(usize::from(number)).copied().ok_or(MessageError::Value("arm"))
}

impl From<JointEntry> for WireEntry {
    fn from(entry: JointEntry) -> Self {
        match entry {
            JointEntry::Round(report) => Self { round: Some(report.into()), ..Self::default() },
            JointEntry::Trap(trapped) => {
                let Trapped { fingerprint, user, share, begun, .. } = trapped;
                let (arm, share) = (number(trapped.arm), share.basis_points());
                Self { trap: Some(WireTrap { arm, fingerprint, user, share, begun }), ..Self::default() }
            }
            JointEntry::Known(known) => Self { known: Some(known), ..Self::default() },
        }
    }
}

impl TryFrom<WireEntry> for JointEntry {
    type Error = MessageError;

    fn try_from(wire: WireEntry) -> Result<Self, MessageError> {
        Ok(match wire {
            WireEntry { round: Some(report), .. } => Self::Round(report.try_into()?),
            WireEntry { trap: Some(WireTrap { arm: number, fingerprint, user, share, begun }), .. } => {
                bounded([begun])?;
                Self::Trap(Trapped { arm: arm(number)?, fingerprint, user, share: weight(share)?, begun })
            }
            WireEntry { known, .. } => Self::Known(known.unwrap_or_default()),
        })
    }
}

impl From<RoundReport> for WireRound {
    fn from(report: RoundReport) -> Self {
        let (place, VoiceBits(voices)) = report.voices;
        let pieces = report.pieces.iter().map(WirePiece::from).collect();
        Self { round: report.round, next: report.next, place, voices, pieces }
    }
}

impl TryFrom<WireRound> for RoundReport {
    type Error = MessageError;

    fn try_from(wire: WireRound) -> Result<Self, MessageError> {
        bounded([wire.round, wire.next])?;
        let pieces = wire.pieces.into_iter().map(Piece::try_from).collect::<Result<_, _>>()?;
        let voices = (wire.place, VoiceBits(wire.voices));
        Ok(Self { round: wire.round, next: wire.next, pieces, voices })
    }
}

impl From<&Piece> for WirePiece {
    fn from(piece: &Piece) -> Self {
        let Batch {
            share, baseline_share, canary, clustered, stable, baseline, cohort, voices, stalled, ..
        } = &piece.batch;
        let users = piece.batch.user_events();
        Self {
            place: piece.place,
            by_cohort: piece.by_cohort,
            share: share.basis_points(),
            baseline_share: baseline_share.basis_points(),
            voices: *voices,
            stalled: *stalled,
            arms: [canary, clustered, stable, baseline, cohort].map(WireCounts::from),
            users: users
                .map(|(user, arm, clustered, events)| (user, number(arm), clustered, events))
                .collect(),
        }
    }
}

impl TryFrom<WirePiece> for Piece {
    type Error = MessageError;

    fn try_from(wire: WirePiece) -> Result<Self, MessageError> {
        let mut batch = Batch::new(weight(wire.share)?, weight(wire.baseline_share)?);
        for arm in &wire.arms {
            let bad = arm.bad.iter().flat_map(|(_, requests, units)| [*requests, *units]);
            bounded(bad.chain([arm.requests, arm.sampled, wire.voices]))?;
        }
        let [canary, clustered, stable, baseline, cohort] = wire.arms.map(Counts::from);
        (batch.canary, batch.clustered, batch.stable) = (canary, clustered, stable);
        (batch.baseline, batch.cohort) = (baseline, cohort);
        (batch.voices, batch.stalled) = (wire.voices, wire.stalled);
        for (user, number, clustered, events) in wire.users {
            batch.add_user_events(user, arm(number)?, clustered, events);
        }
        Ok(Self { place: wire.place, by_cohort: wire.by_cohort, batch })
    }
}

impl From<&Counts> for WireCounts {
    fn from(counts: &Counts) -> Self {
        let bad = Event::ALL.into_iter().map(|event| (event.index(), counts.bad(event)));
        let some = bad.filter(|(_, bad)| *bad != Bad::default());
        Self {
            requests: counts.requests,
            sampled: counts.sampled,
            bad: some.map(|(index, bad)| (index, bad.requests, bad.units)).collect(),
        }
    }
}

impl From<WireCounts> for Counts {
    fn from(wire: WireCounts) -> Self {
        let mut none = Self::of(wire.requests);
        none.sampled = wire.sampled;
        wire.bad.into_iter().fold(none, |counts, (index, requests, units)| match Event::ALL.get(index) {
            Some(&event) => counts.with(event, Bad { requests, units }),
            None => counts,
        })
    }
}

#[cfg(test)]
mod tests;
