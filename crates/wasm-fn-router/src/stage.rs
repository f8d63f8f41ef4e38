//! A stage as requests meet it: which of its versions answers.

use std::{
    collections::HashSet,
    fmt,
    net::IpAddr,
    ops::{Deref, Range},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::FixedState;
use http::{HeaderName, HeaderValue};
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use wasm_fn_core::{
    CohortRule, FunctionName, Point, PreviewAccess, Role, Route, Side, Source, StageName, Sticky,
    TrafficSplit, VersionNo, VersionRef, Weight,
};

use crate::{Part, Placement, Salt, Tally, Traits, Trial, TrialSpec, crowd::Crowd, traits::Lookup};

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
    pub target: V,
}

/// A version of a stage that is held elsewhere.
pub struct StageVersion<'a, V> {
    stage: &'a Arc<Stage<V>>,
    index: usize,
}

/// A version of a stage, which it keeps as it is.
pub struct HeldVersion<V> {
    stage: Arc<Stage<V>>,
    index: usize,
}

/// Everything a [`Stage`] is built from.
pub struct StageSpec<V> {
    /// The function it belongs to.
    pub function: FunctionName,
    /// Its name.
    pub stage: StageName,
    /// Where it is reachable.
    pub routes: Vec<Route>,
    /// Who may use the addresses of its versions.
    pub preview: PreviewAccess,
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
    pub cohorts: Vec<PlacedCohort>,
    /// Places sticky keys.
    pub salt: Salt,
    /// Who compares its canary.
    pub trial: Option<TrialSpec>,
    /// The users of the trial's fallback that are served apart.
    pub baseline: Option<BaselineSpec<V>>,
    /// Every version that can be reached, by split, role or override; in any order.
    pub versions: Vec<VersionEntry<V>>,
}

/// A cohort rule as it is in force now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedCohort {
    /// The rule.
    pub rule: CohortRule,
    /// The part of its users that it places, of those with a key by its hash, so that a part that grows keeps its users.
    /// The others are placed as if there were no such rule.
    pub share: Weight,
}

/// Users of a trial's fallback that another handle on it serves: those at the far end of its share, seen from the
/// canary, so that a canary that grows takes them last.
pub struct BaselineSpec<V> {
    /// Their share of the requests; where the fallback has less, that.
    pub share: Weight,
    /// The other handle, under the fallback's number.
    pub entry: VersionEntry<V>,
}

/// A place where a function is reachable, ready to choose.
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
    /// How many of the choice's versions are others than the baseline.
    count: usize,
    crowd: Crowd,
}

/// What a choice reads, in a row and nothing elsewhere but what few stages have: a stage that nobody asked for in a
/// while is in no cache, and its request then waits for memory once.
#[repr(C)]
struct Choice<V> {
    /// Newest version first.
    shares: SmallVec<[Share; 2]>,
    cohorts: Box<[Cohort]>,
    trial: Option<Comparing>,
    sticky: Key,
    salt: Salt,
    // Invariant: by number, each once, not empty; every index of the stage is within. The baseline's comes after them.
    versions: SmallVec<[VersionEntry<V>; 2]>,
}

/// What a request's sticky key, or its draw, comes to.
struct Lot {
    index: usize,
    /// The point's place on the line.
    place: u16,
    reason: Reason,
    /// The hash of the sticky key.
    key: Option<u64>,
}

/// A version's part of the line of points: from where the share before it ends.
#[derive(Clone, Copy)]
struct Share {
    end: u16,
    version: u32,
}

/// [`TrialSpec`] made ready.
struct Comparing {
    trial: Arc<dyn Trial>,
    canary: Option<usize>,
    fallback: usize,
    shield: Option<Duration>,
    /// The points of the baseline, of those of the fallback.
    baseline: Range<u16>,
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
    share: Weight,
    /// `None` for the canary while there is none.
    version: Option<usize>,
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
    /// The split, a role or the trial names a version that is not among the versions.
    #[error("names {0} in its split, a role or its trial, expected one of its versions")]
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
    /// The canary was chosen, and is withheld.
    Withheld,
}

/// The version that answers a request.
pub struct Chosen<'a, V> {
    /// The version.
    pub version: StageVersion<'a, V>,
    /// Why this one.
    pub reason: Reason,
    /// Its part in the stage's trial, if it has one.
    pub part: Option<Part>,
    /// The hash of the sticky key that it was placed by.
    pub key: Option<u64>,
}

impl<V> Stage<V> {
    /// Builds a stage.
    ///
    /// # Errors
    /// When the split, a role or the trial names a version that is not listed, a version is listed twice, or a
    /// header to look at has no valid name.
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
        let lookup = |source: &Source| {
            Lookup::new(source).ok_or_else(|| StageProblem::Header(source.name().to_owned()))
        };

        let mut end = 0;
        let mut shares = SmallVec::with_capacity(spec.split.shares().len());
        for &(version, weight) in spec.split.shares() {
            end += weight.basis_points();
            let version = u32::try_from(index(version)?).expect("version numbers have 32 bits");
            shares.push(Share { end, version });
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
        for PlacedCohort { rule, share } in spec.cohorts {
            let lookup = lookup(&rule.condition.source)?;
            let version = match rule.role {
                Role::Stable => Some(stable),
                Role::Canary => canary,
            };
            // Without a canary nobody is placed by its rules, but a trial may want to know who would be.
            if version.is_some() || spec.trial.is_some() {
                cohorts.push(Cohort::new(lookup, rule.condition.values, share, version));
            }
        }
        let share = spec.baseline.as_ref().map_or(Weight::ZERO, |baseline| baseline.share);
        let comparing = |spec: TrialSpec| {
            let (canary, fallback) = (spec.canary.map(index).transpose()?, index(spec.fallback)?);
            let baseline = baseline(&shares, canary, fallback, share);
            Ok(Comparing { trial: spec.trial, canary, fallback, shield: spec.shield, baseline })
        };
        let trial = spec.trial.map(comparing).transpose()?;
        let count = versions.len();
        versions.extend(spec.baseline.filter(|_| trial.is_some()).map(|baseline| baseline.entry));
        Ok(Self {
            choice: Choice { shares, cohorts: cohorts.into(), trial, sticky, salt: spec.salt, versions },
            function: spec.function,
            name: spec.stage,
            routes: spec.routes.into(),
            preview: spec.preview,
            split: spec.split,
            stable,
            canary,
            previous,
            count,
            crowd: Crowd::default(),
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

    /// Whether users stay on a version by their address.
    pub fn sticks_to_address(&self) -> bool {
        matches!(self.choice.sticky, Key::ClientAddress)
    }

    /// Counts a sample of the [`key`](Chosen::key)s by which requests are placed here; gives the share of this key, per
    /// cent, once in every 125 samples of which it has more than 80 %. Constant space, and never waits.
    pub fn sample(&self, key: u64) -> Option<u32> {
        self.crowd.sample(key)
    }

    pub(crate) fn salt(&self) -> Salt {
        self.choice.salt
    }

    /// The version that answers `request`: the one `asked` for; else the one of the first cohort rule
    /// that applies; else the one that the request's sticky key hashes to ([`KEY_HEADER`] before the
    /// stage's own); else the one at the point that `draw` returns. A request without a key draws once more where a
    /// rule places a part of its users, and no request draws without need. Where that is a canary that its trial
    /// withholds, and nobody asked for it, the version it was to replace answers.
    ///
    /// An empty value is no key.
    ///
    /// # Errors
    /// When the version asked for is not in this stage.
    pub fn choose(
        self: &Arc<Self>,
        request: &Traits<'_>,
        asked: Option<VersionRef>,
        draw: impl FnMut() -> Point,
    ) -> Result<Chosen<'_, V>, NoSuchVersion> {
        let Choice { cohorts, trial, .. } = &self.choice;
        if asked.is_none() && cohorts.is_empty() && trial.is_none() {
            let Lot { index, reason, key, .. } = self.choice.lot(request, draw);
            let version = StageVersion { stage: self, index };
            return Ok(Chosen { version, reason, part: None, key });
        }
        self.choose_by_rules(request, asked, draw)
    }

    /// [`choose`](Self::choose) where there is more to it than a sticky key or a draw.
    fn choose_by_rules(
        self: &Arc<Self>,
        request: &Traits<'_>,
        asked: Option<VersionRef>,
        mut draw: impl FnMut() -> Point,
    ) -> Result<Chosen<'_, V>, NoSuchVersion> {
        let Choice { cohorts, trial, .. } = &self.choice;
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
        let chosen = |index, reason, part| Chosen { version: version(index), reason, part, key };
        let Some(comparing) = trial else { return Ok(chosen(index, reason, None)) };
        if comparing.canary.is_none() && rule.is_none_or(|rule| rule.version.is_some()) {
            // Only of those who would be on a canary does such a trial hear.
            return Ok(chosen(index, reason, None));
        }
        let side = if Some(index) == comparing.canary {
            Side::Canary
        } else if index != comparing.fallback {
            return Ok(chosen(index, reason, None));
        } else if place.is_some_and(|place| comparing.baseline.contains(&place)) {
            Side::Baseline
        } else {
            Side::Stable
        };
        let asked_for = reason == Reason::Override;
        if side == Side::Canary && !asked_for && comparing.trial.is_withheld() {
            return Ok(chosen(comparing.fallback, Reason::Withheld, None));
        }
        let shielded = side == Side::Canary && !asked_for;
        let shield = comparing.shield.filter(|_| shielded);
        let placement = match reason {
            Reason::Override => Placement::Request,
            // Once everybody is on the canary, whom a rule finds is there like anybody else.
            _ if rule.is_some() && comparing.canary != Some(self.stable) => Placement::Rule,
            _ => Placement::Chance,
        };
        if reason == Reason::Cohort {
            user = self.choice.sticky_bits(request);
        }
        let index = if side == Side::Baseline { self.count } else { index };
        let part = Part { side, placement, user, shield };
        Ok(chosen(index, reason, Some(part)))
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

impl<V> Choice<V> {
    /// The hash of the request's sticky key, if it has one.
    fn sticky_bits(&self, request: &Traits<'_>) -> Option<u64> {
        let place = |key: &[u8]| {
            let [low, high] = self.salt.0;
            SipHasher13::new_with_keys(low, high).hash(key)
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

    /// The first rule that applies to `request`, and the one that places it.
    fn rules(
        &self,
        request: &Traits<'_>,
        draw: &mut impl FnMut() -> Point,
    ) -> (Option<&Cohort>, Option<&Cohort>) {
        let mut point = None;
        let mut applies = |cohort: &&Cohort| {
            cohort.applies(request)
                && (cohort.share == Weight::FULL || {
                    let point = *point.get_or_insert_with(|| match self.sticky_bits(request) {
                        // The other half of the hash: whom a cohort leaves out is to be placed like anybody else, so
                        // where they stand in it must not say where they stand in the split.
                        Some(bits) => Point::from_bits(bits.rotate_left(32)),
                        None => draw(),
                    });
                    point.place() < cohort.share.basis_points()
                })
        };
        let rule = self.cohorts.iter().find(&mut applies);
        // A canary's rule places nobody while there is none, but those after it may.
        let by_rule = match rule {
            Some(rule) if rule.version.is_none() => {
                self.cohorts.iter().filter(|cohort| cohort.version.is_some()).find(&mut applies)
            }
            rule => rule,
        };
        (rule, by_rule)
    }

    /// The version that the request's sticky key hashes to, or that it draws.
    fn lot(&self, request: &Traits<'_>, draw: impl FnOnce() -> Point) -> Lot {
        let key = self.sticky_bits(request);
        let (point, reason) = match key {
            Some(bits) => (Point::from_bits(bits), Reason::Sticky),
            None => (draw(), Reason::Draw),
        };
        Lot { index: self.pick(point), place: point.place(), reason, key }
    }

    /// Index of the version that owns `point`; the same as [`TrafficSplit::pick`], without the search.
    fn pick(&self, point: Point) -> usize {
        let owner = self.shares.iter().find(|share| point.place() < share.end);
        owner.expect("the last share ends at the number of points").version as usize
    }
}

impl<V> StageVersion<'_, V> {
    /// The version for as long as its request runs.
    pub fn hold(&self) -> HeldVersion<V> {
        HeldVersion { stage: Arc::clone(self.stage), index: self.index }
    }
}

impl<V> Deref for StageVersion<'_, V> {
    type Target = VersionEntry<V>;

    fn deref(&self) -> &VersionEntry<V> {
        &self.stage.choice.versions[self.index]
    }
}

impl<V> HeldVersion<V> {
    /// Who compares the stage's canary.
    pub fn trial(&self) -> Option<&Arc<dyn Trial>> {
        self.stage.choice.trial.as_ref().map(|comparing| &comparing.trial)
    }

    /// The version of the stage that its canary is compared with, and that answers where the canary failed.
    pub fn fallback(&self) -> Option<Self> {
        let index = self.stage.choice.trial.as_ref()?.fallback;
        Some(Self { stage: Arc::clone(&self.stage), index })
    }
}

impl<V> Clone for HeldVersion<V> {
    fn clone(&self) -> Self {
        Self { stage: Arc::clone(&self.stage), index: self.index }
    }
}

impl<V> Deref for HeldVersion<V> {
    type Target = VersionEntry<V>;

    fn deref(&self) -> &VersionEntry<V> {
        &self.stage.choice.versions[self.index]
    }
}

impl Cohort {
    fn new(lookup: Lookup, values: Vec<String>, share: Weight, version: Option<usize>) -> Self {
        let value_bytes_max = values.iter().map(String::len).max().unwrap_or(0);
        let values = values.into_iter().map(|value| value.into_bytes().into()).collect();
        Self { lookup, values, value_bytes_max, share, version }
    }

    fn applies(&self, request: &Traits<'_>) -> bool {
        self.lookup
            .value(request)
            .is_some_and(|value| value.len() <= self.value_bytes_max && self.values.contains(&*value))
    }
}

/// The points of the baseline with `share`: of those of version `fallback` the ones that are farthest from the canary's.
fn baseline(shares: &[Share], canary: Option<usize>, fallback: usize, share: Weight) -> Range<u16> {
    let position = |version: usize| shares.iter().position(|share| share.version as usize == version);
    let Some(at) = position(fallback) else { return 0..0 };
    let start = at.checked_sub(1).map_or(0, |before| shares[before].end);
    let end = shares[at].end;
    let points = share.basis_points().min(end - start);
    if canary.and_then(position).is_some_and(|canary| canary > at) {
        start..start + points
    } else {
        end - points..end
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
