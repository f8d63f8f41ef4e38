//! Answers of the admin API as one line each.

use wasm_fn_api as api;

use super::{Look, rollout, tables, time, visible};

/// ` in stage staging`; nothing for the stage `live`, which is the default.
fn in_stage(stage: &str) -> String {
    if stage == "live" { String::new() } else { format!(" in stage {stage}") }
}

/// What a deployment did: `hello v2 is canary at 10%, v1 keeps 90%`.
pub(crate) fn deployed(result: &api::DeployResult) -> String {
    let api::DeployResult { function, version, stage, split, rollout, .. } = result;
    let weight = |version: &str| {
        let share = split.iter().find(|share| share.version == version);
        share.map_or("0%", |share| share.weight.as_str())
    };
    if let Some(proposal) = &result.proposal {
        let needs = proposal.approvers;
        let needs = if needs == 1 { "one approval".to_owned() } else { format!("{needs} approvals") };
        return format!("{function} {version} waits for {needs}{}", in_stage(stage));
    }
    let (place, others) = (in_stage(stage), others(split, version));
    let own = weight(version);
    if result.unchanged {
        return format!("{function} {version} is already deployed at {own}{place}, nothing was changed");
    }
    if result.first {
        return format!("{function} {version} is live at {own}{place}: the first version has all traffic");
    }
    match rollout.as_ref().filter(|rollout| rollout.canary == *version) {
        Some(rollout) if rollout.phase == "watching" => {
            let time = rollout::span(rollout.lasts_ms);
            format!("{function} {version} is live at {own}{place}{others}, watched for {time}")
        }
        Some(rollout) if own == "0%" && rollout::cohort_step(rollout).is_some() => {
            let step = rollout::place(rollout).map(|step| format!(": {step}")).unwrap_or_default();
            format!("{function} {version} is canary for a cohort{place}{others}{step}")
        }
        Some(rollout) => {
            let step = rollout::place(rollout).map(|step| format!(": {step}")).unwrap_or_default();
            format!("{function} {version} is canary at {own}{place}{others}{step}")
        }
        None if own == "0%" => format!("{function} {version} has no traffic{place}{others}"),
        None => format!("{function} {version} is live at {own}{place}{others}"),
    }
}

/// The settings of a deployment that do not apply yet, or `None` if all apply.
pub(crate) fn pending(result: &api::DeployResult) -> Option<String> {
    let settings = Some(result.pending.join(", ")).filter(|settings| !settings.is_empty())?;
    let version = &result.version;
    let text = format!(
        "note: these settings of {version} apply once it is stable; until then, the stable version's apply: {settings}"
    );
    Some(visible(&text))
}

/// That the version of a deployment is to become faster.
pub(crate) fn optimising(result: &api::DeployResult) -> Option<String> {
    let text = format!(
        "note: {} serves already, and gets faster in a while: it is still being optimised",
        result.version
    );
    result.optimising.then(|| visible(&text))
}

/// What the version of a deployment can do, as far as that is news.
pub(crate) fn growth(result: &api::DeployResult) -> Option<String> {
    let growth = Some(result.growth.join("; ")).filter(|growth| !growth.is_empty())?;
    let is_first = result.first || result.split.is_empty();
    let (version, what) = (&result.version, if is_first { "can do" } else { "can do more than before" });
    Some(visible(&format!("note: {version} {what}: {growth}")))
}

/// `, v1 keeps 90%` for every version except `version`.
fn others(split: &[api::SplitShare], version: &str) -> String {
    let others = split.iter().filter(|share| share.version != version);
    others.map(|share| format!(", {} keeps {}", share.version, share.weight)).collect()
}

/// The state of a stage after a change: `hello v2 is stable, traffic is v2=100%`.
pub(crate) fn changed(changed: &api::StageChanged) -> String {
    let api::StageChanged { function, stage, stable, split, rollout, .. } = changed;
    let canary = rollout.as_ref().map(stands).unwrap_or_default();
    format!("{function} {stable} is stable{canary}{}, traffic is {}", in_stage(stage), tables::split(split))
}

/// What a rollback did: `hello rolled back from v2 to v1, traffic is v1=100%`.
pub(crate) fn rolled_back(changed: &api::StageChanged) -> String {
    let api::StageChanged { function, stage, stable, split, split_before, .. } = changed;
    let (place, traffic) = (in_stage(stage), tables::split(split));
    let from = match split_before.as_slice() {
        before if before == split => {
            return format!("{function} {stable} has all traffic{place} already, nothing was changed");
        }
        [only] => only.version.clone(),
        several => tables::split(several),
    };
    format!("{function} rolled back from {from} to {stable}{place}, traffic is {traffic}")
}

/// `, v2 is canary at step 2 of 4, paused`.
fn stands(rollout: &api::RolloutView) -> String {
    let api::RolloutView { canary, phase, lasts_ms, .. } = rollout;
    if phase == "watching" {
        return format!(", {canary} is watched for {}", rollout::span(*lasts_ms));
    }
    let step = rollout::place(rollout).map(|step| format!(" at {step}")).unwrap_or_default();
    let phase = if phase == "progressing" { String::new() } else { format!(", {phase}") };
    format!(", {canary} is canary{step}{phase}")
}

/// The state of one stage of a function at `now_ms`, for watching without a terminal. `actual` is the
/// actual share of its rollout's canary.
pub(crate) fn stage(
    function: &str,
    stage: &api::StageStatus,
    actual: rollout::Actual,
    now_ms: u64,
) -> String {
    let versions = stage.versions.iter().map(|version| {
        let api::TallyView { requests, failures, latency_p99_ms, .. } = version.tally;
        let p99 = time::latency(latency_p99_ms);
        format!("{}: {requests} requests, {failures} failures, p99 {p99}", version.version)
    });
    let versions: Vec<_> = versions.collect();
    let (at, split) = (time::instant(now_ms), tables::split(&stage.split));
    let versions = versions.join(" | ");
    let line = |rollout| rollout::line(rollout, &stage.split, actual);
    match &stage.rollout {
        // The gate's numbers decide, so they are shown instead of the versions' numbers.
        Some(rollout) if rollout.gate.is_some() => {
            format!("{at} {function} {} {}", stage.stage, line(rollout))
        }
        Some(rollout) => format!("{at} {function} {} {} | {versions}", stage.stage, line(rollout)),
        None => format!("{at} {function} {} {split} | {versions}", stage.stage),
    }
}

/// A change of a stage's rollout.
pub(crate) fn event(event: &api::RolloutEvent) -> String {
    let api::RolloutEvent { at_ms, function, stage, change } = event;
    format!("{} {function} {stage} {}", time::instant(*at_ms), rollout::change(change))
}

/// One function in a list, for watching without a terminal.
pub(crate) fn summary(function: &api::FunctionSummary, now_ms: u64) -> String {
    let stages = function.stages.iter().map(|stage| {
        let api::StageSummary { stage, split, requests, failures, .. } = stage;
        format!("{stage} {}: {requests} requests, {failures} failures", tables::split(split))
    });
    let stages: Vec<_> = stages.collect();
    format!("{} {} | {}", time::instant(now_ms), function.function, stages.join(" | "))
}

/// One line of a log, for `wasm-fn dev`: without what is the same in each line.
pub(crate) fn worked_on(event: &api::LogEvent, look: Look) -> String {
    let api::LogEvent::Line(line) = event else { return log(event, look) };
    let text = match &line.request {
        Some(api::LogRequestView { method, path, duration_ms }) => {
            format!(
                "{} {method} {path}: {} in {}",
                line.version,
                line.text,
                time::latency(Some(*duration_ms))
            )
        }
        None => format!("{} | {}", line.version, line.text),
    };
    let text = visible(&text);
    if line.failed { look.failed(&text) } else { text }
}

/// One line of a log.
pub(crate) fn log(event: &api::LogEvent, look: Look) -> String {
    match event {
        api::LogEvent::Lost { lines, node } => {
            let on = node.as_ref().map(|node| format!(" on {}", visible(node))).unwrap_or_default();
            format!("({lines} lines were lost{on}: they arrived too fast)")
        }
        api::LogEvent::Missing { node, reason } => {
            format!("(the lines of node {} are missing: {})", visible(node), visible(reason))
        }
        api::LogEvent::Back { node } => format!("(node {} answers again)", visible(node)),
        api::LogEvent::Line(line) => {
            let stream = match line.stream {
                api::LogStreamView::Stdout => "stdout",
                api::LogStreamView::Stderr => "stderr",
                api::LogStreamView::Host => "host",
            };
            let status = line.status.map(|status| format!(" {status}")).unwrap_or_default();
            let failed = if line.failed { format!(" failed{status}") } else { String::new() };
            let asked = line.request.as_ref().map(|request| {
                let api::LogRequestView { method, path, duration_ms } = request;
                format!("{method} {path} after {}: ", time::latency(Some(*duration_ms)))
            });
            let text = format!("{}{}", asked.unwrap_or_default(), line.text);
            let (at, id) = (time::instant(line.at_ms), visible(&line.request_id));
            let stage = line.stage.as_deref().filter(|&stage| stage != "live");
            let stage = stage.map(|stage| format!(" {}", visible(stage))).unwrap_or_default();
            let node = line.node.as_deref().map(|node| format!("{} ", visible(node))).unwrap_or_default();
            let version = &line.version;
            let text = format!("{at} {node}{version}{stage} {stream} {id}{failed}  {}", visible(&text));
            if line.failed { look.failed(&text) } else { text }
        }
    }
}
