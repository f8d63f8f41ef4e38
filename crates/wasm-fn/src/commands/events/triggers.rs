//! `wasm-fn triggers`.

use http::Method;
use wasm_fn_api as api;
use wasm_fn_core::{FunctionName, StageName};

use crate::{
    args::{self, TriggersAddKind, TriggersCommand},
    client::Client,
    commands::{DONE, connect},
    config,
    fault::Fault,
    output::{Look, Output, events, time},
};

pub(crate) async fn run(args: args::Triggers, output: Output) -> Result<u8, Fault> {
    match args.command {
        TriggersCommand::Add(args) => match args.kind {
            TriggersAddKind::Schedule(args) => add_schedule(args, output).await,
            TriggersAddKind::Webhook(args) => add_webhook(*args, output).await,
            TriggersAddKind::Queue(args) => add_queue(args, output).await,
            TriggersAddKind::Watch(args) => add_watch(*args, output).await,
        },
        TriggersCommand::List(args) => list(args, output).await,
        TriggersCommand::Show(args) => show(args, output).await,
        TriggersCommand::Pause(args) => change(args, "pause", "paused", output).await,
        TriggersCommand::Resume(args) => change(args, "resume", "resumed", output).await,
        TriggersCommand::Run(args) => run_now(args, output).await,
        TriggersCommand::Backfill(args) => backfill(args, output).await,
        TriggersCommand::Remove(args) => remove(args, output).await,
    }
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn path(function: &FunctionName, stage: &StageName, name: &str) -> String {
    format!("/v1/functions/{function}/stages/{stage}/triggers/{name}")
}

async fn add_schedule(args: args::AddSchedule, output: Output) -> Result<u8, Fault> {
    let source = api::SourceSpec::Schedule(api::ScheduleSpec {
        cron: args.cron,
        every_ms: args.every.into_iter().map(millis).collect(),
        time_zone: args.time_zone,
        overlap: args.overlap,
        catch_up_ms: args.catch_up.map(millis),
        jitter_ms: args.jitter.map(millis),
        canary_runs: args.canary_runs,
        pause_on_failure: args.pause_on_failure.map(std::num::NonZeroU32::get),
        start_ms: args.start.map(time::unix_ms),
        end_ms: args.end.map(time::unix_ms),
    });
    let name =
        args.name.map_or_else(|| Named::Free("schedule".to_owned()), |name| Named::So(name.to_string()));
    add(args.function, name, Added::of(source), args.common, output).await
}

async fn add_webhook(args: args::AddWebhook, output: Output) -> Result<u8, Fault> {
    let secrets = args.secrets.iter().map(ToString::to_string).collect();
    let provider = args.provider;
    let name = args.name.map_or_else(|| Named::Free(provider.clone()), |name| Named::So(name.to_string()));
    let mode = args.mode;
    let release = match (&args.deploy, args.release.typed()) {
        (Some(_), _) => Some(release(&args.function, &args.common.stage, &args.release)?),
        (None, None) => None,
        (None, Some(option)) => {
            let cause = format!("{option} is of a trigger that deploys, expected --deploy with it");
            return Err(Fault::new("usage", format!("no trigger of `{}` was added", args.function), cause));
        }
    };
    let deploy = args.deploy.map(|artifact| api::WebhookDeploySpec {
        artifact,
        on: args.on,
        branches: args.branches,
        tags: args.tags,
        credentials: args.credentials.map(|name| name.to_string()),
    });
    let source = api::SourceSpec::Webhook(api::WebhookSpec { provider, secrets, mode, deploy });
    let added = Added { source, ordered_by: args.ordered_by, release };
    add(args.function, name, added, args.common, output).await
}

async fn add_queue(args: args::AddQueue, output: Output) -> Result<u8, Fault> {
    let args::AddQueue { function, name, brokers, stream, subject, credentials, start, common } = args;
    let name = name.map_or_else(|| Named::Free("queue".to_owned()), |name| Named::So(name.to_string()));
    let credentials = credentials.map(|name| name.to_string());
    let source = api::SourceSpec::Queue(api::QueueSpec { brokers, stream, subject, credentials, start });
    add(function, name, Added::of(source), common, output).await
}

async fn add_watch(args: args::AddWatch, output: Output) -> Result<u8, Fault> {
    let release = release(&args.function, &args.common.stage, &args.release)?;
    let name = args.name.map_or_else(|| Named::Free("watch".to_owned()), |name| Named::So(name.to_string()));
    let source = api::SourceSpec::Watch(api::WatchSpec {
        artifact: args.artifact,
        every_ms: args.every.map(millis),
        credentials: args.credentials.map(|name| name.to_string()),
    });
    add(args.function, name, Added { release: Some(release), ..Added::of(source) }, args.common, output).await
}

/// How a trigger releases what it deploys, by the file and the options of the command.
fn release(
    function: &FunctionName,
    stage: &StageName,
    typed: &args::TriggerRelease,
) -> Result<api::TriggerReleaseSpec, Fault> {
    let config::Release { rollout, gate, .. } = config::trigger_release(function, stage, typed)?;
    Ok(api::TriggerReleaseSpec {
        strategy: rollout.strategy,
        rollout: rollout.options,
        gate,
        replace: typed.replace,
        allow_new: typed.allow_new,
    })
}

/// What is particular about a new trigger.
struct Added {
    source: api::SourceSpec,
    ordered_by: Option<String>,
    release: Option<api::TriggerReleaseSpec>,
}

impl Added {
    /// With a source and nothing else.
    fn of(source: api::SourceSpec) -> Self {
        Self { source, ordered_by: None, release: None }
    }
}

/// The name of a new trigger.
enum Named {
    /// As somebody said.
    So(String),
    /// The first that is free of this one, and this one with a number.
    Free(String),
}

async fn add(
    function: FunctionName,
    name: Named,
    Added { source, ordered_by, release }: Added,
    common: args::AddCommon,
    output: Output,
) -> Result<u8, Fault> {
    let args::AddCommon { stage, path: events_path, attempts, max_age, .. } = common;
    let args::AddCommon { concurrency, rate, redeliver, message, connection, .. } = common;
    let failed = || format!("no trigger of `{function}` was added");
    let client = connect(&connection)?;
    let name = match name {
        Named::So(name) => name,
        Named::Free(base) => {
            let list = of_function(&client, &function).await.map_err(|error| error.fault(failed()))?;
            free(&base, &stage, &list.triggers)
        }
    };
    let request = api::TriggerRequest {
        source,
        path: events_path,
        retry: api::RetrySpec {
            attempts_max: attempts,
            age_max_ms: max_age.map(millis),
            ..api::RetrySpec::default()
        },
        concurrency_max: concurrency,
        rate,
        ordered_by,
        redeliver,
        release,
        message,
        expected_revision: None,
    };
    let added = client.call(Method::PUT, &path(&function, &stage, &name), Some(&request)).await;
    let added: api::TriggerView = added.map_err(|error| error.fault(failed()))?;
    output.data(&added, events::added)?;
    Ok(DONE)
}

/// The first name that no trigger of `stage` has: `base`, `base-2`, and so on.
fn free(base: &str, stage: &StageName, triggers: &[api::TriggerView]) -> String {
    let is_taken =
        |name: &str| triggers.iter().any(|other| other.stage == stage.as_str() && other.name == name);
    let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
    let mut names = std::iter::once(base.to_owned()).chain(numbered);
    names.find(|name| !is_taken(name)).unwrap_or_else(|| base.to_owned())
}

async fn of_function(
    client: &Client,
    function: &FunctionName,
) -> Result<api::TriggerList, crate::client::ClientError> {
    client.get(&format!("/v1/functions/{function}/triggers")).await
}

async fn list(args: args::TriggersList, output: Output) -> Result<u8, Fault> {
    let client = connect(&args.connection)?;
    if let Some(function) = args.function {
        let list = of_function(&client, &function).await;
        let list =
            list.map_err(|error| error.fault(format!("the triggers of `{function}` cannot be listed")))?;
        if list.triggers.is_empty() && !output.is_json() {
            output.talk(&format!("{function} has no triggers"));
            return Ok(DONE);
        }
        output.data(&list, |list| events::triggers(&list.triggers, time::now_ms(), Look::of_stdout()))?;
        return Ok(DONE);
    }
    let failed = || "the triggers cannot be listed".to_owned();
    let mut triggers: Vec<api::TriggerView> = Vec::new();
    loop {
        let after = triggers.last().map(|last| format!("{}/{}/{}", last.function, last.stage, last.name));
        let query = api::TriggersQuery { after, limit: None };
        let page = client.query(Method::GET, "/v1/triggers", &query).await;
        let page: api::AllTriggers = page.map_err(|error| error.fault(failed()))?;
        let is_last = !page.more || page.triggers.is_empty();
        triggers.extend(page.triggers);
        if is_last {
            break;
        }
    }
    if output.is_json() {
        for of_function in triggers.chunk_by(|one, next| one.function == next.function) {
            let (function, triggers) = (of_function[0].function.clone(), of_function.to_vec());
            output.record(&api::TriggerList { function, triggers }, |_| String::new())?;
        }
        return Ok(DONE);
    }
    if triggers.is_empty() {
        output.talk("no function has triggers");
        return Ok(DONE);
    }
    output.data(&triggers, |triggers| events::triggers(triggers, time::now_ms(), Look::of_stdout()))?;
    Ok(DONE)
}

async fn show(args: args::TriggersOne, output: Output) -> Result<u8, Fault> {
    let args::TriggersOne { function, name, stage, connection } = args;
    let client = connect(&connection)?;
    let shown = client.get(&path(&function, &stage, name.as_str())).await;
    let shown: api::TriggerView =
        shown.map_err(|error| error.fault(format!("trigger `{name}` of `{function}` cannot be shown")))?;
    output.data(&shown, |shown| events::trigger(shown, time::now_ms(), Look::of_stdout()))?;
    Ok(DONE)
}

async fn change(args: args::TriggersChange, command: &str, done: &str, output: Output) -> Result<u8, Fault> {
    let args::TriggersChange { one, message, everywhere: _ } = args;
    let args::TriggersOne { function, name, stage, connection } = one;
    let client = connect(&connection)?;
    let request = api::TriggerCommand { message, expected_revision: None };
    let path = format!("{}/{command}", path(&function, &stage, name.as_str()));
    let changed = client.call(Method::POST, &path, Some(&request)).await;
    let changed: api::TriggerView =
        changed.map_err(|error| error.fault(format!("trigger `{name}` of `{function}` was not {done}")))?;
    output.data(&changed, |changed| format!("{} is {done}", events::name(changed)))?;
    Ok(DONE)
}

async fn run_now(args: args::TriggersOne, output: Output) -> Result<u8, Fault> {
    let args::TriggersOne { function, name, stage, connection } = args;
    let client = connect(&connection)?;
    let path = format!("{}/run", path(&function, &stage, name.as_str()));
    let run = client.call(Method::POST, &path, None::<&()>).await;
    let run: api::TriggerRun =
        run.map_err(|error| error.fault(format!("trigger `{name}` of `{function}` was not run")))?;
    output.data(&run, |run| format!("{name} of {function} runs as event {}", run.event))?;
    let stage = if stage.is_live() { String::new() } else { format!(" -s {stage}") };
    let command = format!("wasm-fn events show {function} {name} {}{stage}", run.event);
    output.next(&[(command, "shows what becomes of it")]);
    Ok(DONE)
}

async fn backfill(args: args::TriggersBackfill, output: Output) -> Result<u8, Fault> {
    let args::TriggersBackfill { one, from, to } = args;
    let args::TriggersOne { function, name, stage, connection } = one;
    let failed = || format!("trigger `{name}` of `{function}` was not backfilled");
    let client = connect(&connection)?;
    let path = format!("{}/backfill", path(&function, &stage, name.as_str()));
    // The clocks of client and node may differ; the node refuses times to come.
    let to_ms = to.map_or_else(time::now_ms, time::unix_ms);
    let mut request = api::BackfillRequest { from_ms: time::unix_ms(from), to_ms };
    let mut all: Option<api::TriggerBackfilled> = None;
    loop {
        let filled = client.call(Method::POST, &path, Some(&request)).await;
        let filled: api::TriggerBackfilled = filled.map_err(|error| {
            let runs = all.as_ref().map_or(0, |all| all.runs);
            error.fault(if runs == 0 { failed() } else { format!("{}; {runs} runs were added", failed()) })
        })?;
        let runs = filled.runs + all.as_ref().map_or(0, |all| all.runs);
        let rest = filled.rest_ms;
        all = Some(api::TriggerBackfilled { runs, ..filled });
        match rest {
            Some(rest) => request.from_ms = rest,
            None => break,
        }
    }
    if let Some(all) = all {
        output.data(&all, |all| match all.runs {
            1 => format!("{name} of {function} has 1 more run"),
            runs => format!("{name} of {function} has {runs} more runs"),
        })?;
    }
    Ok(DONE)
}

async fn remove(args: args::TriggersChange, output: Output) -> Result<u8, Fault> {
    let args::TriggersChange { one, message, everywhere: _ } = args;
    let args::TriggersOne { function, name, stage, connection } = one;
    let client = connect(&connection)?;
    let query = api::DeleteQuery { message, ..api::DeleteQuery::default() };
    let removed = client.query(Method::DELETE, &path(&function, &stage, name.as_str()), &query).await;
    let removed: api::TriggerRemoved =
        removed.map_err(|error| error.fault(format!("trigger `{name}` of `{function}` was not removed")))?;
    output
        .data(&removed, |removed| format!("trigger {} of {} is removed", removed.name, removed.function))?;
    Ok(DONE)
}

#[cfg(test)]
mod tests;
