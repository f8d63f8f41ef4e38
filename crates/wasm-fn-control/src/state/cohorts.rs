//! Whether the cohorts that a rollout's steps name are there.
//!
//! Cohort rules act before a version is chosen, so they are the stable version's: one that only the new
//! version brings finds nobody until that is promoted.

use std::fmt;

use wasm_fn_core::{CohortName, CohortRule, FunctionConfig, FunctionName, Role, StageName, VersionNo};
use wasm_fn_rollout::{Plan, Step};

/// A step names a cohort that the stable version does not send to the canary.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "step {number} is `{step}`, and {stable}, which is stable in stage `{stage}` of `{function}`, {problem}, expected {}",
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
    /// What is wrong with it.
    pub problem: CohortProblem,
    /// What a step could name.
    pub named: Vec<CohortName>,
}

/// Why a step's cohort is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CohortProblem {
    /// No rule has the name.
    Missing,
    /// One of the new version has it.
    OnlyNew,
    /// Its rule keeps users on stable.
    ToStable,
}

impl fmt::Display for CohortProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "has no cohort of that name",
            Self::OnlyNew => {
                "has no cohort of that name (the new version's rules apply only once it is promoted)"
            }
            Self::ToStable => "sends that cohort to stable",
        })
    }
}

fn expected(named: &[CohortName]) -> String {
    match named {
        [] => "no step by cohort, for it has no rule with a name that sends users to the canary".to_owned(),
        [only] => format!("its cohort {only}"),
        names => {
            let names: Vec<_> = names.iter().map(CohortName::as_str).collect();
            format!("one of its cohorts {}", names.join(", "))
        }
    }
}

/// Checks the steps of `plan` that are by cohort against the rules of the `stable` version, and looks for
/// names in those of the new one.
///
/// # Errors
/// Gives the first step that is by no cohort of stable, from 0, with what is wrong, and the cohorts that are
/// there.
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
