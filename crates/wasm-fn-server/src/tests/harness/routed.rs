//! Functions at routes of their own.

use std::sync::Arc;

use wasm_fn_core::{PreviewAccess, Revision, StageName, Sticky, TrafficSplit};
use wasm_fn_router::{RouteTable, Salt, Stage, StageSpec, Tally};

use super::{Fake, Node, entry, ok, options, v};

/// A node with functions at these routes. Each answers with its name, the `host` header and the path and
/// query that it sees.
pub(crate) async fn routed(functions: &[(&'static str, &[&str])]) -> Node {
    let tally = Arc::new(Tally::new());
    let stages = functions.iter().map(|(name, routes)| stage(name, routes, &tally)).collect();
    let table = RouteTable::new(Revision(1), stages).unwrap();
    Node::with_table(table, tally, options()).await
}

fn stage(function: &'static str, routes: &[&str], tally: &Arc<Tally>) -> Arc<Stage<Fake>> {
    let fake = Fake::new(move |call| async move {
        let host = call.request.headers().get("host").map_or("", |host| host.to_str().unwrap());
        let target = call.request.uri().path_and_query().unwrap();
        ok(format!("{function} {host} {target}"))
    });
    let spec = StageSpec {
        function: function.parse().unwrap(),
        stage: StageName::live(),
        routes: routes.iter().map(|route| route.parse().unwrap()).collect(),
        preview: PreviewAccess::Token,
        split: TrafficSplit::all(v(1)),
        stable: v(1),
        canary: None,
        previous: None,
        sticky: Sticky::None,
        cohorts: Vec::new(),
        salt: Salt([3, 4]),
        comparison: None,
        baseline: None,
        versions: vec![entry(v(1), tally, fake)],
    };
    Arc::new(Stage::new(spec).unwrap())
}
