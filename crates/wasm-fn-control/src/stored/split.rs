//! The stored form of traffic splits.

use serde::{Deserialize, Serialize};
use wasm_fn_core::{self as core, TrafficSplit};

use super::{Malformed, parse};

/// A version and its basis points.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredSplit(Vec<(String, u16)>);

pub(super) fn weight(basis_points: u16) -> Result<core::Weight, Malformed> {
    let weight = core::Weight::from_basis_points(basis_points);
    weight.ok_or_else(|| Malformed(format!("weight of {basis_points} basis points, expected at most 10000")))
}

impl From<&TrafficSplit> for StoredSplit {
    fn from(split: &TrafficSplit) -> Self {
        Self(split.shares().iter().map(|(no, weight)| (no.to_string(), weight.basis_points())).collect())
    }
}

impl TryFrom<StoredSplit> for TrafficSplit {
    type Error = Malformed;

    fn try_from(stored: StoredSplit) -> Result<Self, Malformed> {
        let shares: Result<Vec<_>, Malformed> = stored
            .0
            .iter()
            .map(|(version, basis_points)| Ok((parse(version)?, weight(*basis_points)?)))
            .collect();
        Self::new(shares?).map_err(Malformed::new)
    }
}
