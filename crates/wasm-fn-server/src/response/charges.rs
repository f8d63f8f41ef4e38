//! Every way in which a request can end, and whom it is charged to.

use http::StatusCode;
use wasm_fn_core::Outcome;

use crate::failure::{FailureCause, Lost};

/// A way in which a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// What happened.
    pub cause: String,
    /// What the client gets.
    pub answer: ClientGets,
    /// The outcome that the request counts as, which decides whom it is charged to.
    pub outcome: Outcome,
}

/// What the client of a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientGets {
    /// The guest's response.
    ByGuest,
    /// This status, and a problem with this code.
    Problem(StatusCode, &'static str),
    /// Nothing.
    Nothing,
}

/// Lists every way in which a request that reached a version can end, grouped by whom it is charged to:
/// nobody, the version, the client, the node.
pub fn charges() -> Vec<Charge> {
    let by_guest =
        |cause: &str, outcome| Charge { cause: cause.to_owned(), answer: ClientGets::ByGuest, outcome };
    let failed = FailureCause::ALL.into_iter().map(|cause| Charge {
        cause: cause.to_string(),
        answer: ClientGets::Problem(cause.code().status(), cause.code().as_str()),
        outcome: cause.outcome(),
    });
    let lost = Lost::ALL.into_iter().map(|lost| Charge {
        cause: lost.to_string(),
        answer: ClientGets::Nothing,
        outcome: lost.outcome(),
    });
    let mut charges = vec![
        by_guest("guest gave a complete answer below 500", Outcome::Success),
        by_guest("guest answered with 500 or above", Outcome::ServerError),
        by_guest("guest answered with 500 or above after the node refused it memory", Outcome::Shed),
    ];
    charges.extend(failed.chain(lost));
    // A stable sort keeps the order within each group.
    charges.sort_by_key(|charge| charge.outcome.blame().map_or(0, |blame| blame as u8 + 1));
    charges
}

#[cfg(test)]
mod tests;
