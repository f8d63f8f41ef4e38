//! What a request asked for, kept until its answer: the log names the requests that failed.

use std::time::Duration;

use http::{Method, Request, uri::PathAndQuery};

use wasm_fn_secrets::SecretSet;

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

    /// The request as it is logged after `took`, with `secrets` masked.
    pub(crate) fn logged(&self, took: Duration, secrets: &SecretSet) -> LoggedRequest {
        let path = self.target.as_ref().map_or("/", PathAndQuery::path);
        let path = match secrets.mask(path.as_bytes(), PATH_BYTES_MAX) {
            Some(masked) => String::from_utf8_lossy(&masked).into_owned(),
            None => path[..path.floor_char_boundary(PATH_BYTES_MAX)].to_owned(),
        };
        LoggedRequest { method: self.method.clone(), path, took }
    }
}
