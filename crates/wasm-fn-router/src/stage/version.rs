//! Handles on the versions of a stage.

use std::{ops::Deref, sync::Arc};

use super::{Stage, VersionEntry};
use crate::TrafficObserver;

/// A version of a stage that the caller holds.
pub struct StageVersion<'a, V> {
    pub(super) stage: &'a Arc<Stage<V>>,
    pub(super) index: usize,
}

/// A version of a stage that keeps its stage alive.
pub struct HeldVersion<V> {
    stage: Arc<Stage<V>>,
    index: usize,
}

impl<V> StageVersion<'_, V> {
    /// Holds the version for as long as its request runs.
    pub fn hold(&self) -> HeldVersion<V> {
        HeldVersion { stage: Arc::clone(self.stage), index: self.index }
    }
}

impl<V> Deref for StageVersion<'_, V> {
    type Target = VersionEntry<V>;

    fn deref(&self) -> &VersionEntry<V> {
        self.stage.entry(self.index)
    }
}

impl<V> HeldVersion<V> {
    /// Its stage.
    pub fn stage(&self) -> &Stage<V> {
        &self.stage
    }

    /// Who observes the requests of the stage.
    pub fn observer(&self) -> Option<&Arc<dyn TrafficObserver>> {
        self.stage.comparison().map(|comparison| &comparison.observer)
    }

    /// The version that the stage's canary is compared with. It answers where the canary failed.
    pub fn fallback(&self) -> Option<Self> {
        let index = self.stage.comparison()?.fallback;
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
        self.stage.entry(self.index)
    }
}
