//! Which components versions use, and removing those that none uses any more.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::PathBuf,
};

use wasm_fn_core::{Digest, FunctionName};

use super::Control;
use crate::{
    host::Host,
    state::{Function, State},
};

/// How many versions use each component. A change counts only what it changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ComponentUses(HashMap<Digest, u64>);

impl ComponentUses {
    /// The components of all versions of `state`.
    pub(super) fn of(state: &State) -> Self {
        let mut uses = Self::default();
        state.functions().for_each(|(_, function)| uses.add(function));
        uses
    }

    /// Whether a version uses `component`.
    pub(super) fn contains(&self, component: Digest) -> bool {
        self.0.contains_key(&component)
    }

    /// Every component that a version uses, each once.
    pub(super) fn all(&self) -> impl Iterator<Item = Digest> {
        self.0.keys().copied()
    }

    /// Counts the versions that `function` has in the state `after` in place of those that it had in the
    /// state `before`. Returns the components that no version uses any more.
    pub(super) fn replace(
        &mut self,
        before: &State,
        after: &State,
        function: &FunctionName,
    ) -> HashSet<Digest> {
        // What stays in use never counts as unused in between.
        after.stored_function(function).into_iter().for_each(|function| self.add(function));
        let mut unused = HashSet::new();
        for digest in before.stored_function(function).into_iter().flat_map(|function| components(function)) {
            if let Some(count) = self.0.get_mut(&digest) {
                *count -= 1;
                if *count == 0 {
                    self.0.remove(&digest);
                    unused.insert(digest);
                }
            }
        }
        unused
    }

    fn add(&mut self, function: &Function) {
        components(function).for_each(|digest| *self.0.entry(digest).or_default() += 1);
    }
}

/// The component of each version of `function`.
fn components(function: &Function) -> impl Iterator<Item = Digest> {
    function.versions.values().map(|version| version.build.digest)
}

impl<H: Host, S> Control<H, S> {
    /// The path of a component, which is had from another node if need be; `None` if none has it.
    ///
    /// # Errors
    /// If the disk fails.
    pub async fn component(&self, component: Digest) -> io::Result<Option<PathBuf>> {
        if let Some(path) = self.blobs.find(component).await? {
            return Ok(Some(path));
        }
        self.host.obtain(component).await;
        self.blobs.find(component).await
    }

    /// Lets other nodes have a component that was just uploaded to this one.
    pub async fn share(&self, component: Digest) {
        self.host.share(component).await;
    }

    /// Removes a refused component, unless a version uses it.
    pub(super) async fn discard(&self, component: Digest) {
        let writer = self.writer.lock().await;
        if !writer.handed_over && !writer.components.contains(component) {
            self.remove_components(HashSet::from([component])).await;
        }
    }

    /// Removes `components`, which no version uses. Call it only with the writer's lock, so that no version
    /// can start to use one meanwhile.
    pub(super) async fn remove_components(&self, components: HashSet<Digest>) {
        if components.is_empty() {
            return;
        }
        if let Err(error) = self.blobs.collect_apart(components).await {
            tracing::warn!(%error, "unused components were not removed");
        }
    }
}
