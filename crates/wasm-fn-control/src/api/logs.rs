//! Reading what functions wrote.

use std::collections::VecDeque;

use axum::{extract::State, response::Response};
use futures_util::stream;
use tokio::sync::watch;
use wasm_fn_core::{FunctionName, StageName, VersionNo};

use super::{
    ApiError, Shared,
    deployments::lines,
    extract::{Function, Parameters, Plane},
};
use crate::{
    host::{Host, LogLine},
    store::Store,
    wire,
};

/// What a function wrote, as lines of JSON.
#[utoipa::path(get, path = "/v1/functions/{function}/logs", tag = "functions", security(("token" = [])),
    params(("function" = String, Path, description = "Name of the function"), wire::LogsQuery),
    responses(
        (status = 200, description = "Lines, oldest first; with `follow` the answer does not end", body = wire::LogEvent, content_type = "application/x-ndjson"),
        (status = 404, description = "`unknown-function`, `unknown-version`", body = wire::Problem, content_type = "application/problem+json"),
        (status = "4XX", description = "Refused", body = wire::Problem, content_type = "application/problem+json"),
))]
pub(super) async fn logs<H: Host, S: Store>(
    State(control): Plane<H, S>,
    Function(function): Function,
    Parameters(query): Parameters<wire::LogsQuery>,
) -> Result<Response, ApiError> {
    let state = control.state();
    state.function(&function)?;
    let version = match query.version.as_deref() {
        Some(text) => Some(state.resolve(&function, &StageName::live(), text.parse()?)?),
        None => None,
    };
    let failed = match query.status.as_deref() {
        None => false,
        Some("error") => true,
        Some(other) => return Err(ApiError::invalid_request(format!("status is {other:?}, expected error"))),
    };
    let until = if query.follow { None } else { Some(control.host.logs(&function, query.after).newest) };
    let reader = Reader {
        changes: control.host.log_changes(),
        stopping: control.stopping.subscribe(),
        control,
        function,
        version,
        failed,
        after: query.after,
        until,
        ready: VecDeque::new(),
    };
    Ok(lines(stream::unfold(reader, Reader::next)))
}

/// Reads a log page by page, as fast as the client takes it.
struct Reader<H: Host, S> {
    control: Shared<H, S>,
    function: FunctionName,
    version: Option<VersionNo>,
    failed: bool,
    after: u64,
    /// The last line to be sent; `None` to wait for more for ever.
    until: Option<u64>,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    ready: VecDeque<wire::LogEvent>,
}

impl<H: Host, S: Store> Reader<H, S> {
    async fn next(mut self) -> Option<(wire::LogEvent, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            if self.until.is_some_and(|until| self.after >= until) || *self.stopping.borrow() {
                return None;
            }
            // Marked as seen before looking, so that a line written meanwhile wakes the wait below.
            self.changes.borrow_and_update();
            if self.read() {
                continue;
            }
            if self.until.is_some() {
                return None;
            }
            let changed = tokio::select! {
                changed = self.changes.changed() => changed,
                _ = self.stopping.wait_for(|&stopping| stopping) => return None,
            };
            changed.ok()?;
        }
    }

    /// Takes the next page; `false` when there is none.
    fn read(&mut self) -> bool {
        let page = self.control.host.logs(&self.function, self.after);
        let Some(last) = page.lines.last() else { return false };
        let before = self.after;
        self.after = last.seq;
        if page.lost > 0 {
            self.ready.push_back(wire::LogEvent::Lost { lines: page.lost });
        }
        let until = self.until.unwrap_or(u64::MAX);
        let wanted = page.lines.into_iter().filter(|line| {
            line.seq <= until
                && self.version.is_none_or(|version| version == line.version)
                && (line.failed || !self.failed)
        });
        self.ready.extend(wanted.map(event));
        // A page that brings nothing new would be read for ever.
        self.after > before
    }
}

fn event(line: LogLine) -> wire::LogEvent {
    wire::LogEvent::Line(wire::LogLine {
        seq: line.seq,
        at_ms: line.at_ms,
        request_id: line.request_id,
        version: line.version.to_string(),
        stream: line.stream,
        failed: line.failed,
        text: line.text,
    })
}
