//! What a seed means for a cluster: how many nodes, how soon they are out of touch, and what goes wrong when.

use std::time::Duration;

use super::network::Weather;
use crate::{dice::Dice, scenario::Scenario};

/// When the first of the faults that have a moment begins, milliseconds, and how long they may begin.
const FAULTS_FROM_MS: u64 = 8000;
const FAULTS_FOR_MS: u64 = 50_000;

/// What a seed means for a cluster.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) nodes: usize,
    pub(super) lease: Duration,
    pub(super) replicas: u8,
    /// What single messages meet.
    pub(super) weather: Weather,
    /// How far the clock of each node is off, milliseconds.
    pub(super) skews_ms: Vec<i64>,
    /// What goes wrong, by when it begins.
    pub(super) faults: Vec<(u64, Fault)>,
    /// Nothing goes wrong but with single messages, so that every rollout has to end.
    pub(super) calm: bool,
}

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// A node is stopped, and its clock goes on.
    Pause { node: usize, for_ms: u64 },
    /// A node ends without a warning, and starts again.
    Crash { node: usize, for_ms: u64 },
    /// A node leaves, finishes its requests and starts again.
    Restart { node: usize, for_ms: u64 },
    /// Nothing gets from some nodes to the broker, or from it to them.
    Cut { nodes: Nodes, to: bool, from: bool, for_ms: u64 },
    /// A server answers some nodes that leads no longer and does not know it.
    Depose { nodes: Nodes, for_ms: u64 },
    /// The broker does nothing.
    Stall { for_ms: u64 },
    /// The broker ends and starts again, without a leader at first. It loses so many of the changes and of
    /// the tables of leases that it acknowledged last.
    Broker { for_ms: u64, elects_ms: u64, changes: usize, tables: usize },
}

/// Some nodes: a bit for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nodes(pub(super) u64);

impl Nodes {
    pub(super) fn has(self, node: usize) -> bool {
        self.0 >> node & 1 == 1
    }
}

impl Fault {
    /// How long it lasts.
    pub(super) fn for_ms(self) -> u64 {
        match self {
            Self::Pause { for_ms, .. }
            | Self::Crash { for_ms, .. }
            | Self::Restart { for_ms, .. }
            | Self::Cut { for_ms, .. }
            | Self::Depose { for_ms, .. }
            | Self::Stall { for_ms }
            | Self::Broker { for_ms, .. } => for_ms,
        }
    }

    /// Whether it is the broker's, and not that of nodes or of their ways to it.
    fn is_of_broker(&self) -> bool {
        matches!(self, Self::Stall { .. } | Self::Broker { .. })
    }

    /// Its name.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pause { .. } => "paused node",
            Self::Crash { .. } => "crashed node",
            Self::Restart { .. } => "restarted node",
            Self::Cut { to: true, from: true, .. } => "partition",
            Self::Cut { to: true, .. } => "partition to the broker",
            Self::Cut { .. } => "partition from the broker",
            Self::Depose { .. } => "deposed server",
            Self::Stall { .. } => "stalled broker",
            Self::Broker { changes: 0, tables: 0, .. } => "restarted broker",
            Self::Broker { changes: 0, .. } => "lost table of leases",
            Self::Broker { .. } => "lost changes",
        }
    }

    fn draw(nodes: usize, dice: &mut Dice) -> Self {
        let any = |dice: &mut Dice| {
            usize::try_from(dice.within(0..=nodes as u64 - 1)).expect("there are few nodes")
        };
        let some = |dice: &mut Dice| {
            let all = (1 << nodes) - 1;
            if dice.chance(0.6) { Nodes(1 << any(dice)) } else { Nodes(dice.bits() & all) }
        };
        let for_ms = dice.pick(&[500, 2000, 6000, 10_000, 15_000]) + dice.within(0..=1000);
        match dice.within(0..=15) {
            0..=2 => Self::Pause { node: any(dice), for_ms },
            3..=5 => Self::Crash { node: any(dice), for_ms },
            6 => Self::Restart { node: any(dice), for_ms },
            7..=10 => {
                let (to, from) = dice.pick(&[(true, true), (true, false), (false, true)]);
                let nodes = if dice.chance(0.15) { Nodes((1 << nodes) - 1) } else { some(dice) };
                Self::Cut { nodes, to, from, for_ms }
            }
            11 => Self::Depose { nodes: some(dice), for_ms },
            12 | 13 => Self::Stall { for_ms },
            _ => {
                let (changes, elects_ms) = (0, dice.within(0..=4000));
                let tables =
                    if dice.chance(0.3) { usize::try_from(dice.within(1..=9)).expect("few") } else { 0 };
                Self::Broker { for_ms: for_ms.min(6000), elects_ms, changes, tables }
            }
        }
    }
}

impl Plan {
    /// The same with so many nodes.
    pub(super) fn with_nodes(self, nodes: usize) -> Self {
        let skews_ms = self.skews_ms.iter().copied().cycle().take(nodes).collect();
        Self { nodes, skews_ms, ..self }
    }

    /// What `dice` say for `scenario`.
    pub(super) fn draw(scenario: &Scenario, dice: &mut Dice) -> Self {
        let nodes = usize::try_from(dice.pick(&[2, 3, 3, 5, 5])).expect("a small number fits");
        let calm = scenario.quiet;
        let weather = if calm {
            Weather { lost: 0.0, untold: dice.pick(&[0.0, 0.02]), doubled: dice.pick(&[0.0, 0.1]), late: 0.0 }
        } else {
            Weather {
                lost: dice.pick(&[0.0, 0.01]),
                untold: dice.pick(&[0.0, 0.05, 0.3]),
                doubled: dice.pick(&[0.0, 0.1, 0.5]),
                late: dice.pick(&[0.0, 0.002, 0.01]),
            }
        };
        let hour = 3_600_000;
        let skews_ms = (0..nodes).map(|_| dice.pick(&[0, 0, hour, -hour, 3000, -3000])).collect();
        let count = if calm { 0 } else { dice.within(1..=8) };
        let mut faults: Vec<_> = (0..count)
            .map(|_| (FAULTS_FROM_MS + dice.within(0..=FAULTS_FOR_MS), Fault::draw(nodes, dice)))
            .collect();
        if !calm && dice.chance(0.25) {
            // The broker loses changes, near the end: nothing goes on after that.
            let changes = usize::try_from(dice.within(1..=3)).expect("3 fits");
            let tables = usize::try_from(dice.within(0..=5)).expect("5 fits");
            let fault = Fault::Broker { for_ms: 1000, elects_ms: dice.within(0..=3000), changes, tables };
            let lost_ms = FAULTS_FROM_MS + FAULTS_FOR_MS - dice.within(0..=20_000);
            // The nodes are there and heard: of what only a node had that is away, no other can know.
            faults.retain(|(at_ms, fault)| fault.is_of_broker() || at_ms + fault.for_ms() < lost_ms);
            faults.push((lost_ms, fault));
        }
        faults.sort_by_key(|(at_ms, _)| *at_ms);
        let (lease, replicas) =
            (Duration::from_millis(dice.pick(&[5000, 5000, 2000, 1000])), dice.pick(&[1, 3]));
        Self { nodes, lease, replicas, weather, skews_ms, faults, calm }
    }
}
