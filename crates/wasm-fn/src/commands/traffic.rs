//! `traffic`, `promote`, `pause`, `resume`, `abort`, `rollback`: moving traffic between versions.

use http::Method;
use serde::Serialize;
use wasm_fn_api as api;
use wasm_fn_core::{FunctionName, VersionRef, Weight, percent};

use super::{DONE, connect};
use crate::{
    args,
    fault::Fault,
    output::{Output, lines, tables},
};

pub(super) async fn traffic(args: args::Traffic, output: Output) -> Result<u8, Fault> {
    let args::Traffic { change, shares } = args;
    if shares.is_empty() {
        return show(change, output).await;
    }
    let split = shares.iter().map(|&(version, weight)| api::SplitShare {
        version: version.to_string(),
        weight: weight.to_string(),
    });
    let split = split.collect();
    check_sum(&change.function, &shares).map_err(|(cause, help)| {
        let fault = Fault::new("invalid-split", not_changed(&change), cause);
        match help {
            Some(help) => fault.help(help),
            None => fault,
        }
    })?;
    let (stage, message) = (change.stage.to_string(), change.message.clone());
    let request = api::TrafficRequest { stage, split, message, expected_revision: None };
    send(&change, Method::PUT, "traffic", &request, output).await?;
    Ok(DONE)
}

/// `promote`.
pub(super) async fn promote(args: args::Promote, output: Output) -> Result<u8, Fault> {
    let change = args.change;
    let (stage, message) = (change.stage.to_string(), change.message.clone());
    let seen = seen(&change).await?;
    let request = api::PromoteRequest { stage, full: args.full, seen, message, expected_revision: None };
    let changed = send(&change, Method::POST, "promote", &request, output).await?;
    if changed.rollout.as_ref().is_some_and(|rollout| rollout.step.is_some()) {
        output.next(&[(again(&change, "abort"), "all traffic back to stable")]);
    } else if changed.previous.is_some() {
        output.next(&[(again(&change, "rollback"), "back to the previous version")]);
    }
    Ok(DONE)
}

/// The state of the rollout to promote. If a person or the node is faster and takes the step first, the
/// node can then tell that this promotion was meant for that step.
async fn seen(change: &args::Change) -> Result<Option<api::RolloutSeen>, Fault> {
    let path = format!("/v1/functions/{}", change.function);
    let status = connect(&change.connection)?.get::<api::FunctionStatus>(&path).await;
    let status = status.map_err(|error| error.fault(not_changed(change)))?;
    let stage = status.stages.iter().find(|stage| stage.stage == change.stage.as_str());
    Ok(stage.and_then(|stage| stage.rollout.as_ref()).map(api::RolloutSeen::from))
}

/// `pause`.
pub(super) async fn pause(change: args::Change, output: Output) -> Result<u8, Fault> {
    hold(&change, "pause", output).await?;
    output.next(&[(again(&change, "resume"), "continue the rollout")]);
    Ok(DONE)
}

/// `resume`.
pub(super) async fn resume(change: args::Change, output: Output) -> Result<u8, Fault> {
    hold(&change, "resume", output).await?;
    Ok(DONE)
}

async fn hold(change: &args::Change, action: &str, output: Output) -> Result<api::StageChanged, Fault> {
    let (stage, message) = (change.stage.to_string(), change.message.clone());
    let request = api::HoldRequest { stage, message, expected_revision: None };
    send(change, Method::POST, action, &request, output).await
}

/// `abort`.
pub(super) async fn abort(args: args::Abort, output: Output) -> Result<u8, Fault> {
    let args::Abort { change, now } = args;
    let (stage, message) = (change.stage.to_string(), change.message.clone());
    let request = api::AbortRequest { stage, now, message, expected_revision: None };
    send(&change, Method::POST, "abort", &request, output).await?;
    Ok(DONE)
}

/// `rollback`.
pub(super) async fn rollback(args: args::Rollback, output: Output) -> Result<u8, Fault> {
    let args::Rollback { change, to } = args;
    let (stage, message) = (change.stage.to_string(), change.message.clone());
    let to = to.map(|version| version.to_string());
    let request = api::RollbackRequest { stage, to, message, expected_revision: None };
    let changed = ask(&change, Method::POST, "rollback", &request).await?;
    output.data(&changed, lines::rolled_back)?;
    Ok(DONE)
}

fn not_changed(change: &args::Change) -> String {
    format!("stage `{}` of `{}` was not changed", change.stage, change.function)
}

/// `wasm-fn rollback hello -s staging`.
fn again(change: &args::Change, command: &str) -> String {
    let on = if change.stage.is_live() { String::new() } else { format!(" -s {}", change.stage) };
    format!("wasm-fn {command} {}{on}", change.function)
}

async fn send(
    change: &args::Change,
    method: Method,
    action: &str,
    request: &impl Serialize,
    output: Output,
) -> Result<api::StageChanged, Fault> {
    let changed = ask(change, method, action, request).await?;
    output.data(&changed, lines::changed)?;
    Ok(changed)
}

async fn ask(
    change: &args::Change,
    method: Method,
    action: &str,
    request: &impl Serialize,
) -> Result<api::StageChanged, Fault> {
    let path = format!("/v1/functions/{}/{action}", change.function);
    let client = connect(&change.connection)?;
    let changed = client.call::<_, api::StageChanged>(method, &path, Some(request)).await;
    changed.map_err(|error| error.fault(not_changed(change)))
}

async fn show(change: args::Change, output: Output) -> Result<u8, Fault> {
    let args::Change { function, stage, connection, .. } = change;
    let failed = format!("the split of `{function}` cannot be shown");
    let client = connect(&connection)?;
    let status = client.get::<api::FunctionStatus>(&format!("/v1/functions/{function}")).await;
    let status = status.map_err(|error| error.fault(failed.clone()))?;
    let found = status.stages.iter().find(|found| found.stage == stage.as_str());
    let found = found.ok_or_else(|| unknown_stage(failed, &status, stage.as_str()))?;
    output.data(&found.split, |split| tables::split(split))?;
    Ok(DONE)
}

/// The fault for a stage that the function does not have.
pub(super) fn unknown_stage(error: String, status: &api::FunctionStatus, stage: &str) -> Fault {
    let stages: Vec<_> = status.stages.iter().map(|stage| stage.stage.as_str()).collect();
    let stages = if stages.is_empty() { "none".to_owned() } else { stages.join(", ") };
    let cause =
        format!("`{}` has no traffic in stage {stage}; stages with traffic: {stages}", status.function);
    Fault::new("no-such-stage", error, cause)
}

/// Checks that the weights add up. The error holds the reason and the command that was probably meant.
fn check_sum(
    function: &FunctionName,
    shares: &[(VersionRef, Weight)],
) -> Result<(), (String, Option<String>)> {
    let full = u64::from(Weight::FULL.basis_points());
    let points = |&(_, weight): &(VersionRef, Weight)| u64::from(weight.basis_points());
    let sum: u64 = shares.iter().map(points).sum();
    if sum == full {
        return Ok(());
    }
    let cause = format!("weights add up to {}, expected 100%", percent(sum));
    let twice = |(index, (version, _)): (usize, &(VersionRef, Weight))| {
        shares[..index].iter().any(|(earlier, _)| earlier == version)
    };
    if shares.iter().enumerate().any(twice) {
        // What is proposed would be refused too.
        return Err((cause, None));
    }
    // The largest share is usually the one that was meant to take the rest.
    let largest = shares.iter().enumerate().max_by_key(|(_, share)| share.1).map(|(index, _)| index);
    let rest = largest.and_then(|index| {
        let others = sum - points(&shares[index]);
        let rest = Weight::from_basis_points(u16::try_from(full.checked_sub(others)?).ok()?)?;
        (rest > Weight::ZERO).then_some((index, rest))
    });
    let help = rest.map(|(largest, rest)| {
        let shares = shares.iter().enumerate().map(|(index, (version, weight))| {
            format!(" {version}={}", if index == largest { &rest } else { weight })
        });
        format!("run `wasm-fn traffic {function}{}`", shares.collect::<String>())
    });
    Err((cause, help))
}

#[cfg(test)]
mod tests;
