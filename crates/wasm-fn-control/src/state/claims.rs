//! Which stage claims which route.

use std::collections::BTreeSet;

use wasm_fn_core::{FunctionName, Route, StageName, VersionNo};
use wasm_fn_router::{RouteClash, check_clashes};

use super::{Function, FunctionChange, Meta, StageState, State};

impl State {
    /// The function of `change`, after it.
    pub(super) fn outcome(&self, change: &FunctionChange) -> Function {
        let before = self.functions.get(&change.function).map(|function| Function::clone(function));
        let mut function = before.unwrap_or_default();
        // The actor and the time have no influence on stages and routes.
        let meta = Meta { revision: self.revision.next(), at_ms: 0, actor: "", message: None };
        function.apply(&change.action, &meta);
        function
    }

    /// Checks that no route is claimed twice after `change`.
    ///
    /// A stage claims the routes of its stable version, its canary and its newest previous version, so that
    /// neither promoting nor rolling back can run into another function. Compares only the claims of the
    /// changed function, because the claims of the others have not changed.
    pub(super) fn check_claims(&self, change: &FunctionChange) -> Result<(), RouteClash> {
        let outcome = self.outcome(change);
        let own: Vec<_> = claims(&change.function, &outcome).collect();
        let before = self.functions.get(&change.function);
        let had: BTreeSet<_> =
            before.iter().flat_map(|before| claims(&change.function, before)).map(|claim| claim.2).collect();
        // Most changes claim no new routes. Then there is no need to search thousands of functions.
        if own.iter().all(|(_, _, route)| had.contains(route)) {
            return check_clashes(own.iter().map(|(function, stage, route)| (*function, *stage, route)));
        }
        let others = self.functions.iter().filter(|&(name, _)| *name != change.function);
        for (name, function) in others {
            if let Some((stage, claimed)) = clash(name, function, &own) {
                let (function, second, route) = claimed;
                return Err(RouteClash {
                    route: route.clone(),
                    // The function that had the route first.
                    first: (name.clone(), stage.clone()),
                    second: ((*function).clone(), (*second).clone()),
                });
            }
        }
        check_clashes(own.iter().map(|(function, stage, route)| (*function, *stage, route)))
    }
}

/// A route that a stage of a function claims.
type Claim<'a> = (&'a FunctionName, &'a StageName, Route);

/// Every route that the stages of `function` claim.
fn claims<'a>(name: &'a FunctionName, function: &'a Function) -> impl Iterator<Item = Claim<'a>> {
    function.stages.iter().flat_map(move |(stage, state)| {
        let routes: BTreeSet<_> =
            roles(state).flat_map(|version| function.routes(name, stage, version)).collect();
        routes.into_iter().map(move |route| (name, stage, route))
    })
}

/// The first of the claims in `own` that a stage of `function` also makes. Runs for every function, so it
/// allocates nothing.
fn clash<'a, 'b>(
    name: &FunctionName,
    function: &'a Function,
    own: &'b [Claim<'b>],
) -> Option<(&'a StageName, &'b Claim<'b>)> {
    function.stages.iter().find_map(|(stage, state)| {
        let claimed =
            |claim: &&Claim<'_>| roles(state).any(|version| function.claims(name, stage, version, &claim.2));
        own.iter().find(claimed).map(|claim| (stage, claim))
    })
}

/// The versions whose routes a stage claims.
fn roles(state: &StageState) -> impl Iterator<Item = VersionNo> {
    [Some(state.stable), state.canary(), state.newest_previous()].into_iter().flatten()
}
