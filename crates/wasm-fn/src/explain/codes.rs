//! The table of error codes. `wasm-fn explain` reads it, and docs/reference/errors.md is made from it.

mod admin;
mod data_plane;

pub(super) use admin::ADMIN;
pub(super) use data_plane::DATA_PLANE;

/// What a code of an error means, and what to do about it.
///
/// The texts are Markdown without links: words between backticks are what people type or see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ErrorCode {
    /// The stable code, `guest-trap`.
    pub(super) code: &'static str,
    /// The statuses that answers with this code have.
    pub(super) statuses: &'static [u16],
    /// When it is used.
    pub(super) meaning: &'static str,
    /// What to do about it.
    pub(super) remedy: &'static str,
    /// Page that says more, below `docs/`.
    pub(super) page: Option<&'static str>,
}

const fn code(
    code: &'static str,
    statuses: &'static [u16],
    meaning: &'static str,
    remedy: &'static str,
) -> ErrorCode {
    ErrorCode { code, statuses, meaning, remedy, page: None }
}

impl ErrorCode {
    const fn see(self, page: &'static str) -> Self {
        Self { page: Some(page), ..self }
    }
}
