//! The traffic split: which share of a stage's requests each version answers.

use crate::{Point, VersionNo, Weight};

/// Shares of a stage's versions.
///
/// Holding one proves that the weights add up to [`Weight::FULL`], that none is zero and that no
/// version appears twice, so [`pick`](Self::pick) cannot fail.
///
/// Newer versions take the lower points. A version therefore keeps the points it has when its
/// weight grows, as long as the versions newer than it do not change: between two versions, raising
/// one never moves a point off it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficSplit {
    // Invariant: newest first, each version once, no zero weight, the sum is `Weight::FULL`.
    shares: Box<[(VersionNo, Weight)]>,
}

/// Why shares are no split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The weights do not add up.
    #[error("weights add up to {found} basis points, expected 10000")]
    Sum {
        /// Sum found, basis points.
        found: u64,
    },
    /// A share of nothing.
    #[error("{version} has weight 0%, expected at least 0.01% or no mention")]
    Zero {
        /// The version with it.
        version: VersionNo,
    },
    /// A version is named twice.
    #[error("{version} appears twice")]
    Duplicate {
        /// The version named twice.
        version: VersionNo,
    },
}

impl TrafficSplit {
    /// Everything to `version`.
    pub fn all(version: VersionNo) -> Self {
        Self { shares: Box::new([(version, Weight::FULL)]) }
    }

    /// Splits by `shares`, in any order.
    ///
    /// # Errors
    /// When a weight is zero, a version appears twice, or the weights do not add up to 10,000.
    pub fn new(shares: impl IntoIterator<Item = (VersionNo, Weight)>) -> Result<Self, SplitError> {
        let mut shares: Box<[_]> = shares.into_iter().collect();
        shares.sort_by_key(|&(version, _)| std::cmp::Reverse(version));
        if let Some(&(version, _)) = shares.iter().find(|&&(_, weight)| weight == Weight::ZERO) {
            return Err(SplitError::Zero { version });
        }
        if let Some(pair) = shares.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SplitError::Duplicate { version: pair[0].0 });
        }
        let found = shares.iter().map(|&(_, weight)| u64::from(weight.basis_points())).sum();
        if found != u64::from(Weight::FULL.basis_points()) {
            return Err(SplitError::Sum { found });
        }
        Ok(Self { shares })
    }

    /// `share` of everything to `canary`, the rest to `stable`; a share of zero or full leaves one.
    pub fn between(stable: VersionNo, canary: VersionNo, share: Weight) -> Self {
        if share == Weight::ZERO || stable == canary {
            return Self::all(stable);
        }
        if share == Weight::FULL {
            return Self::all(canary);
        }
        Self::new([(canary, share), (stable, share.complement())])
            .expect("two versions that differ, with complementary weights above zero")
    }

    /// The version that owns `point`.
    pub fn pick(&self, point: Point) -> VersionNo {
        let mut end = 0;
        for &(version, weight) in &self.shares {
            end += weight.basis_points();
            if point.place() < end {
                return version;
            }
        }
        unreachable!("the weights add up to the number of points")
    }

    /// The weight of `version`; zero when it has none.
    pub fn weight(&self, version: VersionNo) -> Weight {
        self.shares.iter().find(|&&(v, _)| v == version).map_or(Weight::ZERO, |&(_, weight)| weight)
    }

    /// The shares, newest version first.
    pub fn shares(&self) -> &[(VersionNo, Weight)] {
        &self.shares
    }
}

#[cfg(test)]
mod tests;
