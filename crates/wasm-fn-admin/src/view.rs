//! The state, as clients see it.

use std::{collections::BTreeMap, time::Duration};

use wasm_fn_access::Tokens;
use wasm_fn_core::{FunctionName, Outcome, StageName, TrafficSplit, VersionNo, Weight};
use wasm_fn_rollout::{Phase, Place, Strategy};
use wasm_fn_router::{RouteTable, Shielding, Stage, TallySnapshot};

use wasm_fn_api as api;
use wasm_fn_control::{
    Control, GateStanding,
    host::Host,
    journal::Entry,
    report::Report,
    state::{
        Action, Approval, EndedRollout, Fate, Function, Proposal, Provenance, RolloutOutcome, StageKey,
        StageState, VersionState, VersionVerdict, effective,
    },
};
use wasm_fn_store::Store;

mod evidence;

/// The split, newest version first.
pub(crate) fn shares(split: &TrafficSplit) -> Vec<api::SplitShare> {
    let share = |&(version, weight): &(VersionNo, Weight)| api::SplitShare {
        version: version.to_string(),
        weight: weight.to_string(),
    };
    split.shares().iter().map(share).collect()
}

pub(crate) fn strategy(strategy: &Strategy) -> api::StrategySpec {
    match strategy {
        Strategy::AllAtOnce => api::StrategySpec::AllAtOnce,
        Strategy::BlueGreen => api::StrategySpec::BlueGreen,
        Strategy::Canary { steps } => {
            api::StrategySpec::Canary { steps: steps.iter().map(ToString::to_string).collect() }
        }
        Strategy::Linear { by, every } => {
            api::StrategySpec::Linear { by: by.to_string(), every_ms: millis(*every) }
        }
    }
}

/// A release that waits for approval in `stage`, with the approvals that count at `now_ms`.
pub(crate) fn proposal(
    stage: &StageName,
    proposal: &Proposal,
    tokens: &Tokens,
    now_ms: u64,
) -> api::ProposalView {
    let approval = |approval: &Approval| api::ApprovalView {
        by: approval.by.clone(),
        at_ms: approval.at_ms,
        message: approval.message.clone(),
    };
    api::ProposalView {
        id: proposal.revision.0,
        stage: stage.to_string(),
        version: proposal.version.to_string(),
        strategy: proposal
            .spec
            .as_ref()
            .map_or(api::StrategySpec::AllAtOnce, |spec| strategy(&spec.plan().spec().strategy)),
        growth: proposal.growth.clone(),
        author: proposal.author.clone(),
        message: proposal.message.clone(),
        approvers: proposal.approvers,
        created_ms: proposal.created_ms,
        expires_ms: proposal.expires_ms,
        approvals: proposal.valid_approvals(tokens, now_ms).map(approval).collect(),
    }
}

/// The rollout of `stage`, if one is under way.
pub(crate) fn rollout(stage: &StageState) -> Option<api::RolloutView> {
    let rollout = stage.rollout.as_ref()?;
    let plan = rollout.spec.plan();
    let strategy = strategy(&plan.spec().strategy);
    let place = rollout.phase.place();
    let lasts = match place {
        Some(Place::Step(_)) => plan.step_min(),
        Some(Place::Watch) => plan.watch(),
        Some(Place::Check) | None => Duration::ZERO,
    };
    let reason = match &rollout.phase {
        Phase::Paused { cause, .. } | Phase::Frozen { cause, .. } => Some(cause.to_string()),
        _ => None,
    };
    let steps = plan.steps().iter().map(ToString::to_string).chain([Weight::FULL.to_string()]);
    Some(api::RolloutView {
        stable: rollout.base.to_string(),
        canary: rollout.canary.to_string(),
        weight: stage.split.weight(rollout.canary).to_string(),
        strategy,
        started_ms: rollout.started_ms,
        from_split: shares(&rollout.from_split),
        phase: rollout.phase.as_str().to_owned(),
        step: rollout.step(),
        steps: steps.collect(),
        lasted_ms: 0,
        lasts_ms: millis(lasts),
        reason,
        gate: None,
        provenance: None,
    })
}

/// The current step of the rollout of `stage`.
fn step(stage: &StageState) -> Option<String> {
    let rollout = stage.rollout.as_ref()?;
    let Place::Step(step) = rollout.phase.place()? else { return None };
    rollout.spec.plan().steps().get(step).map(ToString::to_string)
}

/// The rollout of `stage`, with the gate's current verdict, and where the canary comes from.
fn live_rollout<H: Host, S: Store>(
    control: &Control<H, S>,
    key: &StageKey,
    function: &Function,
    stage: &StageState,
) -> Option<api::RolloutView> {
    let (mut shown, rollout) = (rollout(stage)?, stage.rollout.as_ref()?);
    let now = control.now();
    shown.lasted_ms = match effective(&rollout.phase, control.started(), now) {
        Phase::Running { since, .. } | Phase::Awaiting { since, .. } => millis(now.since(since)),
        Phase::Paused { served, .. } => millis(served),
        _ => 0,
    };
    shown.gate = control.gate(key, rollout).map(gate);
    let canary = function.versions.get(&rollout.canary);
    shown.provenance = canary.and_then(|canary| canary.provenance.as_deref()).map(provenance);
    Some(shown)
}

/// The verdict of a gate.
fn gate(standing: GateStanding) -> api::GateView {
    let GateStanding { verdict, reason, requests, requests_needed, report } = standing;
    let evidence = evidence::evidence(&report);
    api::GateView { verdict: verdict.to_owned(), reason, requests, requests_needed, evidence }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How a rollout ended.
fn ended(ended: &EndedRollout) -> api::EndedRolloutView {
    api::EndedRolloutView {
        stable: ended.base.to_string(),
        canary: ended.canary.to_string(),
        outcome: match ended.outcome {
            RolloutOutcome::Promoted => api::RolloutOutcomeView::Promoted,
            RolloutOutcome::Aborted => api::RolloutOutcomeView::Aborted,
            RolloutOutcome::RolledBack => api::RolloutOutcomeView::RolledBack,
        },
        started_ms: ended.started_ms,
        ended_ms: ended.ended_ms,
        reason: ended.reason.clone(),
        evidence: ended.report.as_deref().map(evidence::evidence),
    }
}

/// The routes of `stage`. A stage without traffic has none.
pub(crate) fn routes(name: &FunctionName, function: &Function, stage: &StageName) -> Vec<String> {
    let state = function.stages.get(stage);
    let routes = state.map(|state| function.routes(name, stage, state.stable)).unwrap_or_default();
    routes.iter().map(ToString::to_string).collect()
}

/// The settings of `version` that take effect in `stage` only when it is promoted, because they follow the
/// stable version.
pub(crate) fn pending(
    name: &FunctionName,
    function: &Function,
    stage: &StageName,
    version: VersionNo,
) -> Vec<String> {
    let Some(stable) = function.stages.get(stage).map(|stands| stands.stable) else { return Vec::new() };
    let config = |no: VersionNo| function.versions.get(&no).map(|version| &version.build.config);
    let (Some(new), Some(old)) = (config(version), config(stable)) else { return Vec::new() };
    let routes = |no| function.routes(name, stage, no);
    let differ = [
        ("routes", routes(version) != routes(stable)),
        ("sticky", new.sticky != old.sticky),
        ("cohorts", new.cohorts != old.cohorts),
    ];
    differ.into_iter().filter(|(_, differs)| *differs).map(|(setting, _)| setting.to_owned()).collect()
}

/// `stage` after a change.
pub(crate) fn changed(
    name: &FunctionName,
    function: &Function,
    stage: &StageName,
    stands: &StageState,
) -> api::StageChanged {
    api::StageChanged {
        function: name.to_string(),
        stage: stage.to_string(),
        stable: stands.stable.to_string(),
        split: shares(&stands.split),
        rollout: rollout(stands),
        previous: stands.newest_previous().map(|version| version.to_string()),
        split_before: Vec::new(),
        revision: function.revision.0,
    }
}

/// Stages by name, `live` first.
fn stages(function: &Function) -> impl Iterator<Item = (&StageName, &StageState)> {
    let (live, others): (Vec<_>, Vec<_>) = function.stages.iter().partition(|(name, _)| name.is_live());
    live.into_iter().chain(others)
}

fn latest(function: &Function) -> String {
    function.latest().map(|version| version.to_string()).unwrap_or_default()
}

pub(crate) fn role(stage: &StageState, version: VersionNo) -> Option<api::VersionRole> {
    if version == stage.stable {
        Some(api::VersionRole::Stable)
    } else if Some(version) == stage.canary() {
        Some(api::VersionRole::Canary)
    } else if Some(version) == stage.newest_previous() {
        Some(api::VersionRole::Previous)
    } else {
        None
    }
}

/// One function in a list. `published` are its stages in the route table.
pub(crate) fn summary<V>(
    name: &FunctionName,
    function: &Function,
    published: &[&Stage<V>],
) -> api::FunctionSummary {
    let summary = |(stage, state): (&StageName, &StageState)| {
        let published = published.iter().find(|published| published.name() == stage);
        let tallies = published.into_iter().flat_map(|published| published.versions());
        let (requests, failures) = tallies
            .map(|version| version.tally.totals())
            .fold((0, 0), |sum, (requests, failures)| (sum.0 + requests, sum.1 + failures));
        api::StageSummary {
            stage: stage.to_string(),
            stable: state.stable.to_string(),
            canary: state.canary().map(|version| version.to_string()),
            previous: state.newest_previous().map(|version| version.to_string()),
            split: shares(&state.split),
            routes: routes(name, function, stage),
            requests,
            failures,
        }
    };
    api::FunctionSummary {
        function: name.to_string(),
        revision: function.revision.0,
        latest: latest(function),
        stages: stages(function).map(summary).collect(),
    }
}

/// The full status of one function.
pub(crate) fn status<H: Host, S: Store>(
    control: &Control<H, S>,
    name: &FunctionName,
    function: &Function,
    table: &RouteTable<H::Version>,
) -> api::FunctionStatus {
    let published = |stage: &StageName| table.stage(name, stage);
    let status = |(stage, stands): (&StageName, &StageState)| {
        let config = function.versions.get(&stands.stable).map(|version| &version.build.config);
        let stage_env = |no| {
            let config = function.versions.get(&no).and_then(|version| version.stage_config(stage));
            config.map(|config| config.env.clone()).unwrap_or_default()
        };
        let versions = published(stage).into_iter().flat_map(|published| published.versions().iter().rev());
        let versions = versions.filter_map(|version| {
            let (weight, tally) = (stands.split.weight(version.no), version.tally.snapshot());
            let (role, overrides) = (role(stands, version.no), version.tally.overrides().total());
            (weight > Weight::ZERO || role.is_some() || tally.total() + overrides > 0).then(|| {
                api::VersionStatus {
                    version: version.no.to_string(),
                    role,
                    weight: weight.to_string(),
                    env: stage_env(version.no),
                    tally: self::tally(&tally),
                    overrides,
                    instances: control.host().instances(&version.target),
                    nodes: Vec::new(),
                }
            })
        });
        api::StageStatus {
            stage: stage.to_string(),
            stable: stands.stable.to_string(),
            previous: stands.newest_previous().map(|version| version.to_string()),
            split: shares(&stands.split),
            rollout: live_rollout(control, &(name.clone(), stage.clone()), function, stands),
            last_rollout: function.ended.get(stage).map(ended),
            routes: routes(name, function, stage),
            preview: published(stage).map(|published| published.preview().to_string()).unwrap_or_default(),
            sticky: config.map(|config| config.sticky.to_string()).unwrap_or_default(),
            versions: versions.collect(),
        }
    };
    let (state, now_ms) = (control.state(), control.now().0);
    let waiting = function.proposals.iter();
    let waiting = waiting.map(|(stage, waits)| proposal(stage, waits, state.tokens(), now_ms));
    api::FunctionStatus {
        function: name.to_string(),
        revision: function.revision.0,
        latest: latest(function),
        stages: stages(function).map(status).collect(),
        proposals: waiting.collect(),
        nodes: Vec::new(),
    }
}

fn tally(snapshot: &TallySnapshot) -> api::TallyView {
    let millis = |time: std::time::Duration| time.as_secs_f64() * 1e3;
    let counts = Outcome::ALL.map(|outcome| (outcome.as_str().to_owned(), snapshot.count(outcome)));
    let shield =
        Shielding::ALL.map(|shielding| (shielding.as_str().to_owned(), snapshot.shielded(shielding)));
    api::TallyView {
        requests: snapshot.total(),
        failures: snapshot.failures(),
        outcomes: counts.into_iter().filter(|&(_, count)| count > 0).collect(),
        latency_p50_ms: snapshot.latency_quantile(0.5).map(millis),
        latency_p99_ms: snapshot.latency_quantile(0.99).map(millis),
        queue_wait_p99_ms: snapshot.queue_wait_quantile(0.99).map(millis),
        memory_peak_bytes: snapshot.memory_peak_bytes_max(),
        shield: shield.into_iter().filter(|&(_, count)| count > 0).collect(),
    }
}

/// One version in a list.
pub(crate) fn version(function: &Function, no: VersionNo, version: &VersionState) -> api::VersionInfo {
    let places = stages(function).filter_map(|(stage, state)| {
        let (weight, role) = (state.split.weight(no), role(state, no));
        (weight > Weight::ZERO || role.is_some()).then(|| api::VersionPlace {
            stage: stage.to_string(),
            role,
            weight: weight.to_string(),
        })
    });
    api::VersionInfo {
        version: no.to_string(),
        component: version.build.digest.to_string(),
        kind: version.build.kind.clone(),
        config: api::ConfigSpec::from(&*version.build.config),
        stage_configs: version
            .stage_configs
            .iter()
            .filter(|(_, config)| !config.is_empty())
            .map(|(stage, config)| (stage.to_string(), api::StageConfigSpec::from(&**config)))
            .collect(),
        created_ms: version.created_ms,
        created_by: version.created_by.clone(),
        message: version.message.clone(),
        provenance: version.provenance.as_deref().map(provenance),
        verdict: version.verdict.as_ref().map(verdict),
        stages: places.collect(),
    }
}

fn provenance(found: &Provenance) -> api::ProvenanceView {
    let Provenance { artifact, trigger, event, repository, reference, commit, author, url } = found.clone();
    let trigger = trigger.map(|trigger| trigger.to_string());
    api::ProvenanceView { artifact, trigger, event, repository, reference, commit, author, url }
}

fn verdict(verdict: &VersionVerdict) -> api::VersionVerdictView {
    let (stage, at_ms, reason) = (verdict.stage.to_string(), verdict.at_ms, verdict.reason.clone());
    match verdict.fate {
        Fate::Aborted => api::VersionVerdictView::Aborted { stage, at_ms, reason },
        Fate::RolledBack => api::VersionVerdictView::RolledBack { stage, at_ms, reason },
    }
}

/// One entry of the journal, newest first. A deployment or rollback that ends another rollout is shown as
/// two: itself, and the abort of that rollout. A change that is not of a function is not shown.
pub(crate) fn entries(entry: &Entry) -> impl Iterator<Item = api::HistoryEntry> {
    entry.change.action().into_iter().flat_map(|action| of_action(entry, action))
}

fn of_action(entry: &Entry, action: &Action) -> impl Iterator<Item = api::HistoryEntry> {
    let (numbers, stage) = (action.report(), action.stage());
    let shown = |action: &str, version: Option<VersionNo>, report: Option<&Report>| api::HistoryEntry {
        revision: entry.revision.0,
        at_ms: entry.at_ms,
        actor: entry.actor.clone(),
        origin: entry.origin.clone(),
        node: entry.node.clone(),
        message: None,
        reason: report.map(|report| report.reason.clone()),
        evidence: report.map(evidence::evidence),
        action: action.to_owned(),
        stage: stage.map(ToString::to_string),
        version: version.map(|version| version.to_string()),
        split: Vec::new(),
        step: None,
        growth: Vec::new(),
        provenance: None,
        secrets: BTreeMap::new(),
        trigger: None,
        events: None,
        value: None,
        hash: hex::encode(entry.hash),
    };
    let abort = match action {
        Action::Deploy { version, aborted: Some(canary), .. } => {
            let reason = Some(Action::replaced_by(*version, *canary));
            Some(api::HistoryEntry { reason, ..shown("abort", Some(*canary), numbers) })
        }
        Action::Approve { version, aborted: Some(canary), .. } => {
            let reason = Some(Action::replaced_by(*version, *canary));
            Some(api::HistoryEntry { reason, ..shown("abort", Some(*canary), numbers) })
        }
        Action::Rollback { version, aborted: Some(canary), .. } => {
            let reason = Some(format!("rolled back to {version}"));
            Some(api::HistoryEntry { reason, ..shown("abort", Some(*canary), numbers) })
        }
        _ => None,
    };
    // A deployment's report tells why the other rollout ended.
    let told = numbers.filter(|_| !matches!(action, Action::Deploy { .. }));
    let own = api::HistoryEntry {
        message: entry.message.clone(),
        reason: told.map(|report| report.reason.clone()),
        split: action.after().map(|after| shares(&after.split)).unwrap_or_default(),
        step: action.after().and_then(step),
        growth: match action {
            Action::Deploy { growth, .. } => growth.clone(),
            _ => Vec::new(),
        },
        provenance: action.provenance().map(provenance),
        secrets: match action {
            Action::Deploy { secrets, .. } => {
                secrets.iter().map(|(name, revision)| (name.to_string(), revision.number())).collect()
            }
            Action::SetSecrets { secrets, .. } => {
                secrets.iter().map(|new| (new.name.to_string(), new.revision.number())).collect()
            }
            Action::DeleteSecret { name, .. } => [(name.to_string(), 0)].into(),
            _ => BTreeMap::new(),
        },
        trigger: action.trigger().map(ToString::to_string),
        events: match action {
            Action::OperateEvents { count, which, .. } => {
                Some(api::OperatedEventsView { count: *count, which: which.clone() })
            }
            _ => None,
        },
        value: match action {
            Action::ChangeValue { bucket, key, .. } => {
                Some(api::ChangedValueView { bucket: bucket.to_string(), key: key.clone() })
            }
            _ => None,
        },
        ..shown(action.as_str(), action.version(), numbers.filter(|_| abort.is_none()))
    };
    std::iter::once(own).chain(abort)
}
