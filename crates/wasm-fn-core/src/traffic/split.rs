//! The traffic split: the share of a stage's requests that each version answers.

use crate::{Point, VersionNo, Weight, percent};

/// The shares of a stage's versions.
///
/// A split proves that its weights add up to [`Weight::FULL`], that none is zero, and that no version appears
/// twice. Therefore [`pick`](Self::pick) cannot fail.
///
/// Newer versions have the lower points. Therefore a version keeps its points when its weight grows, as long
/// as the weights of newer versions stay the same. Between two versions, raising the weight of one never
/// takes a point from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrafficSplit {
    // Invariant: newest first, each version once, no zero weight; the sum is `Weight::FULL`.
    shares: Box<[(VersionNo, Weight)]>,
}

/// Why shares do not make a split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// The weights have a wrong sum.
    #[error("weights add up to {}, expected 100%", percent(*found))]
    Sum {
        /// The sum, in basis points.
        found: u64,
    },
    /// A version has a share of zero.
    #[error("{version} has weight 0%, expected at least 0.01% or no entry")]
    Zero {
        /// The version.
        version: VersionNo,
    },
    /// A version appears twice.
    #[error("{version} appears twice")]
    Duplicate {
        /// The version.
        version: VersionNo,
    },
}

impl TrafficSplit {
    /// All traffic goes to `version`.
    pub fn all(version: VersionNo) -> Self {
        Self { shares: Box::new([(version, Weight::FULL)]) }
    }

    /// A split of `shares`, which may be in any order.
    ///
    /// # Errors
    /// If a weight is zero, a version appears twice, or the weights do not add up to 10,000.
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

    /// `share` of the traffic goes to `canary`, the rest to `stable`. A share of zero or 100 % leaves one
    /// version.
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

    /// The version that has `point`.
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

    /// The weight of `version`; zero if it has none.
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
