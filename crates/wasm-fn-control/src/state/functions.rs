//! All functions, and indexes over them, so that neither a plan nor who follows the state has to look at
//! every function. Copies share what is the same: a copy with one change costs what the change does.

use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};
use wasm_fn_core::{FunctionName, Revision, Route, StageName, VersionNo};

use super::{Function, StageState, State};

/// The functions by name, with tombstones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions {
    by_name: RedBlackTreeMapSync<FunctionName, Arc<Function>>,
    // Invariant: each function that claims the route, nearly always one.
    claimants: RedBlackTreeMapSync<Route, Vec<FunctionName>>,
    // Invariant: each function, by the revision of its last change.
    by_revision: RedBlackTreeMapSync<Revision, Vec<FunctionName>>,
    // Invariant: the functions with triggers, and how many triggers they have together.
    with_triggers: RedBlackTreeSetSync<FunctionName>,
    triggers: usize,
}

impl Functions {
    /// The function called `name`, even if it is a tombstone.
    pub(crate) fn get(&self, name: &FunctionName) -> Option<&Arc<Function>> {
        self.by_name.get(name)
    }

    /// Every function, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&FunctionName, &Arc<Function>)> {
        walk(self.by_name.iter())
    }

    /// Every function whose name comes after `name`, by name.
    pub(crate) fn after(
        &self,
        name: Option<&FunctionName>,
    ) -> impl Iterator<Item = (&FunctionName, &Arc<Function>)> {
        let after = name.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
        walk(self.by_name.range((after, Bound::Unbounded)))
    }

    /// The functions that have changed after `revision`, in the order of their last changes.
    pub(crate) fn changed_after(&self, revision: Revision) -> impl Iterator<Item = &FunctionName> {
        let range = (Bound::Excluded(revision), Bound::Unbounded);
        walk(self.by_revision.range(range).flat_map(|(_, names)| names))
    }

    /// The functions that claim `route`.
    pub(crate) fn claimants(&self, route: &Route) -> &[FunctionName] {
        self.claimants.get(route).map_or(&[], Vec::as_slice)
    }

    /// The functions with triggers, by name.
    pub(crate) fn with_triggers(&self) -> impl Iterator<Item = (&FunctionName, &Arc<Function>)> {
        walk(self.with_triggers.iter().filter_map(|name| self.by_name.get_key_value(name)))
    }

    /// How many triggers all functions have together.
    pub(crate) fn triggers(&self) -> usize {
        self.triggers
    }

    /// Puts `function` in the place of the one called `name`.
    pub(crate) fn put(&mut self, name: &FunctionName, function: Arc<Function>) {
        let before = self.by_name.get(name).cloned();
        let (had, has) =
            (before.as_ref().map(|before| routes(name, before)).unwrap_or_default(), routes(name, &function));
        had.difference(&has).for_each(|route| leave(&mut self.claimants, route, name));
        for route in has.difference(&had) {
            join(&mut self.claimants, route.clone(), name);
        }
        if before.as_ref().is_none_or(|before| before.revision != function.revision) {
            if let Some(before) = &before {
                leave(&mut self.by_revision, &before.revision, name);
            }
            join(&mut self.by_revision, function.revision, name);
        }
        let had = before.map_or(0, |before| before.triggers.len());
        let has = function.triggers.len();
        self.triggers = self.triggers - had + has;
        match (had > 0, has > 0) {
            (false, true) => self.with_triggers.insert_mut(name.clone()),
            (true, false) => _ = self.with_triggers.remove_mut(name),
            (true, true) | (false, false) => {}
        }
        self.by_name.insert_mut(name.clone(), function);
    }
}

impl State {
    /// The functions that are not deleted and whose names come after `name`, by name.
    pub fn functions_after(
        &self,
        name: Option<&FunctionName>,
    ) -> impl Iterator<Item = (&FunctionName, &Arc<Function>)> {
        self.functions.after(name).filter(|(_, function)| !function.versions.is_empty())
    }

    /// The functions that have changed after `revision`, also those that are deleted, in the order of their
    /// last changes.
    pub fn changed_after(&self, revision: Revision) -> impl Iterator<Item = &FunctionName> {
        self.functions.changed_after(revision)
    }
}

impl PartialEq for Functions {
    fn eq(&self, other: &Self) -> bool {
        // The indexes follow from the functions.
        self.by_name == other.by_name
    }
}

impl FromIterator<(FunctionName, Arc<Function>)> for Functions {
    fn from_iter<I: IntoIterator<Item = (FunctionName, Arc<Function>)>>(functions: I) -> Self {
        let mut all = Self::default();
        functions.into_iter().for_each(|(name, function)| all.put(&name, function));
        all
    }
}

/// Every route that the stages of `function` claim, each once.
pub(crate) fn routes(name: &FunctionName, function: &Function) -> BTreeSet<Route> {
    claims(name, function).map(|(_, _, route)| route).collect()
}

/// A route that a stage of a function claims.
pub(crate) type Claim<'a> = (&'a FunctionName, &'a StageName, Route);

/// Every route that the stages of `function` claim, with the stage.
pub(crate) fn claims<'a>(name: &'a FunctionName, function: &'a Function) -> impl Iterator<Item = Claim<'a>> {
    function.stages.iter().flat_map(move |(stage, state)| {
        let routes: BTreeSet<_> =
            roles(state).flat_map(|version| function.routes(name, stage, version)).collect();
        routes.into_iter().map(move |route| (name, stage, route))
    })
}

/// The versions whose routes a stage claims.
fn roles(state: &StageState) -> impl Iterator<Item = VersionNo> {
    [Some(state.stable), state.canary(), state.newest_previous()].into_iter().flatten()
}

/// The functions that `walk` comes to; tests count them.
fn walk<T>(walk: impl Iterator<Item = T>) -> impl Iterator<Item = T> {
    #[cfg(test)]
    let walk = walk.inspect(|_| tests::look());
    walk
}

/// Adds `name` to what `index` has at `key`.
fn join<K: Ord + Clone>(index: &mut RedBlackTreeMapSync<K, Vec<FunctionName>>, key: K, name: &FunctionName) {
    match index.get_mut(&key) {
        Some(names) => names.push(name.clone()),
        None => index.insert_mut(key, vec![name.clone()]),
    }
}

/// Removes `name` from what `index` has at `key`.
fn leave<K: Ord + Clone>(
    index: &mut RedBlackTreeMapSync<K, Vec<FunctionName>>,
    key: &K,
    name: &FunctionName,
) {
    if let Some(names) = index.get_mut(key) {
        names.retain(|found| found != name);
        if names.is_empty() {
            index.remove_mut(key);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
