//! What `wasm-fn` must reach, and what was found.

use serde::Serialize;

use crate::{
    guests::Guest,
    pairs::{Pair, Sharing},
    results::{Latency, Row, Sample},
    stats::Spread,
    systems::{self, Release},
    tls,
};

/// A system's name and its guest.
type Name = (&'static str, Guest);

/// Server CPU per request of one system beside another's.
struct Ratio {
    of: Name,
    beside: Name,
    at_most: f64,
}

const fn ratio(of: Name, beside: Name, at_most: f64) -> Ratio {
    Ratio { of, beside, at_most }
}

const NEW_02: Name = ("wasm-fn", Guest::Hello02);
const REUSED_02: &str = "wasmtime serve, reuse 128";

const RATIOS: [Ratio; 8] = [
    ratio(NEW_02, ("wasmtime serve", Guest::Hello02), 0.27),
    ratio(NEW_02, ("wasmtime serve, pooling tuned", Guest::Hello02), 0.38),
    ratio(NEW_02, (REUSED_02, Guest::Hello02), 1.15),
    ratio(NEW_02, ("workerd", Guest::Native), 0.45),
    ratio(
        ("wasm-fn split", Guest::Hello02),
        ("nginx split_clients + 2 × wasmtime serve", Guest::Hello02),
        0.2,
    ),
    ratio(("wasm-fn reuse 128", Guest::Hello02), (REUSED_02, Guest::Hello02), 0.75),
    ratio(("wasm-fn", Guest::Hello03), ("wasmtime serve (shared)", Guest::Hello03), 0.9),
    ratio(("wasm-fn", Guest::JavaScript), ("wasmtime serve", Guest::JavaScript), 0.5),
];

/// What one node of ours may cost beside another.
pub(crate) struct Bound {
    pub(crate) pair: Pair,
    at_most: f64,
}

pub(crate) const BOUNDS: [Bound; 3] = [
    Bound {
        pair: Pair {
            name: "wasm-fn: 1,000 functions / one",
            of: Release::Many,
            beside: Release::Alone,
            sharing: Sharing::InTurns,
        },
        at_most: 1.15,
    },
    Bound {
        pair: Pair {
            name: "wasm-fn: sticky split, tallies, gate and shield / one version",
            of: Release::Gated,
            beside: Release::Alone,
            sharing: Sharing::AtOnce,
        },
        at_most: 1.03,
    },
    Bound {
        pair: Pair {
            name: "wasm-fn: gate and shield / the same split by hand",
            of: Release::Gated,
            beside: Release::Split,
            sharing: Sharing::AtOnce,
        },
        at_most: 1.01,
    },
];

/// What ours may add to the limit's latencies.
pub(crate) struct Added {
    pub(crate) name: &'static str,
    at_most_us: f64,
    of: fn(&Latency) -> f64,
}

pub(crate) const ADDED: [Added; 2] = [
    Added {
        name: "wasm-fn: p50 over hyper alone at 50 % load",
        at_most_us: 60.0,
        of: |latency| latency.p50_us,
    },
    Added {
        name: "wasm-fn: p99 over hyper alone at 50 % load",
        at_most_us: 500.0,
        of: |latency| latency.p99_us,
    },
];

/// What TLS may cost ours beside the limit.
pub(crate) struct TlsBound {
    pub(crate) name: &'static str,
    required: Required,
    of: fn(&tls::Round) -> f64,
}

pub(crate) const TLS: [TlsBound; 3] = [
    TlsBound {
        name: "wasm-fn: what TLS adds to a request / to hyper alone",
        required: Required::AtMost(1.15),
        of: |round| round.ours.added_us() / round.limit.added_us(),
    },
    TlsBound {
        name: "wasm-fn: new TLS connections a second / hyper alone",
        required: Required::AtLeast(0.9),
        of: |round| round.ours.connections.per_second / round.limit.connections.per_second,
    },
    TlsBound {
        name: "wasm-fn: new TLS connections a second of CPU / hyper alone",
        required: Required::AtLeast(0.9),
        of: |round| round.limit.connections.cpu_us / round.ours.connections.cpu_us,
    },
];

/// A requirement, and what was found of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Check {
    pub(crate) name: String,
    #[serde(flatten)]
    pub(crate) required: Required,
    pub(crate) unit: Unit,
    /// Round by round; or why it is not known.
    pub(crate) found: Result<Spread, String>,
}

/// Where the median must lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Required {
    AtMost(f64),
    AtLeast(f64),
}

/// What a [`Check`] is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    Ratio,
    Microseconds,
}

impl Check {
    /// Whether the median is what is required; absent when there is none.
    pub(crate) fn held(&self) -> Option<bool> {
        self.found.as_ref().ok().map(|found| match self.required {
            Required::AtMost(most) => found.median <= most,
            Required::AtLeast(least) => found.median >= least,
        })
    }
}

/// Names of the systems that a budget whose name contains `text` compares.
pub(crate) fn sides(text: &str) -> Vec<String> {
    let ratios = RATIOS.iter().map(|ratio| (ratio.name(), [ratio.of, ratio.beside]));
    let named = ratios.filter(|(name, _)| name.contains(text));
    named.flat_map(|(_, sides)| sides.map(shown)).collect()
}

/// What a pair's first costs beside its second, round by round; or why it is not known.
pub(crate) type Paired = (&'static Bound, Result<Vec<f64>, String>);

/// Latencies of ours and of the limit, one after the other; or why they are not known.
pub(crate) type Beside = Result<Vec<[Latency; 2]>, String>;

/// Checks every budget of which both sides were to be measured, and those of pairs, latencies and TLS if they
/// were.
pub(crate) fn check(
    rows: &[Row],
    paired: &[Paired],
    latencies: Option<&Beside>,
    tls: Option<&tls::Rounds>,
) -> Vec<Check> {
    let mut checks: Vec<_> = RATIOS.iter().filter_map(|ratio| ratio.check(rows)).collect();
    for (bound, ratios) in paired {
        let found = ratios.as_deref().map_err(Clone::clone);
        checks.push(Check {
            name: bound.pair.name.to_owned(),
            required: Required::AtMost(bound.at_most),
            unit: Unit::Ratio,
            found: found.and_then(|ratios| spread(ratios.iter().copied())),
        });
    }
    if let Some(latencies) = latencies {
        let latencies = latencies.as_deref().map_err(Clone::clone);
        checks.extend(ADDED.iter().map(|Added { name, at_most_us, of }| {
            let added = |both: &[[Latency; 2]]| spread(both.iter().map(|[ours, limit]| of(ours) - of(limit)));
            Check {
                name: (*name).to_owned(),
                required: Required::AtMost(*at_most_us),
                unit: Unit::Microseconds,
                found: latencies.clone().and_then(added),
            }
        }));
    }
    if let Some(rounds) = tls {
        let rounds = rounds.as_deref().map_err(Clone::clone);
        checks.extend(TLS.iter().map(|TlsBound { name, required, of }| Check {
            name: (*name).to_owned(),
            required: *required,
            unit: Unit::Ratio,
            found: rounds.clone().and_then(|rounds| spread(rounds.iter().map(of))),
        }));
    }
    checks
}

impl Ratio {
    fn name(&self) -> String {
        format!("{} / {}", shown(self.of), shown(self.beside))
    }

    fn check(&self, rows: &[Row]) -> Option<Check> {
        let (of, beside) = (row(rows, self.of)?, row(rows, self.beside)?);
        let cost = |sample: &Sample| sample.cpu_us_per_request;
        let found = pairs(&of.samples, &beside.samples)
            .and_then(|pairs| spread(pairs.map(|(of, beside)| cost(of) / cost(beside))));
        Some(Check { name: self.name(), required: Required::AtMost(self.at_most), unit: Unit::Ratio, found })
    }
}

fn row(rows: &[Row], (name, guest): Name) -> Option<&Row> {
    rows.iter().find(|row| row.system == name && row.guest == guest)
}

/// What two systems gave in the same round, so that what slows a whole round down does not count.
fn pairs<'a, T>(
    of: &'a Result<Vec<T>, String>,
    beside: &'a Result<Vec<T>, String>,
) -> Result<impl Iterator<Item = (&'a T, &'a T)>, String> {
    match (of, beside) {
        (Ok(of), Ok(beside)) => Ok(of.iter().zip(beside)),
        (Err(reason), _) | (_, Err(reason)) => Err(reason.clone()),
    }
}

fn spread(values: impl Iterator<Item = f64>) -> Result<Spread, String> {
    Spread::of(values).ok_or_else(|| "it was never measured".to_owned())
}

fn shown((name, guest): Name) -> String {
    let mut text = String::new();
    let _infallible = systems::shown(&mut text, name, guest);
    text
}

#[cfg(test)]
mod tests;
