//! The meaning of a service manager's variables.

use super::*;

fn check(variables: [&str; 3], expected: Result<&[(i32, Purpose)], &str>) {
    let value = |name: &str| {
        let index = VARIABLES.iter().position(|known| *known == name)?;
        Some(variables[index].to_owned()).filter(|value| !value.is_empty())
    };
    let found = passed(7, value);
    assert_eq!(found.as_deref().map_err(String::as_str), expected, "{variables:?}");
}

#[test]
fn descriptors_are_told_apart_by_their_names() {
    use Purpose::{Admin, Http, Redirect};
    check(["2", "http:admin", "7"], Ok(&[(3, Http), (4, Admin)]));
    check(["2", "admin:http", "7"], Ok(&[(3, Admin), (4, Http)]));
    check(["3", "redirect:admin:http", "7"], Ok(&[(3, Redirect), (4, Admin), (5, Http)]));
    check(["1", "admin", "7"], Ok(&[(3, Admin)]));
    check(["2", "", "7"], Ok(&[(3, Http), (4, Admin)]));
    check(["3", "", "7"], Ok(&[(3, Http), (4, Admin), (5, Redirect)]));
}

#[test]
fn descriptors_of_another_process_are_left_alone() {
    check(["2", "http:admin", "8"], Ok(&[]));
    check(["2", "http:admin", ""], Ok(&[]));
    check(["", "", "7"], Ok(&[]));
    check(["0", "", "7"], Ok(&[]));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    check(["many", "", "7"], Err("LISTEN_FDS is \"many\", expected a number"));
    check(["4", "", "7"], Err("LISTEN_FDS is 4, expected at most 3: http, admin and redirect"));
    check(
        ["1", "wasm-fn.socket", "7"],
        Err("descriptor 3 is named \"wasm-fn.socket\", expected http, admin or redirect"),
    );
    check(["2", "http", "7"], Err("descriptor 4 is named \"\", expected http, admin or redirect"));
    check(["2", "http:http", "7"], Err("two descriptors are for Http, expected one"));
}
