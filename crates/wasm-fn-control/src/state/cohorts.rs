//! Checks that the cohorts that a rollout's steps name exist.
//!
//! Cohort rules act before a version is chosen, so they come from the stable version. A rule that only the
//! new version has matches nobody until that version is promoted.

use std::fmt;

use wasm_fn_core::{CohortName, CohortRule, FunctionConfig, FunctionName, Role, StageName, VersionNo};
use wasm_fn_rollout::{Plan, Step};

/// A step names a cohort that the stable version does not send to the canary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "step {number} is `{step}`, but {stable}, the stable version in stage `{stage}` of `{function}`, {problem}, expected {}",
    expected(.named)
)]
pub struct NoCohort {
    /// The function.
    pub function: FunctionName,
    /// The stage.
    pub stage: StageName,
    /// Its stable version.
    pub stable: VersionNo,
    /// The step's number, from 1.
    pub number: usize,
    /// The step.
    pub step: Step,
    /// What is wrong with the step's cohort.
    pub problem: CohortProblem,
    /// The cohorts that a step could name.
    pub named: Vec<CohortName>,
}

/// Why a step cannot use a cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CohortProblem {
    /// No rule has this name.
    Missing,
    /// Only a rule of the new version has this name.
    OnlyNew,
    /// The rule sends its users to stable.
    ToStable,
}

impl fmt::Display for CohortProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "has no cohort with that name",
            Self::OnlyNew => {
                "has no cohort with that name (the new version's rules apply only once it is promoted)"
            }
            Self::ToStable => "sends that cohort to stable",
        })
    }
}

fn expected(named: &[CohortName]) -> String {
    match named {
        [] => "no step by cohort, because it has no named rule that sends users to the canary".to_owned(),
        [only] => format!("its cohort {only}"),
        names => {
            let names: Vec<_> = names.iter().map(CohortName::as_str).collect();
            format!("one of its cohorts {}", names.join(", "))
        }
    }
}

/// Checks the steps of `plan` that are by cohort against the rules of the `stable` version. Searches the
/// rules of the new version only to explain an error.
///
/// # Errors
/// The index, from 0, of the first step whose cohort stable does not have, what is wrong with it, and the
/// cohorts that stable has.
pub(super) fn check(
    plan: &Plan,
    stable: &FunctionConfig,
    new: &FunctionConfig,
) -> Result<(), (usize, CohortProblem, Vec<CohortName>)> {
    let rule = |config: &FunctionConfig, name: &CohortName| -> Option<Role> {
        config.cohorts.iter().find(|rule| rule.name.as_ref() == Some(name)).map(|rule| rule.role)
    };
    for (index, step) in plan.steps().iter().enumerate() {
        let Some(name) = step.cohort() else { continue };
        let problem = match rule(stable, name) {
            Some(Role::Canary) => continue,
            Some(Role::Stable) => CohortProblem::ToStable,
            None if rule(new, name).is_some() => CohortProblem::OnlyNew,
            None => CohortProblem::Missing,
        };
        let to_canary = |rule: &&CohortRule| rule.role == Role::Canary;
        let named = stable.cohorts.iter().filter(to_canary).filter_map(|rule| rule.name.clone());
        return Err((index, problem, named.collect()));
    }
    Ok(())
}
