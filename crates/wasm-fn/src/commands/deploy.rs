//! `wasm-fn deploy`: uploads the module, deploys the version, and can wait for its rollout. `wasm-fn
//! promote-stage`: does the same with a version that the node has.

mod again;
pub(super) mod hook;
mod progress;
pub(super) mod push;
mod registry;
mod source;

use http::Method;
use serde::Serialize;
use wasm_fn_api as api;
use wasm_fn_core::Route;

use super::{
    DONE,
    address::{self, DataAddress},
    connect, project, watch,
};
use crate::{
    args,
    client::{Client, ClientError, Upload},
    config::{self, Buildable, Deployment, ModuleSource},
    fault::Fault,
    output::{Output, lines, visible},
};
use progress::Progress;
use source::Module;

pub(super) async fn run(args: args::Deploy, output: Output) -> Result<u8, Fault> {
    if args.build {
        build(&args).await?;
    }
    let deployment = Deployment::resolve(&args)?;
    let Deployment { function, component, config, release, name_derived, not_in } = deployment;
    if name_derived {
        let after = match component {
            ModuleSource::File(_) => "file",
            ModuleSource::Registry(_) => "repository",
        };
        output.talk(&format!(
            "the function is named {function} after the {after}; choose another name with -f"
        ));
    }
    if let Some(file) = &not_in {
        let file = file.display().to_string();
        output.talk(&format!(
            "note: {} has no [function.{function}], so every setting has its default",
            visible(&file)
        ));
    }
    let failed = || format!("`{function}` was not deployed");
    let name = component.to_string();
    let args::Deploy { registry, verify_key, stage, release: typed, .. } = args;
    let module = Module::find(component, &registry, verify_key.as_deref(), failed()).await?;
    let (digest, bytes) = (module.component, module.bytes);
    let client = connect(&typed.connection)?;
    // This comes first, so that a refused token is reported before the upload.
    let node: api::NodeView = client.get("/v1/node").await.map_err(|error| error.fault(failed()))?;
    if bytes > node.component_bytes_max {
        let cause = format!("{name} is {bytes} bytes, expected at most {} bytes", node.component_bytes_max);
        return Err(
            Fault::new("too-large", failed(), cause).help("start the node with a larger --component-max")
        );
    }
    let mut progress = Progress::new(output);
    let message = source::message(typed.message.clone(), module.artifact());
    if !client.has(digest).await.map_err(|error| error.fault(failed()))? {
        if module.artifact().is_some() {
            progress.pull(&name, bytes);
        }
        let file = module.into_file(node.component_bytes_max).await?;
        let sent = progress.upload(&name, bytes);
        let upload = Upload { path: file.path().to_owned(), component: digest, bytes, sent };
        client.upload(upload).await.map_err(|error| error.fault(failed()))?;
    }
    let request = api::DeployRequest {
        component: digest.to_string(),
        config,
        stage: stage.to_string(),
        release: api::ReleaseRequest { message, ..request(release, &typed) },
    };
    let path = format!("/v1/functions/{function}/deployments");
    let result = follow(&client, &path, &request, &mut progress).await;
    drop(progress);
    let result = result.map_err(|error| refused(error, failed()))?;
    finish(&client, &node, &result, typed.waiting, output).await
}

/// Builds the function of `args`.
async fn build(args: &args::Deploy) -> Result<(), Fault> {
    let failed = "nothing was deployed";
    let config = args.release.config.clone().unwrap_or_else(|| config::FILE.into());
    let of = args::ProjectFunction { function: args.function.clone(), config };
    let of = Buildable::read(&of, &args.stage, failed)?;
    project::build::require_command(&of, failed)?;
    let built = tokio::task::spawn_blocking(move || project::build::build(&of, false)).await;
    built.map_err(|error| Fault::new("build-not-run", failed, error))?.map(drop)
}

/// Takes the version that is stable in one stage to another.
pub(super) async fn promote_stage(args: args::PromoteStage, output: Output) -> Result<u8, Fault> {
    let failed = format!("nothing was promoted to stage `{}` of `{}`", args.to, args.function);
    release(args, failed, output).await
}

/// Releases the version that is stable in one stage to another, or to the same with the secrets that are set
/// now. `failed` says what did not happen if it fails.
pub(super) async fn release(args: args::PromoteStage, failed: String, output: Output) -> Result<u8, Fault> {
    let release = config::release(&args)?;
    let args::PromoteStage { function, from, to, release: typed } = args;
    let failed = || failed.clone();
    let client = connect(&typed.connection)?;
    let node: api::NodeView = client.get("/v1/node").await.map_err(|error| error.fault(failed()))?;
    let request = api::PromoteStageRequest { from: from.to_string(), release: request(release, &typed) };
    let path = format!("/v1/functions/{function}/stages/{to}/promotions");
    let mut progress = Progress::new(output);
    let result = follow(&client, &path, &request, &mut progress).await;
    drop(progress);
    let result = result.map_err(|error| refused(error, failed()))?;
    finish(&client, &node, &result, typed.waiting, output).await
}

/// The release that the file and the options of the command make.
fn request(release: config::Release, typed: &args::Release) -> api::ReleaseRequest {
    let config::Release { stage_config, rollout, gate } = release;
    api::ReleaseRequest {
        stage_config,
        strategy: rollout.strategy,
        rollout: rollout.options,
        gate,
        message: typed.message.clone(),
        prepared: typed.prepared.map(|share| share.to_string()),
        replace: typed.replace,
        allow_new: typed.allow_new,
        expected_revision: None,
    }
}

/// Prints the result of a deployment, and waits for its rollout if the user wants that.
async fn finish(
    client: &Client,
    node: &api::NodeView,
    result: &api::DeployResult,
    waiting: args::Waiting,
    output: Output,
) -> Result<u8, Fault> {
    if waiting.wait && output.is_json() {
        // The first of several lines.
        output.record(result, lines::deployed)?;
    } else {
        output.data(result, lines::deployed)?;
    }
    if let Some(note) = lines::pending(result) {
        output.talk(&note);
    }
    if let Some(note) = lines::optimising(result) {
        output.talk(&note);
    }
    if let Some(note) = lines::growth(result) {
        output.talk(&note);
    }
    if let Some(proposal) = &result.proposal {
        output.next(&[
            (
                format!("wasm-fn approve {} -s {}", result.function, proposal.stage),
                "for somebody else to run",
            ),
            (format!("wasm-fn status {}", result.function), "see who has approved it"),
        ]);
        return if waiting.wait {
            watch::approval(client, &result.function, proposal, waiting.timeout, output).await
        } else {
            Ok(DONE)
        };
    }
    if waiting.wait {
        return watch::deploy(client, result, waiting.timeout, output).await;
    }
    output.next(&next(result, &DataAddress::of(node, client.address())));
    Ok(DONE)
}

async fn follow(
    client: &Client,
    path: &str,
    request: &impl Serialize,
    progress: &mut Progress,
) -> Result<api::DeployResult, ClientError> {
    let mut events = client.lines(Method::POST, path, Some(request)).await?;
    while let Some(event) = events.next().await? {
        match event {
            api::DeployEvent::Progress { stage, done, total } => progress.step(&stage, done, total),
            api::DeployEvent::Done { result } => return Ok(result),
            api::DeployEvent::Error { problem } => return Err(ClientError::Refused(Box::new(problem))),
        }
    }
    Err(ClientError::Ended { node: client.address().clone(), cause: "it sent no result".to_owned() })
}

/// The fault of a deployment that the node refused. Where more capabilities are the reason, its help is the
/// command that accepts them.
fn refused(error: ClientError, failed: String) -> Fault {
    let grows = matches!(&error, ClientError::Refused(problem) if problem.code == "capabilities-grow");
    let fault = error.fault(failed);
    if !grows {
        return fault;
    }
    fault.help(format!("if all of this is intended, run `{}`", again::accepting(typed())))
}

/// The arguments of this command.
fn typed() -> impl Iterator<Item = String> {
    std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned())
}

/// Commands that people are likely to need next.
fn next(result: &api::DeployResult, data: &DataAddress) -> Vec<(String, &'static str)> {
    let api::DeployResult { function, stage, version, rollout, split, needs_approval, .. } = result;
    let on = if stage == "live" { String::new() } else { format!(" -s {stage}") };
    let moving = rollout.as_ref().filter(|rollout| rollout.phase != "watching");
    if let Some(rollout) = moving.filter(|rollout| rollout.canary == *version) {
        let status = (format!("wasm-fn status {function} -w"), "watch both versions");
        let promote = |what| (format!("wasm-fn promote {function}{on}"), what);
        let abort = (format!("wasm-fn abort {function}{on}"), "all traffic back to stable");
        let invoke = format!("wasm-fn invoke {function}{on} --version {version}");
        let preview = format!("wasm-fn preview {function}{on} --version {version}");
        let preview = (preview, "the new version's own address, for browsers and test suites");
        let last = rollout.steps.len() <= 2;
        return match &rollout.strategy {
            api::StrategySpec::BlueGreen => {
                vec![
                    (invoke, "call the new version"),
                    preview,
                    status,
                    promote("all traffic to the new version"),
                    abort,
                ]
            }
            _ if last => vec![status, preview, promote("all traffic to the canary"), abort],
            _ => vec![status, preview, promote("to the next step without waiting"), abort],
        };
    }
    let mut next = Vec::new();
    if split.iter().all(|share| share.version != *version) {
        // A stage without traffic has no address at which one of its versions could be called.
        if !split.is_empty() {
            next.push((format!("wasm-fn invoke {function}{on} --version {version}"), "call this version"));
        }
        match moving {
            // Until it ends, only its two versions can have traffic.
            Some(_) => next.push((format!("wasm-fn status {function} -w"), "watch the rollout under way")),
            None if *needs_approval => next.push((again::releasing(typed()), "ask others to approve it")),
            None => {
                next.push((format!("wasm-fn traffic {function}{on} {version}=100%"), "give it all traffic"))
            }
        }
        return next;
    }
    if let Some(route) = result.routes.first().and_then(|route| route.parse::<Route>().ok()) {
        next.push((format!("curl {}", address::url(data, &route)), "call it"));
    }
    next.push((format!("wasm-fn status {function} -w"), "watch it"));
    if !result.first {
        next.push((format!("wasm-fn rollback {function}{on}"), "back to the previous version"));
    }
    next
}

#[cfg(test)]
mod tests;
