//! The labels of metrics.

use wasm_fn_core::{FunctionName, StageName, VersionNo};

/// A label of a metric.
pub(super) type Label<'a> = (&'static str, &'a str);

/// The version in a stage that a sample is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject {
    function: String,
    stage: String,
    version: String,
}

impl Subject {
    pub(super) fn new(function: &FunctionName, stage: &StageName, version: VersionNo) -> Self {
        Self { function: function.to_string(), stage: stage.to_string(), version: version.to_string() }
    }

    /// What stands for all versions without series of their own. No version has its name.
    pub(super) fn other() -> Self {
        let [function, stage, version] = [(); 3].map(|()| "other".to_owned());
        Self { function, stage, version }
    }

    pub(super) fn labels(&self) -> [Label<'_>; 3] {
        [("function", &self.function), ("stage", &self.stage), ("version", &self.version)]
    }

    pub(super) fn labels_and<'a>(&'a self, name: &'static str, value: &'a str) -> [Label<'a>; 4] {
        let [function, stage, version] = self.labels();
        [function, stage, version, (name, value)]
    }
}
