//! Why a stage cannot be built, or has no version to offer.

use wasm_fn_core::{FunctionName, StageName, VersionNo, VersionRef};

/// A stage cannot be built from its specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage `{stage}` of `{function}` {problem}")]
pub struct StageError {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// What is wrong with the specification.
    pub problem: StageProblem,
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StageProblem {
    /// The split, a role or the comparison names a version that is not listed.
    #[error("names {0} in its split, a role or its comparison, expected one of its versions")]
    Missing(VersionNo),
    /// A version is listed twice, so it would have two tallies.
    #[error("lists {0} twice")]
    Duplicate(VersionNo),
    /// A sticky key or a cohort rule reads a header that no request can carry.
    #[error("looks at the header {0:?}, expected a header name")]
    Header(String),
}

/// The stage does not have the version that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stage `{stage}` of `{function}` has no version {asked}")]
pub struct NoSuchVersion {
    /// The function.
    pub function: FunctionName,
    /// Its stage.
    pub stage: StageName,
    /// The version that was asked for.
    pub asked: VersionRef,
}
