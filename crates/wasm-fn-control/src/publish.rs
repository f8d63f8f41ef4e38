//! From state to route table.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use http::HeaderValue;
use wasm_fn_core::{FunctionName, StageName, VersionNo};
use wasm_fn_router::{RouteClash, RouteTable, Stage, StageError, StageSpec, Tally, VersionEntry};

use crate::{
    host::Host,
    state::{Function, StageState, State},
};

/// Builds tables that share what did not change: stages of other functions, handles on versions, and
/// tallies, which go on counting.
pub(crate) struct Publisher<H: Host> {
    host: Arc<H>,
    functions: BTreeMap<FunctionName, Parts<H::Version>>,
}

/// What was built for one function.
struct Parts<V> {
    handles: HashMap<VersionNo, Arc<V>>,
    tallies: HashMap<(StageName, VersionNo), Arc<Tally>>,
    stages: Vec<Arc<Stage<V>>>,
}

/// A table that is built and not yet published.
pub(crate) struct Next<V> {
    function: FunctionName,
    parts: Option<Parts<V>>,
    table: RouteTable<V>,
}

/// A state that makes no table; planning has checked everything, so this is a fault of ours.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// Two stages claim one route.
    #[error(transparent)]
    Clash(#[from] RouteClash),
    /// A stage that cannot be built.
    #[error(transparent)]
    Stage(#[from] StageError),
}

impl<H: Host> Publisher<H> {
    pub(crate) fn new(host: Arc<H>) -> Self {
        Self { host, functions: BTreeMap::new() }
    }

    /// Builds the table of `state` from nothing.
    pub(crate) fn all(&mut self, state: &State) -> Result<RouteTable<H::Version>, TableError> {
        for (name, function) in state.functions() {
            let parts = self.build(name, function)?;
            self.functions.insert(name.clone(), parts);
        }
        let stages = self.functions.values().flat_map(|parts| parts.stages.iter().cloned()).collect();
        Ok(RouteTable::new(state.revision(), stages)?)
    }

    /// Builds the table of `state`, in which only `changed` is other than in the state before.
    ///
    /// Nothing of it is kept until [`keep`](Self::keep), because the state may never be committed.
    pub(crate) fn changed(
        &self,
        state: &State,
        changed: &FunctionName,
    ) -> Result<Next<H::Version>, TableError> {
        let parts = state.function(changed).ok().map(|function| self.build(changed, function)).transpose()?;
        let others = self.functions.iter().filter(|&(name, _)| name != changed).map(|(_, parts)| parts);
        let stages = others.chain(&parts).flat_map(|parts| parts.stages.iter().cloned()).collect();
        let table = RouteTable::new(state.revision(), stages)?;
        Ok(Next { function: changed.clone(), parts, table })
    }

    /// Takes over what was built for a state that is committed by now; gives its table.
    pub(crate) fn keep(&mut self, next: Next<H::Version>) -> RouteTable<H::Version> {
        match next.parts {
            Some(parts) => self.functions.insert(next.function, parts),
            None => self.functions.remove(&next.function),
        };
        next.table
    }

    fn build(&self, name: &FunctionName, function: &Function) -> Result<Parts<H::Version>, TableError> {
        let before = self.functions.get(name);
        let handle = |no: VersionNo| before.and_then(|parts| parts.handles.get(&no)).cloned();
        let handles: HashMap<_, _> = function
            .versions
            .iter()
            .map(|(&no, version)| {
                let build = &version.build;
                let handle = handle(no);
                (no, handle.unwrap_or_else(|| self.host.version(name, no, build.digest, &build.config)))
            })
            .collect();
        let tally = |key: &(StageName, VersionNo)| {
            before.and_then(|parts| parts.tallies.get(key)).cloned().unwrap_or_default()
        };
        let keys = function
            .stages
            .keys()
            .flat_map(|stage| function.versions.keys().map(move |&version| (stage.clone(), version)));
        let tallies: HashMap<_, _> = keys.map(|key| (key.clone(), tally(&key))).collect();
        let mut parts = Parts { handles, tallies, stages: Vec::new() };
        for (stage, state) in &function.stages {
            let spec = parts.spec(name, function, stage, state);
            parts.stages.push(Arc::new(Stage::new(spec)?));
        }
        Ok(parts)
    }
}

impl<V> Parts<V> {
    fn spec(
        &self,
        name: &FunctionName,
        function: &Function,
        stage: &StageName,
        state: &StageState,
    ) -> StageSpec<V> {
        let entries = self.handles.iter().map(|(&no, handle)| VersionEntry {
            no,
            label: HeaderValue::try_from(no.to_string()).expect("`v` and digits are a header value"),
            tally: self.tallies.get(&(stage.clone(), no)).cloned().unwrap_or_default(),
            target: Arc::clone(handle),
        });
        let stable = function.versions.get(&state.stable).map(|version| &*version.build.config);
        StageSpec {
            function: name.clone(),
            stage: stage.clone(),
            routes: function.routes(name, stage, state.stable),
            split: state.split.clone(),
            stable: state.stable,
            canary: state.canary(),
            previous: state.newest_previous(),
            sticky: stable.map(|config| config.sticky.clone()).unwrap_or_default(),
            cohorts: stable.map(|config| config.cohorts.clone()).unwrap_or_default(),
            salt: state.salt,
            versions: entries.collect(),
        }
    }
}
