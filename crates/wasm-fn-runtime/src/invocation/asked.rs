//! What a request asked for, kept until its answer: the log names the requests that failed.

use std::time::Duration;

use http::{Method, Request, uri::PathAndQuery};

use crate::guest_host::logs::LoggedRequest;

/// Longest part of a path that is logged, bytes.
const PATH_BYTES_MAX: usize = 1024;

/// Method and target of a request. Keeping them copies no text.
pub(crate) struct Asked {
    method: Method,
    target: Option<PathAndQuery>,
}

impl Asked {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        Self { method: request.method().clone(), target: request.uri().path_and_query().cloned() }
    }

    /// The request as it is logged after `took`.
    pub(crate) fn logged(&self, took: Duration) -> LoggedRequest {
        let path = self.target.as_ref().map_or("/", PathAndQuery::path);
        let path = path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_owned();
        LoggedRequest { method: self.method.clone(), path, took }
    }
}
