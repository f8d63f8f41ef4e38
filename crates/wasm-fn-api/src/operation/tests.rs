//! The table of operations, and the page of docs that is made from it.

use std::{collections::BTreeSet, fmt::Write as _};

use expect_test::expect_file;
use wasm_fn_access::{AccessRole, Reach};

use super::*;

fn method(operation: Operation) -> &'static str {
    match operation.route().0 {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Put => "PUT",
        Method::Post => "POST",
        Method::Delete => "DELETE",
    }
}

fn reach(permission: Permission) -> &'static str {
    match permission.reach() {
        Reach::Node => "anything",
        Reach::Function => "the function",
        Reach::Stage => "the stage, or all stages if the request names none",
        Reach::Everything => "all functions in all stages",
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Permissions\n\n\
         This page is made from the table that the admin API checks by (`wasm-fn-access`, `Permission`);\n\
         `UPDATE_EXPECT=1 cargo test -p wasm-fn-api` updates it. [Access](../how-to/access.md) explains the words.\n\n\
         ## Who has which\n\n\
         | permission |",
    );
    for role in AccessRole::ALL {
        let _ = write!(page, " {role} |");
    }
    page += " the token's scope must have |\n| --- | --- | --- | --- | --- | --- |\n";
    for permission in Permission::ALL {
        let _ = write!(page, "| `{}` |", permission.as_str());
        for role in AccessRole::ALL {
            page += if permission.roles().contains(role) { " yes |" } else { " |" };
        }
        let _ = writeln!(page, " {} |", reach(permission));
    }
    page += "\n## What each operation needs\n\n| operation | request | permission |\n| --- | --- | --- |\n";
    for operation in Operation::ALL {
        let needs = match operation.access() {
            AccessRule::Open => "none".to_owned(),
            AccessRule::OpenLocally(permission) => {
                format!("`{}`; none from the same machine", permission.as_str())
            }
            AccessRule::Permission(permission) => format!("`{}`", permission.as_str()),
        };
        let (name, path) = (operation.name(), operation.route().1);
        let _ = writeln!(page, "| `{name}` | `{} {path}` | {needs} |", method(operation));
    }
    page
}

#[test]
fn permissions_page_is_what_the_table_says() {
    expect_file!["../../../../docs/reference/permissions.md"].assert_eq(&page());
}

#[test]
fn every_permission_is_needed_by_an_operation() {
    let needed: BTreeSet<_> = Operation::ALL.into_iter().filter_map(Operation::permission).collect();
    assert_eq!(needed, BTreeSet::from(Permission::ALL));
}

#[test]
fn only_what_tells_nothing_of_functions_is_open() {
    let open = Operation::ALL.into_iter().filter(|operation| operation.access() == AccessRule::Open);
    let open: Vec<_> = open.map(Operation::name).collect();
    assert_eq!(open, ["getHealth", "getReadiness", "getDescription", "getLogin"]);
}

#[test]
fn each_operation_is_in_the_list_once_with_a_name_and_a_route_of_its_own() {
    let names: BTreeSet<_> = Operation::ALL.into_iter().map(Operation::name).collect();
    let routes: BTreeSet<_> =
        Operation::ALL.into_iter().map(|operation| (method(operation), operation.route().1)).collect();
    assert_eq!((names.len(), routes.len()), (Operation::ALL.len(), Operation::ALL.len()));
}
