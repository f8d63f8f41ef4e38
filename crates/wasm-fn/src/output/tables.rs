//! Answers of the admin API as tables.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
use wasm_fn_api as api;
use wasm_fn_rollout::Step;

use super::{
    Look, access,
    rollout::{self, Actual, Drawn},
    time, visible,
};

/// Digits shown of a digest or hash: enough to compare by eye.
const DIGITS: usize = 12;

/// Columns of a table that are narrower are never wrapped: times, numbers and short names.
const WRAPPED_MIN: u16 = 21;

/// Begins a row. It has no width, and [`visible`] leaves none of it in other text.
const ROW: char = '\u{2060}';

/// A table with these columns; the columns in `right` hold numbers.
pub(super) fn table(header: &[&str], right: &[usize]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if right.contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Adds a row of text from any source.
pub(super) fn row(table: &mut Table, cells: impl IntoIterator<Item = String>) {
    // A newline inside a cell would break the table.
    table.add_row(cells.into_iter().map(|cell| visible(&cell.replace('\n', " "))).collect::<Vec<_>>());
}

/// The text of `table`. On a terminal its long cells wrap, so that it fits.
pub(super) fn fit(mut table: Table, look: Look) -> String {
    if let Some(columns) = look.columns {
        let widths = table.column_max_content_widths();
        for (column, width) in table.column_iter_mut().zip(widths) {
            if width < WRAPPED_MIN {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        // The blanks after the last column do not show.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(columns.saturating_add(2));
    }
    table.trim_fmt()
}

/// The nodes of a cluster, and the servers of its broker.
pub(crate) fn cluster(view: &api::ClusterView) -> String {
    let mut table =
        table(&["NODE", "VERSION", "REVISION", "LAG", "HEARD", "READY", "DECIDES ABOUT"], &[2, 3]);
    for node in &view.nodes {
        let heard = if node.name == view.node && node.heard_ms == 0 {
            "this node".to_owned()
        } else {
            format!("{} ms ago", node.heard_ms)
        };
        let ready = match node.ready {
            Some(true) => "yes",
            Some(false) => "no",
            None => "?",
        };
        let (revision, lag) = (node.revision.to_string(), node.lag.to_string());
        let cells = [node.name.clone(), node.version.clone(), revision, lag, heard, ready.to_owned()];
        row(&mut table, cells.into_iter().chain([node.leads.join(", ")]));
    }
    let mut text = table.trim_fmt();
    if !view.servers.is_empty() {
        let mut servers = self::table(&["SERVER", "LEADS", "CURRENT", "LAG"], &[3]);
        for server in &view.servers {
            let word = |is: bool| if is { "yes" } else { "no" }.to_owned();
            let current = if server.offline { "offline".to_owned() } else { word(server.current) };
            row(&mut servers, [server.name.clone(), word(server.leader), current, server.lag.to_string()]);
        }
        text += &format!("\n\n{}", servers.trim_fmt());
    }
    text
}

/// A row of a table, and what is said below it.
struct Record {
    cells: Vec<String>,
    below: Vec<String>,
    /// Whether it is about something that failed.
    failed: bool,
}

/// A table of records; what is below a row is indented by `indent`.
fn records(header: &[&str], right: &[usize], rows: &[Record], indent: usize, look: Look) -> String {
    let mut table = table(header, right);
    for record in rows {
        let cells = record.cells.iter().map(|cell| visible(&cell.replace('\n', " ")));
        let marks = std::iter::once(ROW.to_string()).chain(std::iter::repeat(String::new()));
        table.add_row(cells.zip(marks).map(|(cell, mark)| mark + &cell).collect::<Vec<_>>());
    }
    let paint = |record: &Record, text: &str| {
        if record.failed { look.failed(text) } else { text.to_owned() }
    };
    let below = |record: &Record| {
        let texts = record.below.iter().map(|text| look.below(indent, &visible(&text.replace('\n', " "))));
        texts.map(|text| paint(record, &text)).collect::<Vec<_>>()
    };
    let (mut rows, mut current, mut lines) = (rows.iter(), None, Vec::new());
    for line in fit(table, look).lines() {
        if line.contains(ROW) {
            lines.extend(current.map(below).unwrap_or_default());
            current = rows.next();
        }
        let line = line.replace(ROW, "");
        lines.push(current.map_or(line.clone(), |record| paint(record, &line)));
    }
    lines.extend(current.map(below).unwrap_or_default());
    lines.join("\n")
}

pub(super) fn or_dash(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// `v2=10% v1=90%`, in the syntax of `traffic`.
pub(crate) fn split(split: &[api::SplitShare]) -> String {
    let shares: Vec<_> = split.iter().map(|share| format!("{}={}", share.version, share.weight)).collect();
    or_dash(Some(shares.join(" ")))
}

/// `functions`.
pub(crate) fn functions(list: &api::FunctionList, look: Look) -> String {
    let mut table = table(&["FUNCTION", "LATEST", "STAGES", "ROUTES"], &[]);
    for function in &list.functions {
        let stages: Vec<_> = function.stages.iter().map(|stage| stage.stage.as_str()).collect();
        let routes: Vec<_> = function.stages.iter().flat_map(|stage| &stage.routes).cloned().collect();
        row(
            &mut table,
            [
                function.function.clone(),
                function.latest.clone(),
                or_dash(Some(stages.join(" "))),
                or_dash(Some(routes.join(" "))),
            ],
        );
    }
    fit(table, look)
}

/// `status` of all functions.
pub(crate) fn summaries(list: &api::FunctionList, look: Look) -> String {
    let header = ["FUNCTION", "STAGE", "STABLE", "CANARY", "SPLIT", "REQUESTS", "FAILURES"];
    let mut table = table(&header, &[5, 6]);
    for function in &list.functions {
        if function.stages.is_empty() {
            let name = function.function.clone();
            row(&mut table, std::iter::once(name).chain((1..header.len()).map(|_| "-".to_owned())));
        }
        for stage in &function.stages {
            row(
                &mut table,
                [
                    function.function.clone(),
                    stage.stage.clone(),
                    stage.stable.clone(),
                    or_dash(stage.canary.clone()),
                    split(&stage.split),
                    stage.requests.to_string(),
                    time::failures(stage.failures, stage.requests),
                ],
            );
        }
    }
    fit(table, look)
}

/// `status` of one function; ages are relative to `now_ms`.
pub(crate) fn status(status: &api::FunctionStatus, now_ms: u64, look: Look) -> String {
    stages(status, Drawn::Plain, |_, rollout| Actual::of(rollout), now_ms, look)
}

/// `status` of one function; `actual` returns the canary's actual share in a stage's rollout.
pub(crate) fn stages(
    status: &api::FunctionStatus,
    drawn: Drawn,
    actual: impl Fn(&str, &api::RolloutView) -> Actual,
    now_ms: u64,
    look: Look,
) -> String {
    let waiting = status.proposals.iter().map(|proposal| access::proposal(proposal, now_ms));
    if status.stages.is_empty() {
        let api::FunctionStatus { function, latest, .. } = status;
        let text = format!("{function} has no traffic in any stage, its latest version is {latest}");
        return std::iter::once(text).chain(waiting).collect::<Vec<_>>().join("\n\n");
    }
    let stages = status.stages.iter().map(|stage| {
        let rollout = stage
            .rollout
            .as_ref()
            .map(|rollout| rollout::standing(rollout, actual(&stage.stage, rollout), drawn, now_ms));
        stage_status(status, stage, rollout, now_ms, look)
    });
    stages.chain(waiting).collect::<Vec<_>>().join("\n\n")
}

fn stage_status(
    status: &api::FunctionStatus,
    stage: &api::StageStatus,
    rollout: Option<String>,
    now_ms: u64,
    look: Look,
) -> String {
    let mut text = format!("{}  stage {}  revision {}\n", status.function, stage.stage, status.revision);
    text += &format!("routes   {}\n", visible(&stage.routes.join(" ")));
    let env = env(stage);
    if !env.is_empty() {
        text += &format!("env      {}\n", visible(&env));
    }
    if stage.sticky != "none" {
        text += &format!("sticky   {}\n", visible(&stage.sticky));
    }
    if let Some(preview) = preview(&status.function, stage) {
        text += &format!("preview  {preview}\n");
    }
    text += rollout.as_deref().unwrap_or("rollout  none\n");
    if let Some(last) = &stage.last_rollout {
        // Next to a rollout in progress, the numbers of the last one could be mistaken for its own.
        let failed = last.outcome != api::RolloutOutcomeView::Promoted;
        for line in rollout::last(last, stage.rollout.is_none(), now_ms).lines() {
            text += &format!("{}\n", if failed { look.failed(line) } else { line.to_owned() });
        }
    }
    let is_cluster = stage.versions.iter().any(|version| !version.nodes.is_empty());
    if !stage.versions.is_empty() {
        text += if is_cluster { "\nsince the nodes started:\n" } else { "\nsince the node started:\n" };
    }
    text += &fit(numbers(stage, is_cluster), look);
    for version in &stage.versions {
        text += &beside(version, look);
    }
    for version in stage.versions.iter().filter(|version| !version.tally.shield.is_empty()) {
        text += &format!("\n{}", shielded(version));
    }
    text
}

/// The numbers of the versions of a stage; in a cluster, of each on all nodes together and on each of them.
fn numbers(stage: &api::StageStatus, is_cluster: bool) -> Table {
    let mut header = vec!["VERSION", "ROLE", "WEIGHT"];
    let mut right = vec![2, 3, 4, 5, 6, 7];
    if is_cluster {
        header.push("NODE");
        right = vec![2, 4, 5, 6, 7, 8];
    }
    header.extend(["REQUESTS", "FAILURES", "P50", "P99", "MEMORY"]);
    let mut table = table(&header, &right);
    let tally = |tally: &api::TallyView| {
        [
            tally.requests.to_string(),
            time::failures(tally.failures, tally.requests),
            time::latency(tally.latency_p50_ms),
            time::latency(tally.latency_p99_ms),
            time::bytes(tally.memory_peak_bytes),
        ]
    };
    for version in &stage.versions {
        let role = or_dash(version.role.map(|role| role_word(role).to_owned()));
        let named = [version.version.clone(), role, version.weight.clone()];
        let all = is_cluster.then(|| "all".to_owned());
        row(&mut table, named.into_iter().chain(all).chain(tally(&version.tally)));
        for node in &version.nodes {
            let named = [String::new(), String::new(), String::new(), node.node.clone()];
            row(&mut table, named.into_iter().chain(tally(&node.tally)));
        }
    }
    table
}

/// The variables that the stage lays over those of its versions: `v2: API, LOG; v1: API`.
fn env(stage: &api::StageStatus) -> String {
    let versions = stage.versions.iter().filter(|version| !version.env.is_empty());
    let of = |version: &api::VersionStatus| format!("{}: {}", version.version, names(&version.env));
    versions.map(of).collect::<Vec<_>>().join("; ")
}

fn names(env: &BTreeMap<String, String>) -> String {
    env.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// What else there is to say of a version's requests: how those ended that did not succeed, and how long
/// requests waited for their turn if they did.
fn beside(version: &api::VersionStatus, look: Look) -> String {
    let api::TallyView { outcomes, failures, queue_wait_p99_ms, .. } = &version.tally;
    let others = outcomes.iter().filter(|(outcome, _)| *outcome != "success");
    let others: Vec<_> = others.map(|(outcome, count)| format!("{outcome}={count}")).collect();
    let mut text = String::new();
    if !others.is_empty() {
        let line = format!("outcomes {}: {}", version.version, visible(&others.join(" ")));
        text += &format!("\n{}", if *failures > 0 { look.failed(&line) } else { line });
    }
    if let Some(wait) = queue_wait_p99_ms.filter(|wait| *wait >= 1.0) {
        let (version, wait) = (&version.version, time::latency(Some(wait)));
        text += &format!("\nwaiting  {version}: 99% of the requests waited {wait} or less for their turn");
    }
    text
}

/// What the shield did for users when a version failed.
fn shielded(version: &api::VersionStatus) -> String {
    let again = version.tally.shield.get("again").copied().unwrap_or_default();
    let others = version.tally.shield.iter().filter(|(met, _)| *met != "again");
    let others: Vec<_> = others.map(|(met, count)| format!("{met}={count}")).collect();
    let mut text =
        format!("shield   {again} requests that failed on {} were answered by a second run", version.version);
    if !others.is_empty() {
        text += &format!("; not shielded: {}", visible(&others.join(" ")));
    }
    text
}

/// The address of a canary that does not have all traffic yet, unless previews are off.
fn preview(function: &str, stage: &api::StageStatus) -> Option<String> {
    let rollout = stage.rollout.as_ref().filter(|rollout| rollout.phase != "watching")?;
    let (at, on) = match stage.stage.as_str() {
        "live" => (String::new(), String::new()),
        name => (format!("@{name}"), format!(" -s {name}")),
    };
    let address = format!("/{function}{at}@{}", rollout.canary);
    match stage.preview.as_str() {
        "open" => Some(address),
        "token" => Some(format!("{address}, with a token: wasm-fn preview {function}{on}")),
        _ => None,
    }
}

pub(super) fn role_word(role: api::VersionRole) -> &'static str {
    match role {
        api::VersionRole::Stable => "stable",
        api::VersionRole::Canary => "canary",
        api::VersionRole::Previous => "previous",
    }
}

/// `versions`; ages are relative to `now_ms`.
pub(crate) fn versions(list: &api::VersionList, now_ms: u64, look: Look) -> String {
    let header = ["VERSION", "WHERE", "KIND", "COMPONENT", "AGE", "BY"];
    let rows = list.versions.iter().map(|version| {
        let places: Vec<_> = version.stages.iter().map(place).collect();
        let cells = vec![
            version.version.clone(),
            or_dash(Some(places.join(", "))),
            version.kind.clone(),
            version.component.chars().take(DIGITS).collect(),
            time::age(version.created_ms, now_ms),
            version.created_by.clone(),
        ];
        let message = version.message.iter().map(|message| format!("message: {message}"));
        let from = version.provenance.iter().map(|found| format!("from {}", provenance(found)));
        let below = version.verdict.iter().map(verdict).chain(message).chain(from);
        let below = below.chain(version.stage_configs.iter().map(stage_config));
        Record { cells, below: below.collect(), failed: version.verdict.is_some() }
    });
    records(&header, &[4], &rows.collect::<Vec<_>>(), 9, look)
}

/// `oci://registry.example.com/app@sha256:…, commit 0123456789ab on main of owner/app by ana, https://…`.
pub(super) fn provenance(found: &api::ProvenanceView) -> String {
    let api::ProvenanceView { artifact, repository, reference, commit, author, url, .. } = found;
    let commit = commit.as_ref().map(|commit| commit.chars().take(DIGITS).collect::<String>());
    let what = [
        ("commit ", commit.as_ref()),
        ("on ", reference.as_ref()),
        ("of ", repository.as_ref()),
        ("by ", author.as_ref()),
    ];
    let what = what.into_iter().filter_map(|(word, text)| text.map(|text| format!("{word}{text}")));
    let what = Some(what.collect::<Vec<_>>().join(" ")).filter(|what| !what.is_empty());
    let parts = [Some(artifact.clone()), what, url.clone()];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// `in staging: env API, LOG; routes staging.example.com/*`.
fn stage_config((stage, config): (&String, &api::StageConfigSpec)) -> String {
    let env = (!config.env.is_empty()).then(|| format!("env {}", names(&config.env)));
    let routes = (!config.routes.is_empty()).then(|| format!("routes {}", config.routes.join(" ")));
    let what: Vec<_> = env.into_iter().chain(routes).collect();
    format!("in {stage}: {}", what.join("; "))
}

fn place(place: &api::VersionPlace) -> String {
    let role = place.role.map(role_word).unwrap_or_default();
    let words = [place.stage.as_str(), role, place.weight.as_str()];
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn verdict(verdict: &api::VersionVerdictView) -> String {
    let (word, stage, reason) = match verdict {
        api::VersionVerdictView::Aborted { stage, reason, .. } => ("aborted", stage, reason),
        api::VersionVerdictView::RolledBack { stage, reason, .. } => ("rolled back", stage, reason),
    };
    let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let stage = if stage == "live" { String::new() } else { format!(" in {stage}") };
    format!("{word}{stage}{reason}")
}

/// `history`; with `evidence`, the numbers behind each decision below the table.
pub(crate) fn history(history: &api::HistoryPage, evidence: bool, look: Look) -> String {
    let header = ["REVISION", "AT", "ACTION", "VERSION", "HASH", "SPLIT"];
    let rows = history.entries.iter().map(|entry| {
        let stage = entry.stage.as_deref().filter(|stage| *stage != "live");
        let stage = stage.map(|stage| format!(" in {stage}")).unwrap_or_default();
        let cells = vec![
            entry.revision.to_string(),
            time::second(entry.at_ms),
            format!("{}{stage}", entry.action),
            or_dash(entry.version.clone()),
            entry.hash.chars().take(DIGITS).collect(),
            afterwards(entry),
        ];
        let failed = matches!(entry.action.as_str(), "abort" | "rollback");
        let from = entry.provenance.as_ref().map(|found| format!("from {}", provenance(found)));
        Record { cells, below: std::iter::once(who(entry)).chain(from).collect(), failed }
    });
    let mut text = records(&header, &[0], &rows.collect::<Vec<_>>(), 10, look);
    for entry in history.entries.iter().filter(|_| evidence) {
        let Some(evidence) = &entry.evidence else { continue };
        let version = entry.version.as_deref().unwrap_or_default();
        let title = format!("revision {}: {} {version}", entry.revision, entry.action);
        text += &format!("\n\n{}\n{}", visible(title.trim_end()), rollout::evidence(evidence).trim_end());
    }
    text
}

/// The split, and in a step by cohort also who is on the canary.
fn afterwards(entry: &api::HistoryEntry) -> String {
    let step: Option<Step> = entry.step.as_ref().and_then(|step| step.parse().ok());
    let shares = split(&entry.split);
    match step.filter(|step| step.cohort().is_some()).zip(entry.version.as_ref()) {
        Some((step, version)) => format!("{shares}, {} on {version}", rollout::cohort(&step)),
        None => shares,
    }
}

/// The secrets that were set, or the one that was deleted: `API_KEY, revision 2`, or `API_KEY, DB_PASSWORD`.
pub(super) fn secret(entry: &api::HistoryEntry) -> Option<String> {
    let (name, revision) = entry.secrets.first_key_value()?;
    match entry.action.as_str() {
        "set-secret" if entry.secrets.len() > 1 => {
            Some(entry.secrets.keys().map(String::as_str).collect::<Vec<_>>().join(", "))
        }
        "set-secret" => Some(format!("{name}, revision {revision}")),
        "delete-secret" => Some(name.clone()),
        _ => None,
    }
}

/// The trigger, and what was done with its events: `trigger nightly, 3 events: all dead letters`.
pub(super) fn trigger(entry: &api::HistoryEntry) -> Option<String> {
    let trigger = entry.trigger.as_ref()?;
    let events = entry.events.as_ref().map(|api::OperatedEventsView { count, which }| match count {
        1 => format!(", 1 event: {which}"),
        count => format!(", {count} events: {which}"),
    });
    Some(format!("trigger {trigger}{}", events.unwrap_or_default()))
}

/// The value that was set or deleted: `"user/7" in carts`.
pub(super) fn value(entry: &api::HistoryEntry) -> Option<String> {
    entry.value.as_ref().map(|api::ChangedValueView { bucket, key }| format!("{key:?} in {bucket}"))
}

/// Who did it, from where and why: `by admin from 127.0.0.1:50000: looks good`.
fn who(entry: &api::HistoryEntry) -> String {
    let from = if entry.origin.is_empty() { String::new() } else { format!(" from {}", entry.origin) };
    let node = entry.node.as_ref().map(|node| format!(" on {node}")).unwrap_or_default();
    let from = format!("{from}{node}");
    let growth = Some(entry.growth.join(", ")).filter(|growth| !growth.is_empty());
    let growth = growth.map(|growth| format!("accepted {growth}"));
    let secret = secret(entry);
    let (trigger, value) = (trigger(entry), value(entry));
    let why = [&secret, &trigger, &value, &entry.message, &entry.reason, &growth]
        .into_iter()
        .flatten()
        .map(String::as_str);
    let why = why.collect::<Vec<_>>().join("; ");
    let why = if why.is_empty() { why } else { format!(": {why}") };
    format!("by {}{from}{why}", entry.actor)
}
