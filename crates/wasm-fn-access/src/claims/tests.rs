//! Which claims a rule matches, and how those are named whom it gives rights.

use super::*;
use crate::{AccessRole, Roles, Scope};

fn rights(role: AccessRole, stage: &str) -> Rights {
    let scope = Scope::new(["shop-*".parse().unwrap()], [stage.parse().unwrap()]).unwrap();
    Rights { roles: Roles::of(&[role]), scope }
}

fn wanted(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn rule(name: &str, pairs: &[(&str, &str)], role: AccessRole) -> ClaimRule {
    ClaimRule::new(name.parse().unwrap(), wanted(pairs), rights(role, "staging")).unwrap()
}

fn text(value: &str) -> ClaimValue {
    ClaimValue::Text(value.to_owned())
}

fn list(values: &[&str]) -> ClaimValue {
    ClaimValue::List(values.iter().map(|&value| value.to_owned()).collect())
}

fn claims<const N: usize>(claims: [(&str, ClaimValue); N]) -> Claims {
    claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn rule_matches_when_every_claim_that_it_names_is_there_exactly() {
    let rule = rule("ci", &[("repository_id", "123"), ("ref", "refs/heads/main")], AccessRole::Deployer);
    let main = || text("refs/heads/main");
    let table = [
        (true, claims([("repository_id", text("123")), ("ref", main())])),
        (true, claims([("repository_id", text("123")), ("ref", main()), ("more", text("x"))])),
        (true, claims([("repository_id", list(&["9", "123"])), ("ref", main())])),
        (false, claims([("repository_id", text("123"))])),
        (false, claims([("repository_id", text("1234")), ("ref", main())])),
        (false, claims([("repository_id", text("123")), ("ref", text("refs/heads/main2"))])),
        (false, claims([("repository_id", text("123")), ("ref", text("REFS/heads/main"))])),
        (false, claims([("repository_id", text(" 123")), ("ref", main())])),
        (false, claims([("repository_id", list(&[])), ("ref", main())])),
        (false, claims([("repository_id", list(&["12", "3"])), ("ref", main())])),
        (false, claims([("Repository_id", text("123")), ("ref", main())])),
        (false, claims([])),
    ];
    for (expected, claims) in table {
        assert_eq!(rule.matches(&claims), expected, "{claims:?}");
    }
}

#[test]
fn first_rule_that_matches_applies_alone() {
    let admins = rule("admins", &[("groups", "sre")], AccessRole::Admin);
    let all = rule("all", &[("org", "shop")], AccessRole::Viewer);
    let both = claims([("groups", list(&["dev", "sre"])), ("org", text("shop"))]);
    let only_org = claims([("org", text("shop"))]);
    let found = |rules: &[&ClaimRule], claims: &Claims| {
        let rules = ClaimRules::new(rules.iter().copied().cloned()).unwrap();
        rules.find(claims).map(|rule| (rule.name.to_string(), rule.rights.roles.to_string()))
    };
    let is = |name: &str, role: &str| Some((name.to_owned(), role.to_owned()));
    assert_eq!(found(&[&admins, &all], &both), is("admins", "admin"));
    assert_eq!(found(&[&all, &admins], &both), is("all", "viewer"));
    assert_eq!(found(&[&admins, &all], &only_org), is("all", "viewer"));
    assert_eq!(found(&[&admins, &all], &claims([])), None);
}

#[test]
fn rules_that_match_everybody_or_give_nothing_are_refused() {
    let name = || "ci".parse::<TokenName>().unwrap();
    let viewer = rights(AccessRole::Viewer, "live");
    let none = Rights { roles: Roles::default(), scope: Scope::everything() };
    let many: BTreeMap<_, _> = (0..65).map(|at| (format!("c{at}"), String::new())).collect();
    let refused = |wanted, rights| ClaimRule::new(name(), wanted, rights).unwrap_err();
    assert_eq!(refused(wanted(&[]), viewer.clone()), ClaimRuleError::MatchesEverybody { name: name() });
    assert_eq!(refused(many, viewer), ClaimRuleError::Claims { name: name(), found: 65 });
    assert_eq!(refused(wanted(&[("a", "b")]), none), ClaimRuleError::NoRoles { name: name() });
    assert_eq!(ClaimRules::new([]), Err(ClaimRuleError::Rules { found: 0 }));
    let ci = rule("ci", &[("a", "b")], AccessRole::Viewer);
    assert_eq!(ClaimRules::new([ci.clone(), ci]), Err(ClaimRuleError::Twice { name: name() }));
}

#[test]
fn names_are_short_printable_and_differ_where_subjects_do() {
    let rule = rule("ci", &[("a", "b")], AccessRole::Viewer);
    assert_eq!(rule.actor_name("repo:org/shop:ref:refs/heads/main"), "ci/repo:org/shop:ref:refs/heads/main");
    let long = "x".repeat(161);
    let subjects = ["ann", "ann\n", "ann ", "a\u{202e}nn", "ann~", "änn", "nn", "", " ", &long, &long[..160]];
    let names: std::collections::BTreeSet<_> =
        subjects.iter().map(|subject| rule.actor_name(subject)).collect();
    assert_eq!(names.len(), subjects.len(), "{names:?}");
    for name in names {
        assert!(name.len() <= 63 + 1 + 160 + 9 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name}");
    }
}
