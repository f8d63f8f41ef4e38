//! Finds routes that two stages claim.

use std::collections::HashMap;

use wasm_fn_core::{FunctionName, Route, StageName};

/// Two stages claim the same route.
///
/// Routes that only overlap do not clash: the more specific one wins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "route {route} is claimed by `{}` (stage `{}`) and by `{}` (stage `{}`), expected one claim",
    .first.0, .first.1, .second.0, .second.1
)]
pub struct RouteClash {
    /// The route claimed twice.
    pub route: Route,
    /// The stage that claimed it first, in the order given.
    pub first: (FunctionName, StageName),
    /// The stage that claimed it again.
    pub second: (FunctionName, StageName),
}

/// Checks that no two stages claim the same route. One stage may claim a route repeatedly.
///
/// # Errors
/// Names the first route, in the order given, that two stages claim.
pub fn check_clashes<'a>(
    claims: impl IntoIterator<Item = (&'a FunctionName, &'a StageName, &'a Route)>,
) -> Result<(), RouteClash> {
    let mut claimed = HashMap::new();
    for (function, stage, route) in claims {
        let first = *claimed.entry(route).or_insert((function, stage));
        if first != (function, stage) {
            return Err(RouteClash {
                route: route.clone(),
                first: (first.0.clone(), first.1.clone()),
                second: (function.clone(), stage.clone()),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
