//! Every permission, in and out of scope.

use super::*;
use crate::AccessRole;

fn rights(roles: &[AccessRole], functions: &[&str], stages: &[&str]) -> Rights {
    let functions = functions.iter().map(|text| text.parse().unwrap());
    let stages = stages.iter().map(|text| text.parse().unwrap());
    Rights { roles: Roles::of(roles), scope: Scope::new(functions, stages).unwrap() }
}

fn hello() -> FunctionName {
    "hello".parse().unwrap()
}

fn shop() -> FunctionName {
    "shop-cart".parse().unwrap()
}

fn stage(name: &str) -> StageName {
    name.parse().unwrap()
}

#[test]
fn an_admin_of_everything_may_do_everything() {
    for permission in Permission::ALL {
        for target in [Target::Node, Target::Function(&hello()), Target::Stage(&hello(), &stage("live"))] {
            assert_eq!(Rights::all().check(permission, target), Ok(()), "{permission:?} {target:?}");
        }
    }
}

#[test]
fn nobody_may_do_anything_without_a_role() {
    let none = rights(&[], &[], &[]);
    for permission in Permission::ALL {
        assert_eq!(none.check(permission, Target::Function(&hello())), Err(Denial::Role));
    }
}

#[test]
fn what_is_out_of_scope_is_hidden_before_the_role_is_looked_at() {
    let viewer = rights(&[AccessRole::Viewer], &["shop-*"], &["staging"]);
    let (hello, shop) = (hello(), shop());
    let check = |permission, target| viewer.check(permission, target);
    assert_eq!(check(Permission::Delete, Target::Function(&hello)), Err(Denial::HiddenFunction));
    let live = stage("live");
    assert_eq!(check(Permission::Deploy, Target::Stage(&hello, &live)), Err(Denial::HiddenFunction));
    assert_eq!(check(Permission::Deploy, Target::Stage(&shop, &live)), Err(Denial::HiddenStage));
    let staging = stage("staging");
    assert_eq!(check(Permission::Deploy, Target::Stage(&shop, &staging)), Err(Denial::Role));
    assert_eq!(check(Permission::ReadFunctions, Target::Stage(&shop, &staging)), Ok(()));
}

#[test]
fn a_whole_function_needs_all_its_stages() {
    let some = rights(&[AccessRole::Admin], &["shop-*"], &["staging"]);
    assert_eq!(some.check(Permission::Delete, Target::Stage(&shop(), &stage("staging"))), Ok(()));
    assert_eq!(some.check(Permission::Delete, Target::Function(&shop())), Err(Denial::Scope));
    let all = rights(&[AccessRole::Admin], &["shop-*"], &[]);
    assert_eq!(all.check(Permission::Delete, Target::Function(&shop())), Ok(()));
}

#[test]
fn tokens_and_backups_need_everything_in_scope() {
    for (functions, stages) in [(&["shop-*"][..], &[][..]), (&["*"], &["live"])] {
        let admin = rights(&[AccessRole::Admin], functions, stages);
        for permission in [Permission::ManageTokens, Permission::ManageNode, Permission::ReadAudit] {
            assert_eq!(admin.check(permission, Target::Node), Err(Denial::Scope), "{functions:?} {stages:?}");
        }
        assert_eq!(admin.check(Permission::ReadNode, Target::Node), Ok(()));
    }
}

#[test]
fn permissions_that_need_everything_are_given_to_nobody_with_less() {
    let all: Vec<_> = Rights::all().permissions().collect();
    assert_eq!(all, Permission::ALL);
    let scoped: Vec<_> = rights(&[AccessRole::Admin], &["shop-*"], &[]).permissions().collect();
    assert!(scoped.contains(&Permission::ManageSecrets), "{scoped:?}");
    for permission in Permission::ALL {
        assert_eq!(scoped.contains(&permission), permission.reach() != Reach::Everything, "{permission:?}");
    }
}

#[test]
fn each_role_has_what_the_table_says() {
    let words = |role| {
        let has = Permission::ALL.into_iter().filter(|permission| permission.roles().contains(role));
        has.map(Permission::as_str).collect::<Vec<_>>().join(" ")
    };
    let first = "read-node read-metrics read-functions read-logs read-audit";
    let of = |more: &str, triggers: &str| format!("{first}{more} read-secrets{triggers} read-events");
    assert_eq!(words(AccessRole::Viewer), of("", ""));
    let deployer = of(" preview-versions upload-components deploy", " manage-triggers operate-triggers");
    assert_eq!(words(AccessRole::Deployer), deployer);
    let releaser = of(" preview-versions move-traffic approve", " operate-triggers");
    assert_eq!(words(AccessRole::Releaser), releaser + " read-values write-values");
    assert_eq!(words(AccessRole::Admin).split(' ').count(), Permission::ALL.len());
}
