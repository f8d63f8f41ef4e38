//! Triggers and events, as texts and tables.

use std::fmt::Write as _;

use wasm_fn_api as api;

use super::{
    Look,
    rollout::span,
    tables::{fit, or_dash, row, table},
    time, visible,
};

/// `schedule of hello`, or `schedule of hello in staging`.
pub(crate) fn name(trigger: &api::TriggerView) -> String {
    let place = if trigger.stage == "live" { String::new() } else { format!(" in {}", trigger.stage) };
    visible(&format!("trigger {} of {}{place}", trigger.name, trigger.function))
}

/// What `triggers add` added, with the next times of a schedule.
pub(crate) fn added(trigger: &api::TriggerView) -> String {
    let does = match &trigger.source {
        api::SourceSpec::Watch(watch) => format!("deploys {}", watch.artifact),
        api::SourceSpec::Webhook(api::WebhookSpec { deploy: Some(deploy), .. }) => {
            format!("deploys {}", deploy.artifact)
        }
        _ => format!("POST {}", trigger.path),
    };
    let mut text = format!("{} is added: {}", name(trigger), visible(&does));
    if let Some(path) = &trigger.url_path {
        let _ = write!(text, "\nsend its events to {}", visible(path));
    }
    if !trigger.next_ms.is_empty() {
        let _ = write!(text, "\nnext times:{}", next(&trigger.next_ms));
    } else if matches!(trigger.source, api::SourceSpec::Schedule(_)) {
        text += "\nit has no times to come";
    }
    if trigger.queue.is_some() {
        let _ = write!(text, "\n`wasm-fn triggers show` tells whether its messages come");
    }
    text
}

fn next(times: &[u64]) -> String {
    times.iter().map(|&at| format!("\n  {}", time::second(at))).collect()
}

/// `triggers list`; ages are relative to `now_ms`.
pub(crate) fn triggers(triggers: &[api::TriggerView], now_ms: u64, look: Look) -> String {
    let header = ["FUNCTION", "STAGE", "TRIGGER", "SOURCE", "STATE", "NEXT", "WAITING", "DEAD", "OLDEST"];
    let mut table = table(&header, &[6, 7, 8]);
    for trigger in triggers {
        let inbox = &trigger.inbox;
        row(
            &mut table,
            [
                trigger.function.clone(),
                trigger.stage.clone(),
                trigger.name.clone(),
                source(&trigger.source),
                standing(trigger).to_owned(),
                or_dash(trigger.next_ms.first().map(|&at| time::second(at))),
                (inbox.waiting + inbox.in_flight).to_string(),
                inbox.dead.to_string(),
                or_dash(inbox.oldest_ms.map(|at| time::age(at, now_ms))),
            ],
        );
    }
    fit(table, look)
}

fn standing(trigger: &api::TriggerView) -> &'static str {
    let is_failing = trigger.queue.as_ref().is_some_and(|queue| queue.state == "failing")
        || trigger.watch.as_ref().is_some_and(|watch| watch.failing.is_some());
    if trigger.paused.is_some() {
        "paused"
    } else if trigger.inbox.blocked {
        "blocked"
    } else if is_failing {
        "failing"
    } else {
        "active"
    }
}

/// `0 3 * * * Europe/Berlin, every 90s`, `webhook github`.
fn source(source: &api::SourceSpec) -> String {
    match source {
        api::SourceSpec::Webhook(webhook) => format!("webhook {}", webhook.provider),
        api::SourceSpec::Queue(queue) => format!("queue {} {}", queue.stream, queue.subject),
        api::SourceSpec::Watch(watch) => {
            let every = watch.every_ms.map(|every| format!(" every {}", span(every))).unwrap_or_default();
            format!("{}{every}", watch.artifact)
        }
        api::SourceSpec::Schedule(schedule) => {
            let zone = schedule.time_zone.as_deref().filter(|zone| *zone != "UTC");
            let zone = zone.map(|zone| format!(" {zone}")).unwrap_or_default();
            let crons = schedule.cron.iter().map(|cron| format!("{cron}{zone}"));
            let every = schedule.every_ms.iter().map(|&every| format!("every {}", span(every)));
            crons.chain(every).collect::<Vec<_>>().join(", ")
        }
    }
}

/// `triggers show`; ages are relative to `now_ms`.
pub(crate) fn trigger(trigger: &api::TriggerView, now_ms: u64, look: Look) -> String {
    let mut text = format!("{}  stage {}  trigger {}\n", trigger.function, trigger.stage, trigger.name);
    let mut line = |label: &str, what: String| {
        let _ = writeln!(text, "{label:<9}{what}");
    };
    line("source", source(&trigger.source));
    if trigger.release.is_none() {
        line("request", format!("POST {}", trigger.path));
    }
    if let Some(path) = &trigger.url_path {
        line("address", path.clone());
    }
    match &trigger.source {
        api::SourceSpec::Schedule(schedule) => line("schedule", settings(schedule)),
        api::SourceSpec::Webhook(webhook) => {
            line("secrets", webhook.secrets.join(", "));
            line("answers", webhook.mode.clone().unwrap_or_default());
            if let Some(deploy) = &webhook.deploy {
                line("deploys", deploy.artifact.clone());
                line("on", wanted(deploy));
                line("login", or_dash(deploy.credentials.clone()));
            }
        }
        api::SourceSpec::Queue(queue) => {
            let shown = queue.credentials.as_ref().map(|name| format!(", credentials in {name}"));
            line("broker", format!("{}{}", queue.brokers.join(", "), shown.unwrap_or_default()));
        }
        api::SourceSpec::Watch(watch) => {
            line("login", or_dash(watch.credentials.clone()));
            line("seen", seen(trigger.watch.as_ref(), now_ms));
        }
    }
    if let Some(release) = &trigger.release {
        line("release", released(release));
    }
    line("retry", retry(trigger));
    line("limits", limits(trigger));
    if trigger.redeliver.as_deref() == Some("effect-free") {
        line("canary", "an event that it fails goes to stable at once if it had no effect".to_owned());
    }
    line("added", format!("{} by {}", time::second(trigger.created_ms), trigger.created_by));
    if let Some(paused) = &trigger.paused {
        line("paused", pause(paused));
    }
    if let Some(queue) = &trigger.queue {
        line("messages", messages(queue, now_ms));
        line(
            "handled",
            format!(
                "{} delivered, {} acknowledged, {} retried, {} dead, {} repeated since the node started",
                queue.delivered, queue.acknowledged, queue.retried, queue.dead, queue.repeated
            ),
        );
    }
    let api::InboxView { waiting, in_flight, dead, oldest_ms, blocked, .. } = &trigger.inbox;
    let oldest = oldest_ms.map(|at| format!(", the oldest came {} ago", time::age(at, now_ms)));
    let blocked =
        if *blocked { "; nothing is delivered until dead letters are redriven or discarded" } else { "" };
    let oldest = oldest.unwrap_or_default();
    line("inbox", format!("{waiting} waiting, {in_flight} in flight, {dead} dead{oldest}{blocked}"));
    let counts = &trigger.counts;
    let api::TriggerCountsView { skipped, missed, cancelled, of_node, failures_in_a_row, .. } = counts;
    match counts.deployments {
        Some(api::TriggerDeploymentsView { deployed, skipped, retried, failed }) => line(
            "events",
            format!(
                "{deployed} deployed, {skipped} skipped, {retried} retried, {failed} failed since the node started"
            ),
        ),
        None if !matches!(trigger.source, api::SourceSpec::Schedule(_)) => {}
        None => line(
            "ticks",
            format!("{skipped} skipped, {missed} missed, {cancelled} broken off since the node started"),
        ),
    }
    line("failures", format!("{failures_in_a_row} events in a row; {of_node} deliveries failed in the node"));
    let mut text = visible(&text);
    if !trigger.next_ms.is_empty() {
        let _ = writeln!(text, "next{}", next(&trigger.next_ms));
    }
    if !counts.versions.is_empty() {
        let _ = write!(text, "\nsince the node started:\n{}", versions(&counts.versions, look));
    }
    if !counts.canary_runs.is_empty() {
        let runs = canary_runs(&counts.canary_runs, look);
        let _ = write!(text, "\n\nticks on a canary without effects, beside stable:\n{runs}");
    }
    text.trim_end().to_owned()
}

fn canary_runs(runs: &[api::CanaryRunsView], look: Look) -> String {
    let mut table = table(&["VERSION", "PASSED", "FAILED", "UNCLEAR"], &[1, 2, 3]);
    for api::CanaryRunsView { version, passed, failed, unclear } in runs {
        let counts = [passed, failed, unclear].map(ToString::to_string);
        row(&mut table, std::iter::once(version.clone()).chain(counts));
    }
    fit(table, look)
}

/// `failing for 5m: broker has no stream ORDERS`, `connected for 2h, 12 pending, 3 not settled`.
fn messages(queue: &api::QueueView, now_ms: u64) -> String {
    let mut text = format!("{} for {}", queue.state, time::age(queue.since_ms, now_ms));
    if let Some(reason) = &queue.reason {
        let _ = write!(text, ": {reason}");
    }
    if let (Some(pending), Some(unsettled)) = (queue.pending, queue.unsettled) {
        let _ = write!(text, "; {pending} pending at the broker, {unsettled} not settled");
    }
    text
}

/// Which events deploy: `push to main or release/*; tag, release v*`.
fn wanted(deploy: &api::WebhookDeploySpec) -> String {
    let (pushes, others): (Vec<_>, Vec<_>) = deploy.on.iter().partition(|kind| *kind == "push");
    let either = |patterns: &[String], none: &str| match patterns {
        [] => none.to_owned(),
        patterns => patterns.join(" or "),
    };
    let pushes =
        pushes.first().map(|_| format!("push to {}", either(&deploy.branches, "the default branch")));
    let others: Vec<_> = others.into_iter().map(String::as_str).collect();
    let others = Some(others.join(", ")).filter(|kinds| !kinds.is_empty());
    let others = others.map(|kinds| format!("{kinds} of {}", either(&deploy.tags, "any tag")));
    pushes.into_iter().chain(others).collect::<Vec<_>>().join("; ")
}

/// What a watched tag has: `sha256:… 2m ago`, or why it is not seen.
fn seen(watch: Option<&api::WatchView>, now_ms: u64) -> String {
    let Some(api::WatchView { digest, seen_ms, looked_ms, failing }) = watch else { return String::new() };
    let ago = |at: u64| format!("{} ago", time::age(at, now_ms));
    let seen = digest.as_ref().zip(*seen_ms).map(|(digest, at)| format!("{digest} {}", ago(at)));
    match (failing, looked_ms) {
        (Some(reason), Some(looked)) => {
            let last = seen.map(|seen| format!("; last seen: {seen}")).unwrap_or_default();
            format!("failing since it was looked at {}: {reason}{last}", ago(*looked))
        }
        _ => seen.unwrap_or_else(|| "not yet".to_owned()),
    }
}

/// How it is released: `canary in 1%, 10%, replacing a rollout under way`.
fn released(release: &api::TriggerReleaseView) -> String {
    let strategy = match &release.strategy {
        api::StrategySpec::AllAtOnce => "all at once".to_owned(),
        api::StrategySpec::NoTraffic => "without traffic".to_owned(),
        api::StrategySpec::BlueGreen => "blue-green".to_owned(),
        api::StrategySpec::Canary { steps } => format!("canary in {}", steps.join(", ")),
        api::StrategySpec::Linear { by, every_ms } => format!("linear, {by} every {}", span(*every_ms)),
    };
    let replace = release.replace.then(|| "replaces a rollout under way".to_owned());
    let allow_new = release.allow_new.then(|| "may do more than stable".to_owned());
    [Some(strategy), replace, allow_new].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn settings(schedule: &api::ScheduleSpec) -> String {
    let mut parts = vec![format!("overlap {}", schedule.overlap.as_deref().unwrap_or("skip"))];
    parts.extend(schedule.catch_up_ms.map(|ms| format!("catch-up {}", span(ms))));
    parts.extend(schedule.jitter_ms.filter(|&ms| ms > 0).map(|ms| format!("jitter {}", span(ms))));
    parts.extend(schedule.pause_on_failure.map(|runs| format!("paused after {runs} failed runs in a row")));
    parts.extend(schedule.canary_runs.map(|runs| format!("{runs} ticks on a canary as well")));
    parts.extend(schedule.start_ms.map(|at| format!("from {}", time::second(at))));
    parts.extend(schedule.end_ms.map(|at| format!("until {}", time::second(at))));
    parts.join(", ")
}

fn retry(trigger: &api::TriggerView) -> String {
    let api::TriggerView { source, retry, .. } = trigger;
    let mut parts = Vec::new();
    parts.extend(retry.attempts_max.map(|attempts| format!("{attempts} deliveries at most")));
    // How old a message may be is up to its stream.
    let age_max_ms = retry.age_max_ms.filter(|_| !matches!(source, api::SourceSpec::Queue(_)));
    parts.extend(age_max_ms.map(|ms| format!("within {}", span(ms))));
    let waits = retry.backoff_min_ms.zip(retry.backoff_max_ms);
    parts.extend(waits.map(|(min, max)| format!("waits of up to {}, then up to {}", span(min), span(max))));
    parts.join(", ")
}

/// `10 at a time, 5/s at most, in order by ce-subject`.
fn limits(trigger: &api::TriggerView) -> String {
    let rate = trigger.rate.as_ref().map(|rate| format!(", {rate} at most")).unwrap_or_default();
    let order = trigger.ordered_by.as_ref().map(|by| format!(", in order by {by}")).unwrap_or_default();
    format!("{} at a time{rate}{order}", trigger.concurrency_max)
}

fn pause(pause: &api::PauseView) -> String {
    let why = pause.failures.map(|runs| format!(" after {runs} failed runs in a row")).unwrap_or_default();
    let note = pause.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    format!("since {}{why}{note}", time::second(pause.since_ms))
}

fn versions(versions: &[api::TriggerVersionView], look: Look) -> String {
    let header = ["VERSION", "ON TIME", "LATE", "ACKNOWLEDGED", "RETRIED", "FAILED"];
    let mut table = table(&header, &[1, 2, 3, 4, 5]);
    for version in versions {
        let api::TriggerVersionView { version, on_time, late, acknowledged, retried, failed } = version;
        let counts = [on_time, late, acknowledged, retried, failed].map(ToString::to_string);
        row(&mut table, std::iter::once(version.clone()).chain(counts));
    }
    fit(table, look)
}

/// `events list`; ages are relative to `now_ms`.
pub(crate) fn events(page: &api::EventsPage, now_ms: u64, look: Look) -> String {
    let mut table = table(&["POSITION", "EVENT", "AGE", "SIZE", "STATE"], &[0, 2, 3]);
    for event in &page.events {
        row(
            &mut table,
            [
                event.position.to_string(),
                event.id.clone(),
                time::age(event.arrived_ms, now_ms),
                time::bytes(event.bytes),
                state(&event.state),
            ],
        );
    }
    fit(table, look)
}

/// What became of an event: `dead since 2026-11-22T10:00:00Z after 20 deliveries: …`.
fn state(state: &api::EventStateView) -> String {
    let deliveries = |attempts: u32| match attempts {
        1 => "1 delivery".to_owned(),
        attempts => format!("{attempts} deliveries"),
    };
    match state {
        api::EventStateView::Waiting { due_ms, attempts, reason } => {
            let why = reason.as_ref().map(|reason| format!(" after {}: {reason}", deliveries(*attempts)));
            format!("waits for {}{}", time::second(*due_ms), why.unwrap_or_default())
        }
        api::EventStateView::Running { attempts } => {
            format!("is being delivered, delivery {}", attempts.saturating_add(1))
        }
        api::EventStateView::Acknowledged { at_ms, text } => {
            format!("acknowledged at {}: {text}", time::second(*at_ms))
        }
        api::EventStateView::Dead { at_ms, attempts, reason } => {
            format!("dead since {} after {}: {reason}", time::second(*at_ms), deliveries(*attempts))
        }
        api::EventStateView::Discarded { at_ms } => format!("discarded at {}", time::second(*at_ms)),
    }
}

/// `events show`: what became of the event, and its request as HTTP/1.1 writes it.
pub(crate) fn event(event: &api::EventStatus) -> String {
    let mut text = format!("event {} of {}: {}", event.id, event.trigger, state(&event.state));
    if let Some(arrived_ms) = event.arrived_ms {
        let _ = write!(text, "\ncame at {}", time::instant(arrived_ms));
    }
    if let Some(key) = &event.ordering_key {
        let _ = write!(text, "\nin order with {key}");
    }
    if let Some(request) = &event.request {
        let _ = write!(text, "\n\n{} {}", request.method, request.path);
        for header in &request.headers {
            let value = header.value.as_deref().unwrap_or("(not shown)");
            let _ = write!(text, "\n{}: {value}", header.name);
        }
        match (&request.body, &request.body_base64) {
            (Some(body), _) if !body.is_empty() => {
                let _ = write!(text, "\n\n{body}");
            }
            (None, Some(body)) => {
                let _ = write!(text, "\n\n(in base64) {body}");
            }
            _ => {}
        }
    }
    visible(&text)
}

#[cfg(test)]
mod tests;
