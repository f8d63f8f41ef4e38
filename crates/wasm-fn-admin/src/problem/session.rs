//! What is wrong with sessions of the page.

use std::fmt::Display;

use http::StatusCode;

use super::ApiError;

impl ApiError {
    /// A browser sends a request for another site.
    pub(crate) fn cross_origin(detail: impl Display) -> Self {
        let title = "the request comes from another origin";
        Self::new(StatusCode::FORBIDDEN, "cross-origin", title, detail)
            .help("open the page at the address of the node, and do it there")
    }

    pub(crate) fn session_over() -> Self {
        let detail = "the session is over, or its token was revoked, expected one that goes on";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "the session is over", detail)
            .help("log in again")
    }
}
