//! A stage: chooses which of its versions answers a request.

mod choice;
mod error;
mod spec;
mod version;

use std::{fmt, sync::Arc};

use smallvec::SmallVec;
use wasm_fn_core::{
    FunctionName, Point, PreviewAccess, Role, Route, Side, StageName, TrafficSplit, VersionNo, VersionRef,
    Weight,
};

pub use choice::KEY_HEADER;
use choice::{Choice, CohortMatcher, Comparison, CumulativeShare, Lot, StickyKey, baseline_points, lookup};
pub use error::{NoSuchVersion, StageError, StageProblem};
pub use spec::{BaselineSpec, ComparisonSpec, PlacedCohort, StageSpec, VersionEntry};
pub use version::{HeldVersion, StageVersion};

use crate::{Assignment, Placement, RequestAttributes, Salt, key_skew::KeySkew};

/// A place where a function is reachable.
pub struct Stage<V> {
    choice: Choice<V>,
    function: FunctionName,
    name: StageName,
    routes: Box<[Route]>,
    preview: PreviewAccess,
    split: TrafficSplit,
    stable: usize,
    canary: Option<usize>,
    previous: Option<usize>,
    /// Number of versions, without the baseline.
    count: usize,
    key_skew: KeySkew,
}

/// Why a version was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The request asked for it.
    Override,
    /// A cohort rule applied.
    Cohort,
    /// The user's key hashes to it.
    Sticky,
    /// It was drawn.
    Draw,
    /// The canary was chosen, and is withheld.
    Withheld,
}

/// The version that answers a request.
pub struct Chosen<'a, V> {
    /// The version.
    pub version: StageVersion<'a, V>,
    /// Why it was chosen.
    pub reason: Reason,
    /// The request's part in the stage's comparison, if it has one.
    pub assignment: Option<Assignment>,
    /// The hash of the sticky key that placed the request.
    pub key: Option<u64>,
}

impl<V> Stage<V> {
    /// Builds a stage.
    ///
    /// # Errors
    /// The split, a role or the comparison names a version that is not listed, a version is listed twice, or
    /// a header to look at has no valid name.
    pub fn new(spec: StageSpec<V>) -> Result<Self, StageError> {
        let (function, stage) = (spec.function.clone(), spec.stage.clone());
        Self::build(spec).map_err(|problem| StageError { function, stage, problem })
    }

    fn build(spec: StageSpec<V>) -> Result<Self, StageProblem> {
        let mut versions: SmallVec<[_; 2]> = spec.versions.into_iter().collect();
        versions.sort_by_key(|version| version.no);
        if let Some(pair) = versions.windows(2).find(|pair| pair[0].no == pair[1].no) {
            return Err(StageProblem::Duplicate(pair[0].no));
        }
        let index = |no| index_of(&versions, no).ok_or(StageProblem::Missing(no));

        let mut end = 0;
        let mut shares = SmallVec::with_capacity(spec.split.shares().len());
        for &(version, weight) in spec.split.shares() {
            end += weight.basis_points();
            let version = u32::try_from(index(version)?).expect("version numbers have 32 bits");
            shares.push(CumulativeShare { end, version });
        }
        let stable = index(spec.stable)?;
        let canary = spec.canary.map(index).transpose()?;
        let previous = spec.previous.map(index).transpose()?;
        let sticky = StickyKey::new(&spec.sticky)?;
        let mut cohorts = Vec::with_capacity(spec.cohorts.len());
        for PlacedCohort { rule, share } in spec.cohorts {
            let lookup = lookup(&rule.condition.source)?;
            let version = match rule.role {
                Role::Stable => Some(stable),
                Role::Canary => canary,
            };
            // Without a canary its rules place nobody, but an observer may want to know whom they would
            // place.
            if version.is_some() || spec.comparison.is_some() {
                cohorts.push(CohortMatcher::new(lookup, rule.condition.values, share, version));
            }
        }
        let share = spec.baseline.as_ref().map_or(Weight::ZERO, |baseline| baseline.share);
        let prepare = |spec: ComparisonSpec| {
            let ComparisonSpec { observer, fallback_after, .. } = spec;
            let (canary, fallback) = (spec.canary.map(index).transpose()?, index(spec.fallback)?);
            let baseline = baseline_points(&shares, canary, fallback, share);
            Ok(Comparison { observer, canary, fallback, fallback_after, baseline })
        };
        let comparison = spec.comparison.map(prepare).transpose()?;
        let count = versions.len();
        versions.extend(spec.baseline.filter(|_| comparison.is_some()).map(|baseline| baseline.entry));
        Ok(Self {
            choice: Choice { shares, cohorts: cohorts.into(), comparison, sticky, salt: spec.salt, versions },
            function: spec.function,
            name: spec.stage,
            routes: spec.routes.into(),
            preview: spec.preview,
            split: spec.split,
            stable,
            canary,
            previous,
            count,
            key_skew: KeySkew::default(),
        })
    }

    /// The function that the stage belongs to.
    pub fn function(&self) -> &FunctionName {
        &self.function
    }

    /// Its name.
    pub fn name(&self) -> &StageName {
        &self.name
    }

    /// Where it is reachable.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// Who may use the addresses of its versions.
    pub fn preview(&self) -> PreviewAccess {
        self.preview
    }

    /// The shares of its versions.
    pub fn split(&self) -> &TrafficSplit {
        &self.split
    }

    /// Every version that can be reached, oldest first.
    pub fn versions(&self) -> &[VersionEntry<V>] {
        &self.choice.versions[..self.count]
    }

    /// Version `no`, if it can be reached.
    pub fn version(self: &Arc<Self>, no: VersionNo) -> Option<StageVersion<'_, V>> {
        index_of(self.versions(), no).map(|index| StageVersion { stage: self, index })
    }

    /// The version to fall back on.
    pub fn stable(&self) -> &VersionEntry<V> {
        &self.choice.versions[self.stable]
    }

    /// The version that a rollout moves to.
    pub fn canary(&self) -> Option<&VersionEntry<V>> {
        self.canary.map(|index| &self.versions()[index])
    }

    /// Whether the client's address decides the version of a user.
    pub fn sticks_to_address(&self) -> bool {
        matches!(self.choice.sticky, StickyKey::ClientAddress)
    }

    /// Counts a sample of the [`key`](Chosen::key)s that place requests here. Once in 125 samples it returns
    /// the share of this key, per cent, if the key has more than 80 % of them. Takes constant space and never
    /// waits.
    pub fn sample(&self, key: u64) -> Option<u32> {
        self.key_skew.sample(key)
    }

    pub(crate) fn salt(&self) -> Salt {
        self.choice.salt
    }

    fn entry(&self, index: usize) -> &VersionEntry<V> {
        &self.choice.versions[index]
    }

    fn comparison(&self) -> Option<&Comparison> {
        self.choice.comparison.as_ref()
    }

    /// Chooses the version that answers `request`.
    ///
    /// This is the version `asked` for; else that of the first cohort rule that applies; else the one that
    /// the request's sticky key hashes to ([`KEY_HEADER`] before the stage's own key); else the one at the
    /// point that `draw` returns. A request without a key draws once more where a rule places only a share of
    /// its users; no request draws without need. In place of a canary that is withheld and that nobody asked
    /// for, the fallback answers.
    ///
    /// # Errors
    /// The stage does not have the version asked for.
    pub fn choose(
        self: &Arc<Self>,
        request: &RequestAttributes<'_>,
        asked: Option<VersionRef>,
        draw: impl FnMut() -> Point,
    ) -> Result<Chosen<'_, V>, NoSuchVersion> {
        let Choice { cohorts, comparison, .. } = &self.choice;
        if asked.is_none() && cohorts.is_empty() && comparison.is_none() {
            let Lot { index, reason, key, .. } = self.choice.lot(request, draw);
            let version = StageVersion { stage: self, index };
            return Ok(Chosen { version, reason, assignment: None, key });
        }
        self.choose_by_rules(request, asked, draw)
    }

    /// [`choose`](Self::choose) where there is more to it than a sticky key or a draw.
    fn choose_by_rules(
        self: &Arc<Self>,
        request: &RequestAttributes<'_>,
        asked: Option<VersionRef>,
        mut draw: impl FnMut() -> Point,
    ) -> Result<Chosen<'_, V>, NoSuchVersion> {
        let Choice { cohorts, comparison, .. } = &self.choice;
        let (mut user, mut place) = (None, None);
        let looked_for = asked.is_none() && !cohorts.is_empty();
        let (rule, by_rule) = if looked_for { self.choice.rules(request, &mut draw) } else { (None, None) };
        let (index, reason) = if let Some(asked) = asked {
            (self.resolve(asked)?, Reason::Override)
        } else if let Some(index) = by_rule.and_then(|cohort| cohort.version) {
            (index, Reason::Cohort)
        } else {
            let lot = self.choice.lot(request, draw);
            (user, place) = (lot.key, Some(lot.place));
            (lot.index, lot.reason)
        };
        let (key, version) = (user, |index| StageVersion { stage: self, index });
        let chosen = |index, reason, assignment| Chosen { version: version(index), reason, assignment, key };
        let Some(comparison) = comparison else { return Ok(chosen(index, reason, None)) };
        if comparison.canary.is_none() && rule.is_none_or(|rule| rule.version.is_some()) {
            // Without a canary, the observer sees only the requests that would be on it.
            return Ok(chosen(index, reason, None));
        }
        let side = if Some(index) == comparison.canary {
            Side::Canary
        } else if index != comparison.fallback {
            return Ok(chosen(index, reason, None));
        } else if place.is_some_and(|place| comparison.baseline.contains(&place)) {
            Side::Baseline
        } else {
            Side::Stable
        };
        let asked_for = reason == Reason::Override;
        if side == Side::Canary && !asked_for && comparison.observer.is_withheld() {
            return Ok(chosen(comparison.fallback, Reason::Withheld, None));
        }
        let shielded = side == Side::Canary && !asked_for;
        let fallback_after = comparison.fallback_after.filter(|_| shielded);
        let placement = match reason {
            Reason::Override => Placement::Request,
            // Once everybody is on the canary, a rule places its users like everybody else.
            _ if rule.is_some() && comparison.canary != Some(self.stable) => Placement::Rule,
            _ => Placement::Chance,
        };
        if reason == Reason::Cohort {
            user = self.choice.sticky_bits(request);
        }
        let index = if side == Side::Baseline { self.count } else { index };
        let assignment = Assignment { side, placement, user, fallback_after };
        Ok(chosen(index, reason, Some(assignment)))
    }

    fn resolve(&self, asked: VersionRef) -> Result<usize, NoSuchVersion> {
        let found = match asked {
            VersionRef::No(no) => index_of(self.versions(), no),
            VersionRef::Stable => Some(self.stable),
            VersionRef::Canary => self.canary,
            VersionRef::Previous => self.previous,
            VersionRef::Latest => self.versions().len().checked_sub(1),
        };
        found.ok_or_else(|| NoSuchVersion {
            function: self.function.clone(),
            stage: self.name.clone(),
            asked,
        })
    }
}

/// Index of version `no` in `versions`, which are sorted by number.
fn index_of<V>(versions: &[VersionEntry<V>], no: VersionNo) -> Option<usize> {
    versions.binary_search_by_key(&no, |version| version.no).ok()
}

impl<V> fmt::Debug for Chosen<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chosen")
            .field("version", &self.version.no)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

impl<V> fmt::Debug for Stage<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("function", &self.function)
            .field("name", &self.name)
            .field("split", &self.split)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
