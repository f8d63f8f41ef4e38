//! Which lines of a log a client wants.

use std::ops::RangeInclusive;

use wasm_fn_access::Scope;
use wasm_fn_api as api;
use wasm_fn_control::host::LogLine;
use wasm_fn_core::{StageName, VersionNo};

use crate::ApiError;

/// Digits of a request's id.
const ID_DIGITS: usize = 32;

/// Of which stages to send lines.
pub(super) enum Stages {
    /// Of this one.
    Only(StageName),
    /// Of those in a scope. Only one with all stages has what is of none.
    Scope(Scope),
}

impl Stages {
    /// The stage that was asked for.
    pub(super) fn only(&self) -> Option<&StageName> {
        match self {
            Self::Only(stage) => Some(stage),
            Self::Scope(_) => None,
        }
    }

    fn has(&self, stage: Option<&StageName>) -> bool {
        match (self, stage) {
            (Self::Only(wanted), found) => found == Some(wanted),
            (Self::Scope(scope), Some(found)) => scope.has_stage(found),
            (Self::Scope(scope), None) => scope.has_all_stages(),
        }
    }
}

/// Which lines to send.
pub(super) struct LogFilter {
    stages: Stages,
    /// Only lines of this version.
    version: Option<VersionNo>,
    /// Only lines of requests that failed with one of these statuses.
    failed_with: Option<RangeInclusive<u16>>,
    /// Only lines of requests whose id begins like this.
    request: String,
    since_ms: u64,
    /// Only lines from before this time.
    until_ms: Option<u64>,
}

impl LogFilter {
    /// Reads the filters of `query`; its stage and version are resolved already.
    ///
    /// # Errors
    /// Says what was found and what was expected.
    pub(super) fn new(
        stages: Stages,
        version: Option<VersionNo>,
        query: &api::LogsQuery,
    ) -> Result<Self, ApiError> {
        let refused = |detail: String| Err(ApiError::invalid_request(detail));
        let failed_with = match query.status.as_deref() {
            None => None,
            Some("error") => Some(0..=u16::MAX),
            Some("5xx") => Some(500..=599),
            Some(text) => match text.parse().ok().filter(|status| (500..=599).contains(status)) {
                Some(status) => Some(status..=status),
                None => {
                    return refused(format!(
                        "status is {text:?}, expected \"error\", \"5xx\", or a status from 500 to 599: a log has the \
                         status of failed requests only"
                    ));
                }
            },
        };
        let request = query.request.as_deref().unwrap_or_default().to_ascii_lowercase();
        let digits = request.bytes().all(|byte| byte.is_ascii_hexdigit());
        if query.request.is_some() && (!digits || !(1..=ID_DIGITS).contains(&request.len())) {
            return refused(format!(
                "request is {request:?}, expected the {ID_DIGITS} hexadecimal digits of a response's \
                 wasm-fn-request-id, or the first of them"
            ));
        }
        if query.follow && query.until_ms.is_some() {
            return refused("until_ms is given with follow, expected only one of them".to_owned());
        }
        let (since_ms, until_ms) = (query.since_ms.unwrap_or(0), query.until_ms);
        Ok(Self { stages, version, failed_with, request, since_ms, until_ms })
    }

    /// Whether to send `line`.
    pub(super) fn wants(&self, line: &LogLine) -> bool {
        let status = line.status.unwrap_or(0);
        self.stages.has(line.stage.as_ref())
            && self.version.is_none_or(|version| version == line.version)
            && self.failed_with.as_ref().is_none_or(|wanted| line.failed && wanted.contains(&status))
            && line.request_id.starts_with(&self.request)
            && line.at_ms >= self.since_ms
            && self.until_ms.is_none_or(|until| line.at_ms < until)
    }
}

#[cfg(test)]
mod tests;
