//! Who claims which route.

use std::collections::BTreeSet;

use wasm_fn_core::{FunctionName, Route, StageName};
use wasm_fn_router::{RouteClash, check_clashes};

use super::{Change, Function, Meta, State};

impl State {
    /// The function that `change` is about, as it will be.
    pub(super) fn outcome(&self, change: &Change) -> Function {
        let before = self.functions.get(&change.function).map(|function| Function::clone(function));
        let mut function = before.unwrap_or_default();
        // Who and when have no influence on stages and routes.
        let meta = Meta { revision: self.revision.next(), at_ms: 0, actor: "", message: None };
        function.apply(&change.action, &meta);
        function
    }

    /// Checks that after `change` no route is claimed twice.
    ///
    /// A stage claims the routes of its stable version, its canary and its newest previous version, so
    /// that neither promoting nor rolling back can run into another function.
    pub(super) fn check_claims(&self, change: &Change) -> Result<(), RouteClash> {
        let outcome = self.outcome(change);
        let others = self.functions.iter().filter(|&(name, _)| *name != change.function);
        let others = others.flat_map(|(name, function)| claims(name, function));
        // The others come first, so that the clash names who was there before.
        let claims: Vec<_> = others.chain(claims(&change.function, &outcome)).collect();
        check_clashes(claims.iter().map(|(function, stage, route)| (*function, *stage, route)))
    }
}

/// Every route that the stages of `function` claim.
fn claims<'a>(
    name: &'a FunctionName,
    function: &'a Function,
) -> impl Iterator<Item = (&'a FunctionName, &'a StageName, Route)> {
    function.stages.iter().flat_map(move |(stage, state)| {
        let roles = [Some(state.stable), state.canary(), state.newest_previous()];
        let routes: BTreeSet<_> =
            roles.into_iter().flatten().flat_map(|version| function.routes(name, stage, version)).collect();
        routes.into_iter().map(move |route| (name, stage, route))
    })
}
