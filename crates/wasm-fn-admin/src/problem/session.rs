//! What is wrong with sessions of the page.

use std::fmt::Display;

use http::StatusCode;

use super::ApiError;
use crate::Untrusted;

impl ApiError {
    /// A browser sends a request for another site.
    pub(crate) fn cross_origin(detail: impl Display) -> Self {
        let title = "the request comes from another origin";
        Self::new(StatusCode::FORBIDDEN, "cross-origin", title, detail)
            .help("open the page at the address of the node, and do it there")
    }

    /// A login at an issuer does not go on.
    pub(crate) fn not_logged_in(why: Untrusted) -> Self {
        match why {
            Untrusted::Refused(reason) => {
                Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "nobody is logged in", reason)
                    .help("log in again, or paste a token; what issuers have to know is in `[[serve.oidc]]`")
            }
            Untrusted::Unavailable(reason) => Self::no_keys(reason),
        }
    }

    pub(crate) fn session_over() -> Self {
        let detail = "the session is over, or its token was revoked, expected one that goes on";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "the session is over", detail)
            .help("log in again")
    }
}
