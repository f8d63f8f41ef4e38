//! Reading the logs of functions.

mod filter;
mod merged;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use futures_util::stream;
use tokio::sync::watch;
use wasm_fn_access::Target;
use wasm_fn_core::{FunctionName, StageName, VersionRef};

use wasm_fn_api as api;
use wasm_fn_control::{
    Control, ControlError,
    host::{Host, LogLine, LogRequest, LogStream},
    state::ChangeError,
};
use wasm_fn_store::Store;

use filter::{LogFilter, Stages};
use merged::MergedReader;

use super::deployments::lines;
use crate::{
    ApiError,
    admin::Shared,
    authorize::Caller,
    extract::{Function, Parameters},
    nodes::{Others, find},
};

/// Pages that are read at once.
const PAGES_MAX: usize = 64;

/// Reads the log of a function, as lines of JSON.
pub(crate) async fn logs<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Function(function): Function,
    caller: Caller,
    others: Others,
    Parameters(query): Parameters<api::LogsQuery>,
) -> Result<Response, ApiError> {
    let state = admin.control.state();
    // Lines of all stages are in one log. Whoever names no stage reads those in scope.
    let stages = match query.stage.as_deref() {
        Some(text) => {
            let stage: StageName = text.parse()?;
            let _ = caller.on(Target::Stage(&function, &stage))?;
            let stages = &state.function(&function)?.stages;
            if !stages.contains_key(&stage) {
                return Err(ControlError::from(ChangeError::NoSuchStage { function, stage }).into());
            }
            Stages::Only(stage)
        }
        None => Stages::Scope(caller.actor().rights.scope.clone()),
    };
    state.function(&function)?;
    let version = match query.version.as_deref().map(str::parse).transpose()? {
        Some(VersionRef::No(no)) => Some(state.resolve(&function, &StageName::live(), VersionRef::No(no))?),
        Some(role) => {
            let stage = stages.only().cloned().unwrap_or_else(StageName::live);
            let _ = caller.on(Target::Stage(&function, &stage))?;
            Some(state.resolve(&function, &stage, role)?)
        }
        None => None,
    };
    let filter = LogFilter::new(stages, version, &query)?;
    let until =
        if query.follow { None } else { Some(admin.control.host().logs(&function, query.after).newest) };
    let reader = Reader {
        changes: admin.control.host().log_changes(),
        stopping: admin.stopping.subscribe(),
        control: Arc::clone(&admin.control),
        caller,
        function,
        filter,
        after: query.after,
        until,
        ready: VecDeque::new(),
    };
    let Some(cluster) = others.cluster().cloned() else {
        return Ok(lines(stream::unfold(reader, Reader::next)));
    };
    let only = query.node.as_deref().map(|node| find(&*cluster, node)).transpose()?;
    let reader = MergedReader::new(reader, only, others, query)?;
    Ok(lines(stream::unfold(reader, MergedReader::next)))
}

/// Reads a log page by page, as fast as the client takes it.
struct Reader<H: Host, S> {
    control: Arc<Control<H, S>>,
    caller: Caller,
    function: FunctionName,
    filter: LogFilter,
    after: u64,
    /// The last line to send; `None` to wait for more lines without end.
    until: Option<u64>,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    ready: VecDeque<api::LogEvent>,
}

impl<H: Host, S: Store> Reader<H, S> {
    async fn next(mut self) -> Option<(api::LogEvent, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((event, self));
            }
            if self.until.is_some_and(|until| self.after >= until) || *self.stopping.borrow() {
                return None;
            }
            // Mark the change as seen before reading, so that a line written meanwhile ends the wait below.
            self.changes.borrow_and_update();
            // Whoever takes pages one after the other waits for nothing below.
            if !self.control.still_knows(self.caller.actor()) {
                return None;
            }
            if self.read() {
                continue;
            }
            if self.until.is_some() {
                return None;
            }
            let changed = tokio::select! {
                changed = self.changes.changed() => changed,
                _ = self.stopping.wait_for(|&stopping| stopping) => return None,
                // A token that was revoked or has expired reads no more.
                () = self.control.until_unknown(self.caller.actor()) => return None,
            };
            changed.ok()?;
        }
    }

    /// Whether the answer goes on: the node does, and still knows whose it is.
    fn may_go_on(&self) -> bool {
        !*self.stopping.borrow() && self.control.still_knows(self.caller.actor())
    }

    /// Waits for `time`. Returns `false` if the answer is over.
    async fn pause(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(time) => true,
            _ = self.stopping.wait_for(|&stopping| stopping) => false,
            () = self.control.until_unknown(self.caller.actor()) => false,
        }
    }

    /// Reads what is there.
    fn read_all(&mut self) -> Vec<api::LogEvent> {
        // Whoever writes faster than this is read on the next time.
        for _ in 0..PAGES_MAX {
            if !self.read() {
                break;
            }
        }
        self.ready.drain(..).collect()
    }

    /// Reads the next page. Returns `false` if there is none.
    fn read(&mut self) -> bool {
        let page = self.control.host().logs(&self.function, self.after);
        let Some(last) = page.lines.last() else { return false };
        let before = self.after;
        self.after = last.seq;
        if page.lost > 0 {
            self.ready.push_back(api::LogEvent::Lost { lines: page.lost, node: None });
        }
        let until = self.until.unwrap_or(u64::MAX);
        let wanted = page.lines.into_iter().filter(|line| line.seq <= until && self.filter.wants(line));
        self.ready.extend(wanted.map(event));
        // A page without a new line would be read again for ever.
        self.after > before
    }
}

fn event(line: LogLine) -> api::LogEvent {
    api::LogEvent::Line(api::LogLineView {
        node: None,
        seq: line.seq,
        at_ms: line.at_ms,
        request_id: line.request_id,
        stage: line.stage.map(|stage| stage.to_string()),
        version: line.version.to_string(),
        stream: match line.stream {
            LogStream::Stdout => api::LogStreamView::Stdout,
            LogStream::Stderr => api::LogStreamView::Stderr,
            LogStream::Host => api::LogStreamView::Host,
        },
        failed: line.failed,
        status: line.status,
        request: line.request.map(|LogRequest { method, path, took }| api::LogRequestView {
            method,
            path,
            duration_ms: took.as_secs_f64() * 1e3,
        }),
        text: line.text,
    })
}
