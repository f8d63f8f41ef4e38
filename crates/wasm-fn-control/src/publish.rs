//! Builds the route table from the state.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::HeaderValue;
use tokio::sync::Notify;
use wasm_fn_core::{
    CohortRule, FunctionConfig, FunctionName, Role, StageName, TrafficSplit, VersionNo, Weight,
};
use wasm_fn_rollout::Place;
use wasm_fn_router::{
    BaselineSpec, ComparisonSpec, PlacedCohort, RouteClash, RouteTable, Stage, StageError, StageSpec, Tally,
    TrafficObserver, TrapNews, VersionEntry,
};
use wasm_fn_store::KnownTraps;

use crate::{
    analysis::{Analyses, Analysis, ClusterNode, CohortRecord, TableObserver, Tallies},
    host::Host,
    secrets::{SecretKeys, SecretsError},
    state::{Function, Rollout, RolloutId, SecretPins, StageKey, StageState, State},
};

/// Builds tables that share their unchanged parts: stages of other functions, handles on versions, and
/// tallies and analyses, which go on counting.
pub(crate) struct Publisher<H: Host> {
    host: Arc<H>,
    secrets: Arc<SecretKeys>,
    // Notified when an analysis has news.
    changed: Arc<Notify>,
    // Hears of traps that a version has for the first time.
    news: Arc<TrapNews>,
    // The traps that versions had before this was created.
    known: KnownTraps,
    // Loaded handles for the baselines of rollouts that are about to begin.
    ahead: HashMap<(StageKey, VersionNo), H::Version>,
    functions: BTreeMap<FunctionName, Parts<H::Version>>,
    analyses: Arc<Analyses>,
    // This node, if there are others.
    cluster: Option<ClusterNode>,
}

/// The parts that were built for one function.
struct Parts<V> {
    handles: HashMap<HandleKey, V>,
    tallies: HashMap<(StageName, VersionNo), Arc<Tally>>,
    /// The tallies of users whom a cohort rule would place on a canary, while there is none.
    cohorts: HashMap<(StageName, VersionNo), Arc<Tally>>,
    baselines: HashMap<StageName, BaselineHandle<V>>,
    stages: Vec<Arc<Stage<V>>>,
}

/// A version with the secrets, the environment variables and the buckets that it has in a stage. Without any
/// of them, it is the same in all stages.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct HandleKey {
    version: VersionNo,
    secrets: Option<(StageName, SecretPins)>,
    env: BTreeMap<String, String>,
    /// The stage whose buckets it has.
    buckets: Option<StageName>,
}

impl HandleKey {
    fn of(function: &Function, stage: &StageName, version: VersionNo) -> Self {
        let pins = function.secrets_of(stage, version);
        let secrets = (!pins.is_empty()).then(|| (stage.clone(), pins));
        let has_buckets = function.versions.get(&version).is_some_and(|v| !v.build.config.buckets.is_empty());
        let buckets = has_buckets.then(|| stage.clone());
        Self { version, secrets, env: function.stage_env(stage, version), buckets }
    }
}

/// The handle that serves the baseline of a rollout.
#[derive(Clone)]
struct BaselineHandle<V> {
    rollout: RolloutId,
    target: V,
}

/// A baseline's share, and its handle.
type Baseline<V> = (Weight, BaselineHandle<V>);

/// The analysis of a rollout, with the observer for a table that is not yet published.
struct NextAnalysis {
    analysis: Arc<Analysis>,
    observer: Arc<TableObserver>,
    place: Place,
}

/// The analyses of a function's rollouts.
type NextAnalyses = BTreeMap<StageName, NextAnalysis>;

/// A table that is built but not yet published.
pub(crate) struct Next<V> {
    function: FunctionName,
    built: Option<(Parts<V>, NextAnalyses)>,
    table: RouteTable<V>,
}

/// Why no table can be built from a state. Planning has checked everything, so this is a bug of ours.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Two stages claim one route.
    #[error(transparent)]
    Clash(#[from] RouteClash),
    /// A stage cannot be built.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A version cannot have its secrets: what is stored of them was changed.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
}

impl<H: Host> Publisher<H> {
    /// A publisher that has published nothing yet, and whose analyses notify `changed`. `known` are the traps
    /// that versions have already had.
    pub(crate) fn new(
        host: Arc<H>,
        secrets: Arc<SecretKeys>,
        changed: Arc<Notify>,
        known: KnownTraps,
    ) -> Self {
        let (ahead, functions, analyses) = (HashMap::new(), BTreeMap::new(), Arc::default());
        let cluster = None;
        Self { host, secrets, changed, news: Arc::default(), known, ahead, functions, analyses, cluster }
    }

    /// Publishes on `node`, one of several, with whom its analyses share their evidence.
    pub(crate) fn in_cluster(self, node: ClusterNode) -> Self {
        Self { cluster: Some(node), ..self }
    }

    /// The analyses of published rollouts.
    pub(crate) fn analyses(&self) -> Arc<Analyses> {
        Arc::clone(&self.analyses)
    }

    /// Holds a handle for the baseline of a rollout of the stage at `key` from `version` that is about to
    /// begin.
    pub(crate) fn hold_ahead(&mut self, key: StageKey, version: VersionNo, target: H::Version) {
        self.ahead.insert((key, version), target);
    }

    /// Drops that handle. If the rollout has begun, it holds the handle now.
    pub(crate) fn drop_ahead(&mut self, key: &StageKey, version: VersionNo) {
        self.ahead.remove(&(key.clone(), version));
    }

    /// The versions that have had new traps.
    pub(crate) fn news(&self) -> &TrapNews {
        &self.news
    }

    /// Builds the whole table of `state`.
    pub(crate) fn all(&mut self, state: &State) -> Result<RouteTable<H::Version>, TableError> {
        for (name, function) in state.functions() {
            let (parts, analyses) = self.build(name, function)?;
            self.activate(name, analyses);
            self.functions.insert(name.clone(), parts);
        }
        let stages = self.functions.values().flat_map(|parts| parts.stages.iter().cloned()).collect();
        Ok(RouteTable::new(state.revision(), stages)?)
    }

    /// Builds the table of `state`, which differs from the state of `table` only in the function `changed`.
    ///
    /// Keeps nothing of it until [`keep`](Self::keep), because the state may never be committed.
    pub(crate) fn changed(
        &self,
        state: &State,
        table: &RouteTable<H::Version>,
        changed: &FunctionName,
    ) -> Result<Next<H::Version>, TableError> {
        let built = state.function(changed).ok().map(|function| self.build(changed, function)).transpose()?;
        let stages = built.iter().flat_map(|(parts, _)| parts.stages.iter().cloned()).collect();
        let table = table.with(state.revision(), changed, stages)?;
        Ok(Next { function: changed.clone(), built, table })
    }

    /// Keeps what was built for a state that is now committed. Returns its table, and the analyses of
    /// rollouts that are over.
    pub(crate) fn keep(&mut self, next: Next<H::Version>) -> (RouteTable<H::Version>, Vec<Arc<Analysis>>) {
        let Next { function, built, table } = next;
        let over = match built {
            Some((parts, analyses)) => {
                let over = self.activate(&function, analyses);
                self.functions.insert(function, parts);
                over
            }
            None => {
                self.functions.remove(&function);
                self.activate(&function, NextAnalyses::new())
            }
        };
        (table, over)
    }

    /// Lets the analyses of `function` observe what is now published. Returns those that are over.
    fn activate(&self, function: &FunctionName, next: NextAnalyses) -> Vec<Arc<Analysis>> {
        for NextAnalysis { analysis, observer, place } in next.values() {
            analysis.activate(observer, *place);
        }
        let analyses = next.into_iter().map(|(stage, next)| (stage, next.analysis));
        self.analyses.replace(function, analyses.collect())
    }

    fn build(
        &self,
        name: &FunctionName,
        function: &Function,
    ) -> Result<(Parts<H::Version>, NextAnalyses), TableError> {
        let before = self.functions.get(name);
        let handles = self.handles(name, function, before)?;
        let tally = |key: &(StageName, VersionNo)| {
            let kept = before.and_then(|parts| parts.tallies.get(key)).cloned();
            kept.unwrap_or_else(|| {
                let version = (name.clone(), key.0.clone(), key.1);
                let known = self.known.get(&version).map_or(&[][..], Vec::as_slice);
                Arc::new(Tally::knowing(known, self.news.of(version)))
            })
        };
        let keys = function
            .stages
            .keys()
            .flat_map(|stage| function.versions.keys().map(move |&version| (stage.clone(), version)));
        let tallies: HashMap<_, _> = keys.map(|key| (key.clone(), tally(&key))).collect();
        let cohort = |key: &(StageName, VersionNo)| {
            before.and_then(|parts| parts.cohorts.get(key)).cloned().unwrap_or_default()
        };
        let cohorts = function.stages.iter().map(|(stage, state)| (stage.clone(), state.stable));
        let cohorts = cohorts.map(|key| (key.clone(), cohort(&key))).collect();
        let mut parts = Parts { handles, tallies, cohorts, baselines: HashMap::new(), stages: Vec::new() };
        let mut analyses = NextAnalyses::new();
        for (stage, state) in &function.stages {
            let earlier = self.analyses.get(&(name.clone(), stage.clone()));
            let baseline = self.baseline(name, function, stage, state)?;
            let share = baseline.as_ref().map_or(Weight::ZERO, |(share, _)| *share);
            let next = state.rollout.as_ref().and_then(|rollout| {
                let next = parts.analysis(
                    stage,
                    (state, share),
                    rollout,
                    earlier,
                    (&self.changed, &self.cluster),
                    function,
                )?;
                let canary = function.versions.get(&rollout.canary);
                // The node that released it may have waited for a part of the nodes only.
                if self.cluster.is_some()
                    && canary.is_some_and(|canary| !self.host.is_prepared(canary.build.digest))
                {
                    next.1.analysis.set_prepared(false);
                }
                Some(next)
            });
            let comparison = match (next, &state.rollout) {
                (Some((spec, next)), _) => {
                    analyses.insert(stage.clone(), next);
                    Some(spec)
                }
                (None, Some(_)) => None,
                (None, None) => parts.record(stage, state, function),
            };
            if let Some((_, handle)) = &baseline {
                parts.baselines.insert(stage.clone(), handle.clone());
            }
            let target = |handle: &H::Version| self.host.in_stage(handle, stage);
            let spec = parts.spec((name, function), (stage, state), (comparison, baseline), target);
            parts.stages.push(Arc::new(Stage::new(spec)?));
        }
        Ok((parts, analyses))
    }

    /// A handle on each version of `function` in each stage, those of `before` if nothing about them differs.
    fn handles(
        &self,
        name: &FunctionName,
        function: &Function,
        before: Option<&Parts<H::Version>>,
    ) -> Result<HashMap<HandleKey, H::Version>, TableError> {
        let mut handles = HashMap::new();
        for (stage, no) in
            function.stages.keys().flat_map(|stage| function.versions.keys().map(move |&no| (stage, no)))
        {
            let key = HandleKey::of(function, stage, no);
            if handles.contains_key(&key) {
                continue;
            }
            let handle = match before.and_then(|parts| parts.handles.get(&key)) {
                Some(handle) => handle.clone(),
                None => {
                    let version = &function.versions[&no];
                    let secrets = self.secrets.of_version((name, function), stage, no)?;
                    let (digest, config) = (version.build.digest, version.config_in(stage));
                    self.host.version(name, stage, no, digest, &config, secrets)
                }
            };
            handles.insert(key, handle);
        }
        Ok(handles)
    }

    /// The baseline of the rollout of `stage`, if it is at a step, with its share. It gets as many users as
    /// the canary, or all of stable's users if there are fewer, and it has stable's secrets and environment.
    fn baseline(
        &self,
        name: &FunctionName,
        function: &Function,
        stage: &StageName,
        state: &StageState,
    ) -> Result<Option<Baseline<H::Version>>, TableError> {
        let Some(rollout) = &state.rollout else { return Ok(None) };
        let Some(Place::Step(_)) = rollout.phase.place() else { return Ok(None) };
        let share = state.split.weight(rollout.canary).min(state.split.weight(rollout.base));
        let no = rollout.base;
        let kept = self.functions.get(name).and_then(|parts| parts.baselines.get(stage));
        let kept = kept.filter(|kept| kept.rollout == rollout.id()).cloned();
        if let Some(kept) = kept {
            return Ok(Some((share, kept)));
        }
        let Some(version) = function.versions.get(&no) else { return Ok(None) };
        let key = (name.clone(), stage.clone());
        let target = match self.ahead.get(&(key, no)) {
            Some(target) => target.clone(),
            None => {
                let secrets = self.secrets.of_version((name, function), stage, no)?;
                let config = version.config_in(stage);
                self.host.fresh_version(name, stage, no, version.build.digest, &config, secrets)
            }
        };
        Ok(Some((share, BaselineHandle { rollout: rollout.id(), target })))
    }
}

impl<V: Clone> Parts<V> {
    /// How to compare the canary of `rollout`. Uses the `earlier` analysis of the stage if it belongs to this
    /// rollout.
    fn analysis(
        &self,
        stage: &StageName,
        (state, baseline_share): (&StageState, Weight),
        rollout: &Rollout,
        earlier: Option<Arc<Analysis>>,
        (changed, cluster): (&Arc<Notify>, &Option<ClusterNode>),
        function: &Function,
    ) -> Option<(ComparisonSpec, NextAnalysis)> {
        let place = rollout.phase.place()?;
        let tally = |version| self.tallies.get(&(stage.clone(), version)).cloned().unwrap_or_default();
        let goes_on = earlier.clone().filter(|analysis| analysis.is_of(rollout));
        let analysis = goes_on.unwrap_or_else(|| {
            let cohort = self.cohorts.get(&(stage.clone(), rollout.base)).cloned().unwrap_or_default();
            let tallies = Tallies::new(tally(rollout.canary), tally(rollout.base), cohort);
            let timeout = |no| function.versions.get(&no).map(|version| version.build.config.limits.timeout);
            let analysis = match cluster {
                None => Analysis::new(rollout, tallies, Arc::clone(changed)),
                Some(node) => Analysis::of_cluster(node, rollout, tallies, Arc::clone(changed)),
            };
            let analysis = match (timeout(rollout.canary), timeout(rollout.base)) {
                (Some(canary), Some(base)) => analysis.with_deadlines(canary, base),
                _ => analysis,
            };
            Arc::new(analysis.after(earlier.as_deref()))
        });
        let config = function.versions.get(&rollout.canary).map(|version| &version.build.config);
        // Until everybody is on the canary, users whom a cohort rule places on it are also shielded.
        let shielded = rollout.spec.shield() && place != Place::Watch;
        // If the canary has not answered by then, stable gets the last tenth of the time.
        let fallback_after = config.filter(|_| shielded).map(|config| config.limits.timeout.mul_f64(0.9));
        let share = share(&state.split, rollout);
        let observer = Arc::new(analysis.observer(share, baseline_share, fallback_after));
        let spec = ComparisonSpec {
            observer: Arc::clone(&observer) as Arc<dyn TrafficObserver>,
            canary: Some(rollout.canary),
            fallback: rollout.base,
            fallback_after,
        };
        Some((spec, NextAnalysis { analysis, observer, place }))
    }

    /// Counts the users whom a cohort rule would place on a canary, if there is such a rule.
    fn record(&self, stage: &StageName, state: &StageState, function: &Function) -> Option<ComparisonSpec> {
        let config = &function.versions.get(&state.stable)?.build.config;
        config.cohorts.iter().find(|rule| rule.role == Role::Canary)?;
        let tally = self.cohorts.get(&(stage.clone(), state.stable))?;
        let observer: Arc<dyn TrafficObserver> = Arc::new(CohortRecord(Arc::clone(tally)));
        Some(ComparisonSpec { observer, canary: None, fallback: state.stable, fallback_after: None })
    }

    fn spec(
        &self,
        (name, function): (&FunctionName, &Function),
        (stage, state): (&StageName, &StageState),
        (comparison, baseline): (Option<ComparisonSpec>, Option<Baseline<V>>),
        in_stage: impl Fn(&V) -> V,
    ) -> StageSpec<V> {
        let entry = |no: VersionNo, handle: &V| VersionEntry {
            no,
            label: HeaderValue::try_from(no.to_string()).expect("`v` and digits are a header value"),
            tally: self.tallies.get(&(stage.clone(), no)).cloned().unwrap_or_default(),
            target: in_stage(handle),
        };
        let entries = function
            .versions
            .keys()
            .filter_map(|&no| Some(entry(no, self.handles.get(&HandleKey::of(function, stage, no))?)));
        let baseline = baseline
            .map(|(share, handle)| BaselineSpec { share, entry: entry(handle.rollout.base, &handle.target) });
        let stable = function.versions.get(&state.stable).map(|version| &*version.build.config);
        StageSpec {
            function: name.clone(),
            stage: stage.clone(),
            routes: function.routes(name, stage, state.stable),
            preview: stable.map(|config| config.preview).unwrap_or_default(),
            split: state.split.clone(),
            stable: state.stable,
            canary: state.canary(),
            previous: state.newest_previous(),
            sticky: stable.map(|config| config.sticky.clone()).unwrap_or_default(),
            cohorts: stable.map(|config| cohorts(config, state)).unwrap_or_default(),
            salt: state.salt,
            comparison,
            baseline,
            versions: entries.collect(),
        }
    }
}

/// The cohort rules of `config` that apply at the current place of the rollout of `state`. A rule that a step
/// names applies from that step on.
fn cohorts(config: &FunctionConfig, state: &StageState) -> Vec<PlacedCohort> {
    let at = state.moving().and_then(|rollout| Some((rollout.spec.plan(), rollout.phase.place()?)));
    let share = |rule: &CohortRule| match (at, &rule.name) {
        (Some((plan, place)), Some(name)) if rule.role == Role::Canary => plan.cohort_share(place, name),
        _ => Weight::FULL,
    };
    let placed = config.cohorts.iter().map(|rule| PlacedCohort { rule: rule.clone(), share: share(rule) });
    placed.filter(|placed| placed.share != Weight::ZERO).collect()
}

/// The canary's share of the requests that go to it and its base.
fn share(split: &TrafficSplit, rollout: &Rollout) -> Weight {
    let points = |version| u32::from(split.weight(version).basis_points());
    let (canary, base) = (points(rollout.canary), points(rollout.base));
    let share = (canary * u32::from(Weight::FULL.basis_points())).checked_div(canary + base).unwrap_or(0);
    u16::try_from(share).ok().and_then(Weight::from_basis_points).unwrap_or(Weight::FULL)
}
