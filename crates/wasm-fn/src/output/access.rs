//! Tokens and the audit log, as tables.

use wasm_fn_access::FunctionPattern;
use wasm_fn_api as api;
use wasm_fn_core::{FunctionName, StageName};

use super::{
    Look,
    tables::{fit, or_dash, provenance, row, secret, split, table, trigger, value},
    time, visible,
};

/// `ci has the role deployer for functions shop-* in stage staging`, and until when.
pub(crate) fn rights(token: &api::TokenView) -> String {
    let scope = match scope(&token.rights).as_str() {
        "*" => "everything".to_owned(),
        scope => scope.to_owned(),
    };
    let until = token.expires_ms.map(|at_ms| format!(", until {}", time::second(at_ms))).unwrap_or_default();
    format!("{} has the role {} for {scope}{until}", token.name, token.rights.roles.join(", "))
}

/// `shop-* in staging`; `*` is everything.
fn scope(rights: &api::RightsSpec) -> String {
    let functions = if rights.functions.is_empty() { "*".to_owned() } else { rights.functions.join(" ") };
    if rights.stages.is_empty() { functions } else { format!("{functions} in {}", rights.stages.join(" ")) }
}

/// A release that waits for approvals, in a few lines.
pub(crate) fn proposal(proposal: &api::ProposalView, now_ms: u64) -> String {
    let api::ProposalView { stage, version, author, approvers, approvals, expires_ms, .. } = proposal;
    let mut text = format!("waiting  {version} for stage {stage}, proposed by {author}");
    if let Some(message) = &proposal.message {
        text += &format!(": {message}");
    }
    text += &format!("\n         {} of {approvers} approvals", approvals.len());
    let names: Vec<_> = approvals.iter().map(|approval| approval.by.as_str()).collect();
    if !names.is_empty() {
        text += &format!(" (by {})", names.join(", "));
    }
    text += &match expires_ms.checked_sub(now_ms) {
        Some(_) => format!(", until {}", time::second(*expires_ms)),
        None => ", its time is over".to_owned(),
    };
    if !proposal.growth.is_empty() {
        text += &format!("\n         it can do more: {}", proposal.growth.join("; "));
    }
    visible(&text)
}

/// A note for each pattern that no function of `list` matches, and each stage that none of them has.
pub(crate) fn unmatched(
    list: &api::FunctionList,
    patterns: &[FunctionPattern],
    stages: &[StageName],
) -> Vec<String> {
    let of_patterns = patterns.iter().filter(|pattern| {
        let mut names =
            list.functions.iter().filter_map(|function| function.function.parse::<FunctionName>().ok());
        !pattern.is_all() && !names.any(|name| pattern.matches(&name))
    });
    let of_stages = stages.iter().filter(|stage| {
        let mut found = list.functions.iter().flat_map(|function| &function.stages);
        !found.any(|summary| summary.stage == stage.as_str())
    });
    let of_patterns = of_patterns.map(|pattern| format!("note: no function is called {pattern} so far"));
    of_patterns
        .chain(of_stages.map(|stage| format!("note: no function has the stage {stage} so far")))
        .collect()
}

/// `tokens list`.
pub(crate) fn tokens(list: &api::TokenList) -> String {
    let mut table = table(&["TOKEN", "ID", "ROLES", "FOR", "CREATED", "BY", "EXPIRES", "LAST USE"], &[]);
    for token in &list.tokens {
        row(
            &mut table,
            [
                token.name.clone(),
                or_dash(token.id.clone()),
                token.rights.roles.join(" "),
                scope(&token.rights),
                or_dash(token.created_ms.map(time::second)),
                or_dash(token.created_by.clone()),
                token.expires_ms.map_or_else(|| "never".to_owned(), time::second),
                token.used_ms.map_or_else(|| "never".to_owned(), time::second),
            ],
        );
    }
    fit(table, Look::of_stdout())
}

/// `tokens show`.
pub(crate) fn caller(caller: &api::CallerView) -> String {
    format!("{}\nit may: {}", rights(&caller.token), caller.permissions.join(", "))
}

/// `audit`.
pub(crate) fn audit(entries: &[api::AuditEntry], look: Look) -> String {
    let mut table = table(&["REVISION", "TIME", "ACTOR", "FROM", "ACTION", "ON", "WHAT"], &[0]);
    for entry in entries {
        for cells in cells(entry) {
            row(&mut table, cells);
        }
    }
    fit(table, look)
}

/// The rows of `entry`: one for each change, or for each kind of refusal.
fn cells(entry: &api::AuditEntry) -> Vec<[String; 7]> {
    let cells = |action: &str, on: String, what: String| {
        let node = entry.node.as_ref().map(|node| format!("{} on {node}", entry.origin));
        let (actor, origin) = (entry.actor.clone(), node.unwrap_or_else(|| entry.origin.clone()));
        [entry.revision.to_string(), time::second(entry.at_ms), actor, origin, action.to_owned(), on, what]
    };
    let message = || entry.message.clone().unwrap_or_default();
    if !entry.refusals.is_empty() {
        let rows = entry.refusals.iter().map(|refused| {
            let who = refused.actor.clone().unwrap_or_else(|| "nobody known".to_owned());
            let mut row =
                cells("refuse", "-".to_owned(), format!("{} ({} x)", refused.reason, refused.times));
            row[2] = who;
            row[3].clone_from(&refused.address);
            row
        });
        let others = (entry.other_refusals > 0)
            .then(|| cells("refuse", "-".to_owned(), format!("{} more", entry.other_refusals)));
        return rows.chain(others).collect();
    }
    if entry.history.is_empty() {
        let on = or_dash(entry.subject.as_ref().map(|name| format!("token {name}")));
        let rights =
            entry.rights.as_ref().map(|rights| format!("{} for {}", rights.roles.join(" "), scope(rights)));
        let what: Vec<_> = rights.into_iter().chain(entry.message.clone()).collect();
        return vec![cells(&entry.action, on, or_dash(Some(what.join(": "))))];
    }
    let rows = entry.history.iter().map(|history| {
        let function = entry.function.clone().unwrap_or_default();
        let on = match history.stage.as_deref() {
            None | Some("live") => function,
            Some(stage) => format!("{function} in {stage}"),
        };
        let version = history.version.clone().unwrap_or_default();
        let split = if history.split.is_empty() { String::new() } else { split(&history.split) };
        let secret = secret(history).unwrap_or_default();
        let from = history.provenance.as_ref().map(|found| format!("from {}", provenance(found)));
        let parts = [
            version,
            secret,
            trigger(history).unwrap_or_default(),
            value(history).unwrap_or_default(),
            split,
            message(),
            history.reason.clone().unwrap_or_default(),
            from.unwrap_or_default(),
        ];
        let what: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        cells(&history.action, on, or_dash(Some(what.join("; "))))
    });
    rows.collect()
}

#[cfg(test)]
mod tests;
