//! What a stage is built from.

use std::{sync::Arc, time::Duration};

use http::HeaderValue;
use wasm_fn_core::{
    CohortRule, FunctionName, PreviewAccess, Route, StageName, Sticky, TrafficSplit, VersionNo, Weight,
};

use crate::{Salt, Tally, TrafficObserver};

/// Everything that a [`Stage`](crate::Stage) is built from.
pub struct StageSpec<V> {
    /// The function that the stage belongs to.
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
    /// Cohort rules; the first that applies wins.
    pub cohorts: Vec<PlacedCohort>,
    /// Key of the hash that places sticky keys.
    pub salt: Salt,
    /// The comparison of its canary.
    pub comparison: Option<ComparisonSpec>,
    /// Users of the fallback that a second handle serves.
    pub baseline: Option<BaselineSpec<V>>,
    /// Every version that can be reached, by split, role or override; in any order.
    pub versions: Vec<VersionEntry<V>>,
}

/// A version that a stage can reach.
#[derive(Debug)]
pub struct VersionEntry<V> {
    /// Its number.
    pub no: VersionNo,
    /// The number as a header value, such as `v42`.
    pub label: HeaderValue,
    /// How its invocations in this stage ended.
    pub tally: Arc<Tally>,
    /// The caller's handle.
    pub target: V,
}

/// A cohort rule that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedCohort {
    /// The rule.
    pub rule: CohortRule,
    /// The share of its users that the rule places. The hash of a user's key decides who they are, so a share
    /// that grows keeps its users. The others are placed as if the rule did not exist.
    pub share: Weight,
}

/// How a stage compares its canary.
#[derive(Clone)]
pub struct ComparisonSpec {
    /// Observes the requests.
    pub observer: Arc<dyn TrafficObserver>,
    /// The version under test. While there is none, the observer sees the cohorts that would be on it.
    pub canary: Option<VersionNo>,
    /// The version that the canary is compared with. It answers in the canary's place while that is withheld.
    pub fallback: VersionNo,
    /// The time after which `fallback` answers a request that the canary has not answered: early enough for a
    /// second run. `None` if a request that fails on the canary stays failed.
    pub fallback_after: Option<Duration>,
}

/// The baseline: users of the fallback that a second handle on the same version serves. They have the points
/// of the fallback's share that are farthest from the canary's, so a canary that grows takes them last.
pub struct BaselineSpec<V> {
    /// Their share of the requests; at most the share of the fallback.
    pub share: Weight,
    /// The second handle, under the number of the fallback.
    pub entry: VersionEntry<V>,
}
