//! A stage as requests meet it: which of its versions answers.

use std::{collections::HashSet, fmt, net::IpAddr, sync::Arc};

use foldhash::fast::FixedState;
use http::{HeaderName, HeaderValue};
use siphasher::sip::SipHasher13;
use wasm_fn_core::{
    CohortRule, FunctionName, Point, Role, Route, Source, StageName, Sticky, TrafficSplit, VersionNo,
    VersionRef,
};

use crate::{Tally, Traits, traits::Lookup};

/// The request header whose value is the sticky key of any stage, before the stage's own.
pub static KEY_HEADER: HeaderName = HeaderName::from_static("wasm-fn-key");

/// A version that a stage can reach.
#[derive(Debug)]
pub struct VersionEntry<V> {
    /// Its number.
    pub no: VersionNo,
    /// The number as a header carries it, `v42`.
    pub label: HeaderValue,
    /// How its invocations in this stage ended.
    pub tally: Arc<Tally>,
    /// The caller's handle on it.
    pub target: Arc<V>,
}

/// Key of the hash that places sticky keys. Stages with different salts place the same user
/// independently, and users cannot work out where they are placed without it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Salt(pub [u64; 2]);

/// Everything a [`Stage`] is built from.
pub struct StageSpec<V> {
    /// The function it belongs to.
    pub function: FunctionName,
    /// Its name.
    pub stage: StageName,
    /// Where it is reachable.
    pub routes: Vec<Route>,
    /// The shares of its versions.
    pub split: TrafficSplit,
    /// The version to fall back on.
    pub stable: VersionNo,
    /// The version that a rollout is moving to.
    pub canary: Option<VersionNo>,
    /// The version that was stable before.
    pub previous: Option<VersionNo>,
    /// How users stay on one version.
    pub sticky: Sticky,
    /// Who is placed by rule; the first that applies wins.
    pub cohorts: Vec<CohortRule>,
    /// Places sticky keys.
    pub salt: Salt,
    /// Every version that can be reached, by split, role or override; in any order.
    pub versions: Vec<VersionEntry<V>>,
}

/// A place where a function is reachable, ready to choose.
pub struct Stage<V> {
    function: FunctionName,
    name: StageName,
    routes: Box<[Route]>,
    split: TrafficSplit,
    // Invariant: by number, each once, not empty; every index below is within.
    versions: Box<[Arc<VersionEntry<V>>]>,
    /// Where each share ends on the line of points, newest version first, and who owns it.
    ends: Box<[(u16, usize)]>,
    stable: usize,
    canary: Option<usize>,
    previous: Option<usize>,
    sticky: Key,
    cohorts: Box<[Cohort]>,
    salt: Salt,
}

/// [`Sticky`] made ready.
enum Key {
    None,
    Value(Lookup),
    ClientAddress,
}

/// [`CohortRule`] made ready.
struct Cohort {
    lookup: Lookup,
    values: HashSet<Box<[u8]>, FixedState>,
    value_bytes_max: usize,
    version: usize,
}

/// A specification is no stage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage `{stage}` of `{function}` {problem}")]
pub struct StageError {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// What is wrong with it.
    pub problem: StageProblem,
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageProblem {
    /// The split or a role names a version that is not among the versions.
    #[error("names {0} in its split or a role, expected one of its versions")]
    Missing(VersionNo),
    /// A version is listed twice, so its tally would be two.
    #[error("lists {0} twice")]
    Duplicate(VersionNo),
    /// A sticky key or cohort rule looks at a header that no request can carry.
    #[error("looks at the header {0:?}, expected a header name")]
    Header(String),
}

/// The version asked for is not in the stage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage `{stage}` of `{function}` has no version {asked}")]
pub struct NoSuchVersion {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// What was asked for.
    pub asked: VersionRef,
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
}

/// The version that answers a request.
#[derive(Debug)]
pub struct Chosen<'a, V> {
    /// The version.
    pub version: &'a Arc<VersionEntry<V>>,
    /// Why this one.
    pub reason: Reason,
}

impl<V> Stage<V> {
    /// Builds a stage.
    ///
    /// # Errors
    /// When the split or a role names a version that is not listed, a version is listed twice, or a
    /// header to look at has no valid name.
    pub fn new(spec: StageSpec<V>) -> Result<Self, StageError> {
        let (function, stage) = (spec.function.clone(), spec.stage.clone());
        Self::build(spec).map_err(|problem| StageError { function, stage, problem })
    }

    fn build(spec: StageSpec<V>) -> Result<Self, StageProblem> {
        let mut versions: Box<[_]> = spec.versions.into_iter().map(Arc::new).collect();
        versions.sort_by_key(|version| version.no);
        if let Some(pair) = versions.windows(2).find(|pair| pair[0].no == pair[1].no) {
            return Err(StageProblem::Duplicate(pair[0].no));
        }
        let index = |no| index_of(&versions, no).ok_or(StageProblem::Missing(no));
        let lookup = |source: &Source| {
            Lookup::new(source).ok_or_else(|| StageProblem::Header(source.name().to_owned()))
        };

        let mut end = 0;
        let mut ends = Vec::with_capacity(spec.split.shares().len());
        for &(version, weight) in spec.split.shares() {
            end += weight.basis_points();
            ends.push((end, index(version)?));
        }
        let stable = index(spec.stable)?;
        let canary = spec.canary.map(index).transpose()?;
        let previous = spec.previous.map(index).transpose()?;
        let sticky = match &spec.sticky {
            Sticky::None => Key::None,
            Sticky::Key(source) => Key::Value(lookup(source)?),
            Sticky::ClientAddress => Key::ClientAddress,
        };
        let mut cohorts = Vec::with_capacity(spec.cohorts.len());
        for rule in spec.cohorts {
            let lookup = lookup(&rule.condition.source)?;
            let version = match rule.role {
                Role::Stable => Some(stable),
                Role::Canary => canary,
            };
            cohorts.extend(version.map(|version| Cohort::new(lookup, rule.condition.values, version)));
        }
        Ok(Self {
            function: spec.function,
            name: spec.stage,
            routes: spec.routes.into(),
            split: spec.split,
            versions,
            ends: ends.into(),
            stable,
            canary,
            previous,
            sticky,
            cohorts: cohorts.into(),
            salt: spec.salt,
        })
    }

    /// The function it belongs to.
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

    /// The shares of its versions.
    pub fn split(&self) -> &TrafficSplit {
        &self.split
    }

    /// Every version that can be reached, oldest first.
    pub fn versions(&self) -> &[Arc<VersionEntry<V>>] {
        &self.versions
    }

    /// The version to fall back on.
    pub fn stable(&self) -> &Arc<VersionEntry<V>> {
        &self.versions[self.stable]
    }

    pub(crate) fn salt(&self) -> Salt {
        self.salt
    }

    /// The version that answers `request`: the one `asked` for; else the one of the first cohort rule
    /// that applies; else the one that the request's sticky key hashes to ([`KEY_HEADER`] before the
    /// stage's own); else the one at the point that `draw` returns, which is called only then.
    ///
    /// An empty value is no key.
    ///
    /// # Errors
    /// When the version asked for is not in this stage.
    pub fn choose(
        &self,
        request: &Traits<'_>,
        asked: Option<VersionRef>,
        draw: impl FnOnce() -> Point,
    ) -> Result<Chosen<'_, V>, NoSuchVersion> {
        let (index, reason) = if let Some(asked) = asked {
            (self.resolve(asked)?, Reason::Override)
        } else if let Some(cohort) = self.cohorts.iter().find(|cohort| cohort.applies(request)) {
            (cohort.version, Reason::Cohort)
        } else if let Some(point) = self.sticky_point(request) {
            (self.pick(point), Reason::Sticky)
        } else {
            (self.pick(draw()), Reason::Draw)
        };
        Ok(Chosen { version: &self.versions[index], reason })
    }

    fn resolve(&self, asked: VersionRef) -> Result<usize, NoSuchVersion> {
        let found = match asked {
            VersionRef::No(no) => index_of(&self.versions, no),
            VersionRef::Stable => Some(self.stable),
            VersionRef::Canary => self.canary,
            VersionRef::Previous => self.previous,
            VersionRef::Latest => self.versions.len().checked_sub(1),
        };
        found.ok_or_else(|| NoSuchVersion {
            function: self.function.clone(),
            stage: self.name.clone(),
            asked,
        })
    }

    fn sticky_point(&self, request: &Traits<'_>) -> Option<Point> {
        let place = |key: &[u8]| {
            let [low, high] = self.salt.0;
            Point::from_bits(SipHasher13::new_with_keys(low, high).hash(key))
        };
        if let Some(key) = request.headers.get(&KEY_HEADER).filter(|key| !key.is_empty()) {
            return Some(place(key.as_bytes()));
        }
        match &self.sticky {
            Key::None => None,
            Key::Value(lookup) => lookup.value(request).filter(|key| !key.is_empty()).map(|key| place(&key)),
            Key::ClientAddress => Some(match request.client.to_canonical() {
                IpAddr::V4(address) => place(&address.octets()),
                IpAddr::V6(address) => place(&address.octets()),
            }),
        }
    }

    /// Index of the version that owns `point`; the same as [`TrafficSplit::pick`], without the search.
    fn pick(&self, point: Point) -> usize {
        let owner = self.ends.iter().find(|&&(end, _)| point.place() < end);
        owner.expect("the last share ends at the number of points").1
    }
}

impl Cohort {
    fn new(lookup: Lookup, values: Vec<String>, version: usize) -> Self {
        let value_bytes_max = values.iter().map(String::len).max().unwrap_or(0);
        let values = values.into_iter().map(|value| value.into_bytes().into()).collect();
        Self { lookup, values, value_bytes_max, version }
    }

    fn applies(&self, request: &Traits<'_>) -> bool {
        self.lookup
            .value(request)
            .is_some_and(|value| value.len() <= self.value_bytes_max && self.values.contains(&*value))
    }
}

/// Index of version `no` in `versions`, which are sorted by number.
fn index_of<V>(versions: &[Arc<VersionEntry<V>>], no: VersionNo) -> Option<usize> {
    versions.binary_search_by_key(&no, |version| version.no).ok()
}

impl fmt::Debug for Salt {
    /// Hides the salt: whoever knows it can choose a cohort.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(…)")
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
