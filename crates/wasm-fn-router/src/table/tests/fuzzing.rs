//! Routes of hostile deployers and paths of hostile clients: each is refused or has one spelling, and a table
//! finds what its routes say.

use wasm_fn_core::normal_path;

use super::*;
use crate::fuzzing;

/// Whether `route` leads to `path` on `host`, which are in their normal form.
fn leads(route: &Route, host: &str, path: &str) -> bool {
    let own = route.path();
    let below = route.below() && path.starts_with(own) && path[own.len()..].starts_with('/');
    route.host().is_none_or(|own| own == host) && (path == own || below)
}

#[test]
fn tables_of_any_routes_find_what_they_say() {
    fuzzing::fuzz("routes", &fuzzing::corpus("tests/corpus/routes"), |case| {
        let text = String::from_utf8_lossy(case);
        // Each line is a route, and a host and path that somebody asks for.
        let routes: Vec<Route> = text.lines().take(20).filter_map(|line| line.parse().ok()).collect();
        for route in &routes {
            assert_eq!(route.to_string().parse::<Route>().as_ref(), Ok(route));
        }
        let mut stages = Vec::new();
        for (number, route) in routes.iter().enumerate() {
            stages.push(stage(&format!("f{number}"), &[&route.to_string()]));
        }
        // Those that clash have no table.
        let Ok(table) = RouteTable::new(Revision(1), stages) else { return };
        for line in text.lines().take(20) {
            let (host, path) = line.split_at(line.find('/').unwrap_or(line.len()));
            let path = normal_path(path);
            let bare = host.to_ascii_lowercase();
            let expected = matching_route(&routes, Some(&bare), &path);
            let found = table.find(Some(&bare), &path);
            assert_eq!(found.is_some(), expected.is_some(), "{host} {path}");
            let is_plain = !bare.contains([':', ']', '.']);
            if let Some(expected) = expected.filter(|_| is_plain) {
                assert!(leads(expected, &bare, &path), "{expected} does not lead to {host} {path}");
            }
        }
    });
}
