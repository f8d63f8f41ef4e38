//! `wasm-fn approve` and `wasm-fn reject`.

use http::Method;
use wasm_fn_api as api;

use crate::{
    args,
    commands::{DONE, connect},
    fault::Fault,
    output::{Output, access, time},
};

/// Approves the release that waits in a stage, after it was shown.
pub(crate) async fn approve(change: args::Change, output: Output) -> Result<u8, Fault> {
    let result = answer(&change, "approve", output).await?;
    output.data(&result, |result| {
        let api::ApprovalResult { function, stage, version, missing, .. } = result;
        match missing {
            0 => format!("{function} {version} is approved, its release to stage {stage} has begun"),
            1 => format!("{function} {version} needs one more approval for stage {stage}"),
            missing => format!("{function} {version} needs {missing} more approvals for stage {stage}"),
        }
    })?;
    if result.missing == 0 {
        output.next(&[(format!("wasm-fn status {} -w", result.function), "watch it")]);
    }
    Ok(DONE)
}

/// Withdraws the release that waits in a stage.
pub(crate) async fn reject(change: args::Change, output: Output) -> Result<u8, Fault> {
    let result = answer(&change, "reject", output).await?;
    output.data(&result, |result| {
        let api::ApprovalResult { function, stage, version, .. } = result;
        format!("the release of {function} {version} to stage {stage} is rejected; the version stays")
    })?;
    Ok(DONE)
}

/// Sends `action` about the release that waits now, and no other.
async fn answer(change: &args::Change, action: &str, output: Output) -> Result<api::ApprovalResult, Fault> {
    let args::Change { function, stage, message, connection } = change;
    let failed = || format!("stage `{stage}` of `{function}` was not changed");
    let client = connect(connection)?;
    let path = format!("/v1/functions/{function}");
    let status: Result<api::FunctionStatus, _> = client.get(&path).await;
    let status = status.map_err(|error| error.fault(failed()))?;
    let waits = status.proposals.iter().find(|proposal| proposal.stage == stage.as_str());
    let Some(waits) = waits else {
        let cause = format!("no release of `{function}` waits for approval in stage `{stage}`");
        return Err(Fault::new("approval", failed(), cause));
    };
    output.talk(&access::proposal(waits, time::now_ms()));
    let request = api::ApprovalRequest {
        stage: stage.to_string(),
        proposal: waits.id,
        message: message.clone(),
        expected_revision: None,
    };
    let answer = client.call(Method::POST, &format!("{path}/{action}"), Some(&request)).await;
    answer.map_err(|error| error.fault(failed()))
}
