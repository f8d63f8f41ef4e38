//! No route is claimed twice after a change.

use wasm_fn_core::{FunctionName, Route, StageName};
use wasm_fn_router::{RouteClash, check_clashes};

use super::{
    Function, FunctionChange, Meta, State,
    functions::{claims, routes},
};

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
    /// neither promoting nor rolling back can run into another function. Compares only what the changed
    /// function claims for the first time, because the claims of the others have not changed.
    pub(super) fn check_claims(&self, change: &FunctionChange) -> Result<(), RouteClash> {
        let outcome = self.outcome(change);
        let own: Vec<_> = claims(&change.function, &outcome).collect();
        let before = self.functions.get(&change.function);
        let had = before.map(|before| routes(&change.function, before)).unwrap_or_default();
        for (function, stage, route) in own.iter().filter(|(_, _, route)| !had.contains(route)) {
            let claimants = self.functions.claimants(route);
            if let Some((first, claimed)) =
                claimants.iter().find_map(|name| self.claimed_by(name, function, route))
            {
                return Err(RouteClash {
                    route: route.clone(),
                    // The function that had the route first.
                    first: (first.clone(), claimed.clone()),
                    second: ((*function).clone(), (*stage).clone()),
                });
            }
        }
        check_clashes(own.iter().map(|(function, stage, route)| (*function, *stage, route)))
    }

    /// The function `name` with its stage that claims `route`, unless it is the function `but`.
    fn claimed_by<'a>(
        &'a self,
        name: &'a FunctionName,
        but: &FunctionName,
        route: &Route,
    ) -> Option<(&'a FunctionName, &'a StageName)> {
        let function = self.functions.get(name).filter(|_| name != but)?;
        let mut claimed = claims(name, function);
        claimed.find(|(_, _, found)| found == route).map(|(name, stage, _)| (name, stage))
    }
}
