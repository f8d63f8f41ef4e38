//! Whom the end of a request is charged to, for every way in which one can end.

use http::StatusCode;
use wasm_fn_core::Outcome;

use crate::{Cause, failure::Lost};

/// A way in which a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What happened.
    pub cause: String,
    /// What the client gets.
    pub answer: Answered,
    /// How the request is counted, and by that whom it is charged to.
    pub outcome: Outcome,
}

/// What the client of a request gets in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// What the guest answered.
    ByGuest,
    /// This status with a problem of this code.
    Problem(StatusCode, &'static str),
    /// Nothing.
    Nothing,
}

/// Every way in which a request that reached a version can end, by whom it is charged to: to nobody, the version, the
/// client, the node.
pub fn charges() -> Vec<Charge> {
    let by_guest =
        |cause: &str, outcome| Charge { cause: cause.to_owned(), answer: Answered::ByGuest, outcome };
    let failed = Cause::ALL.into_iter().map(|cause| Charge {
        cause: cause.to_string(),
        answer: Answered::Problem(cause.code().status(), cause.code().as_str()),
        outcome: cause.outcome(),
    });
    let lost = Lost::ALL.into_iter().map(|lost| Charge {
        cause: lost.to_string(),
        answer: Answered::Nothing,
        outcome: lost.outcome(),
    });
    let mut charges = vec![
        by_guest("guest gave a complete answer below 500", Outcome::Success),
        by_guest("guest answered with 500 or above", Outcome::ServerError),
        by_guest("guest answered with 500 or above after the node refused it memory", Outcome::Shed),
    ];
    charges.extend(failed.chain(lost));
    // Stable, so that what belongs together stays so.
    charges.sort_by_key(|charge| charge.outcome.blame().map_or(0, |blame| blame as u8 + 1));
    charges
}

#[cfg(test)]
mod tests;
