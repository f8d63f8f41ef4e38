//! Errors as `application/problem+json` (RFC 9457).

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not carried out. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// What went wrong, in a few words that are always the same for this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The details: the thing, what was found, what was expected.
    pub detail: String,
    /// A stable code to branch on, such as `revision-conflict`.
    pub code: String,
    /// How to solve the problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The node's revision, with `revision-conflict`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}

impl Problem {
    /// The media type of a problem.
    pub const MEDIA_TYPE: &'static str = "application/problem+json";
}
