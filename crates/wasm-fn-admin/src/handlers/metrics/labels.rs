//! The labels of metrics.

use wasm_fn_core::{FunctionName, StageName, VersionNo};

/// A label of a metric.
pub(super) type Label<'a> = (&'static str, &'a str);

/// The version in a stage that a sample is about.
#[derive(Debug)]
pub(super) struct Subject {
    function: String,
    stage: String,
    version: String,
}

impl Subject {
    pub(super) fn new(function: &FunctionName, stage: &StageName, version: VersionNo) -> Self {
        Self { function: function.to_string(), stage: stage.to_string(), version: version.to_string() }
    }

    pub(super) fn labels(&self) -> [Label<'_>; 3] {
        [("function", &self.function), ("stage", &self.stage), ("version", &self.version)]
    }

    pub(super) fn labels_and<'a>(&'a self, name: &'static str, value: &'a str) -> [Label<'a>; 4] {
        let [function, stage, version] = self.labels();
        [function, stage, version, (name, value)]
    }
}
