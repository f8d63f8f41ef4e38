//! What the codes of errors mean, and what to do about them.

mod codes;

use serde::Serialize;

use codes::{ADMIN, DATA_PLANE, ErrorCode};

/// Similarity, 0 to 1, from which on another code is taken for a misspelling.
const SIMILAR_MIN: f64 = 0.75;

/// Who answers with a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Plane {
    /// The address that serves functions.
    Data,
    /// The admin API, and the commands that ask it.
    Admin,
}

/// A code of one plane, explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Explanation {
    /// The code.
    pub(crate) code: &'static str,
    /// Who answers with it.
    pub(crate) plane: Plane,
    /// The statuses that it comes with.
    pub(crate) statuses: &'static [u16],
    /// When it is used.
    pub(crate) meaning: &'static str,
    /// What to do about it.
    pub(crate) remedy: &'static str,
    /// The page that says more, below `docs/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) page: Option<&'static str>,
}

/// All codes: those of functions' callers first.
pub(crate) fn all() -> impl Iterator<Item = Explanation> {
    let of = |plane| {
        move |&ErrorCode { code, statuses, meaning, remedy, page }: &ErrorCode| Explanation {
            code,
            plane,
            statuses,
            meaning,
            remedy,
            page,
        }
    };
    DATA_PLANE.iter().map(of(Plane::Data)).chain(ADMIN.iter().map(of(Plane::Admin)))
}

/// The code that was probably meant by `typed`.
pub(crate) fn nearest(typed: &str) -> Option<&'static str> {
    let similar = all().map(|one| (strsim::jaro_winkler(one.code, typed), one.code));
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (nearest.0 >= SIMILAR_MIN).then_some(nearest.1)
}

#[cfg(test)]
mod tests;
