//! Facts about `charges`: docs/explanation/rollouts.md says the same.

use std::{env, fmt::Write as _, fs, path::Path};

use wasm_fn_core::Blame;

use super::*;

/// The heading of the section whose table is made here.
const HEADING: &str = "## Whom an outcome is charged to\n";

/// All of them as the page has them.
fn table() -> String {
    let mut table = String::from(
        "| what happened | the client gets | outcome | charged to | in the verdict |\n\
         | --- | --- | --- | --- | --- |\n",
    );
    for Charge { cause, answer, outcome } in charges() {
        let answer = match answer {
            ClientGets::ByGuest => "the guest's answer".to_owned(),
            ClientGets::Problem(status, code) => format!("{} `{code}`", status.as_u16()),
            ClientGets::Nothing => "nothing".to_owned(),
        };
        let blame = outcome.blame().map_or("nobody", Blame::as_str);
        let counts = if outcome.counts() { "yes" } else { "no" };
        let _ = writeln!(table, "| {cause} | {answer} | `{outcome}` | {blame} | {counts} |");
    }
    table
}

#[test]
fn the_page_on_rollouts_has_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/explanation/rollouts.md");
    let page = fs::read_to_string(&path).unwrap();
    let section = page.find(HEADING).expect("the page has the section") + HEADING.len();
    let begin = section + page[section..].find("\n| ").expect("the section has a table") + 1;
    let end = begin + page[begin..].find("\n\n").map_or(page.len() - begin, |end| end + 1);
    if env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, [&page[..begin], &table(), &page[end..]].concat()).unwrap();
    } else {
        assert_eq!(&page[begin..end], table(), "UPDATE_EXPECT=1 writes the table");
    }
}

#[test]
fn what_a_version_is_not_charged_with_is_in_no_verdict() {
    for Charge { cause, outcome, .. } in charges() {
        let blameless = matches!(outcome.blame(), Some(Blame::Client | Blame::Node));
        assert_eq!(outcome.counts(), !blameless, "{cause}");
    }
}

#[test]
fn what_is_retried_later_is_the_nodes() {
    for Charge { cause, answer, outcome } in charges() {
        if matches!(answer, ClientGets::Problem(StatusCode::SERVICE_UNAVAILABLE, _)) {
            assert_eq!(outcome.blame(), Some(Blame::Node), "{cause}");
        }
    }
}
