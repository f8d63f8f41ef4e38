//! Every code that the node answers with is explained, and docs/reference/errors.md says the same.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use expect_test::expect_file;
use http::StatusCode;
use regex::Regex;

use super::{ADMIN, DATA_PLANE, ErrorCode, all, nearest};

/// A code, and the statuses that it comes with.
type Found = BTreeMap<String, BTreeSet<u16>>;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn source(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The sources below `folder`, without tests.
fn sources(folder: &str) -> Vec<String> {
    let mut texts = Vec::new();
    let mut folders = vec![workspace().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the sources are there") {
            let path = entry.expect("the folder can be read to its end").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "tests") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with("tests.rs") {
                texts.push(fs::read_to_string(path).expect("a source is text"));
            }
        }
    }
    texts
}

/// `NOT_FOUND` is 404.
fn status(constant: &str) -> u16 {
    let named = |status: &StatusCode| {
        let reason = status.canonical_reason().unwrap_or_default();
        reason.to_ascii_uppercase().replace([' ', '-'], "_") == constant
    };
    let statuses = (100..600).filter_map(|number| StatusCode::from_u16(number).ok());
    let mut named = statuses.filter(named);
    named.next().unwrap_or_else(|| panic!("{constant} is no status")).as_u16()
}

/// What `pattern` finds, with groups `code` and `status`.
fn find(pattern: &str, texts: &[String], found: &mut Found) {
    let pattern = Regex::new(pattern).unwrap();
    for text in texts {
        for captures in pattern.captures_iter(text) {
            found.entry(captures["code"].to_owned()).or_default().insert(status(&captures["status"]));
        }
    }
}

fn explained(table: &[ErrorCode]) -> Found {
    table.iter().map(|one| (one.code.to_owned(), one.statuses.iter().copied().collect())).collect()
}

#[test]
fn every_code_of_the_data_plane_is_explained() {
    let mut found = Found::new();
    let server = [source("crates/wasm-fn-server/src/response/problem.rs")];
    find(r#""(?<code>[a-z-]+)",\s*StatusCode::(?<status>[A-Z_]+)"#, &server, &mut found);
    let webhooks = [source("crates/wasm-fn/src/node/webhooks.rs")];
    find(r#"StatusCode::(?<status>[A-Z_]+),\s*"(?<code>[a-z-]+)""#, &webhooks, &mut found);
    assert!(found.len() > 20, "the sources are read wrongly: {found:?}");
    assert_eq!(explained(DATA_PLANE), found);
}

#[test]
fn every_code_of_the_admin_api_is_explained() {
    let mut found = Found::new();
    let admin = sources("crates/wasm-fn-admin/src");
    find(r#"StatusCode::(?<status>[A-Z_]+),\s*"(?<code>[a-z-]+)""#, &admin, &mut found);
    // What the runtime says of a component that it refuses.
    let host = source("crates/wasm-fn/src/node/host.rs");
    let (_, rejection) = host.split_once("fn rejection(").expect("the host names what it refuses");
    let (rejection, _) = rejection.split_once("\n}").expect("the function ends");
    for captures in Regex::new(r#""(?<code>[a-z]+(?:-[a-z]+)*)""#).unwrap().captures_iter(rejection) {
        // Only this one is no fault of the component.
        if &captures["code"] != "busy" {
            found.entry(captures["code"].to_owned()).or_default().insert(422);
        }
    }
    // What the node does not offer in a cluster.
    for captures in Regex::new(r#"code: "(?<code>[a-z-]+)""#).unwrap().captures_iter(&host) {
        found.entry(captures["code"].to_owned()).or_default().insert(422);
    }
    assert!(found.len() > 60, "the sources are read wrongly: {found:?}");
    assert_eq!(explained(ADMIN), found);
}

#[test]
fn every_code_in_the_description_of_the_api_is_explained() {
    let api = serde_json::to_value(wasm_fn_api::openapi()).unwrap();
    let code = Regex::new("`([a-z]+(?:-[a-z]+)+|busy|internal|approval|unauthorized|forbidden)`").unwrap();
    let mut seen = 0;
    for operations in api["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let says = answer["description"].as_str().unwrap_or_default();
                let is_refusal = status.starts_with(['4', '5']);
                for captures in code.captures_iter(says).filter(|_| is_refusal) {
                    seen += 1;
                    let known = ADMIN.iter().any(|one| one.code == &captures[1]);
                    assert!(known, "{status}: {says}: `{}` is not explained", &captures[1]);
                }
            }
        }
    }
    assert!(seen > 50, "the description names {seen} codes");
}

#[test]
fn each_plane_explains_a_code_once_and_to_the_point() {
    for table in [DATA_PLANE, ADMIN] {
        let codes: BTreeSet<_> = table.iter().map(|one| one.code).collect();
        assert_eq!(codes.len(), table.len(), "a code is there twice");
    }
    for one in all() {
        for text in [one.meaning, one.remedy] {
            assert!(!text.is_empty() && !text.ends_with('.') && !text.contains('|'), "{one:?}");
        }
        if let Some(page) = one.page {
            let (file, anchor) = page.split_once('#').unwrap_or((page, ""));
            let headings = source(&format!("docs/{file}"));
            let headings = headings.lines().filter(|line| line.starts_with('#'));
            let mut anchors = headings
                .map(|line| line.trim_start_matches('#').trim().to_ascii_lowercase().replace(' ', "-"));
            assert!(anchor.is_empty() || anchors.any(|found| found == anchor), "{page} is not there");
        }
    }
}

#[test]
fn an_unknown_code_names_the_nearest() {
    assert_eq!(nearest("guest-tarp"), Some("guest-trap"));
    assert_eq!(nearest("revision_conflict"), Some("revision-conflict"));
    assert_eq!(nearest("42"), None);
}

#[test]
fn the_page_is_the_table() {
    let row = |one: &ErrorCode| {
        let statuses = one.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let more = one.page.map(|page| {
            let name = page.split(['/', '#']).find(|part| part.ends_with(".md")).unwrap_or(page);
            format!(" ([{name}](../{page}))")
        });
        let (meaning, remedy, more) = (one.meaning, one.remedy, more.unwrap_or_default());
        format!("| `{}` | {statuses} | {meaning} | {remedy}{more} |\n", one.code)
    };
    let table = |table: &[ErrorCode]| table.iter().map(row).collect::<String>();
    let page = source("crates/wasm-fn/src/explain/errors.md");
    let page = page.replace("{data plane}\n", &table(DATA_PLANE)).replace("{admin API}\n", &table(ADMIN));
    expect_file!["../../../../docs/reference/errors.md"].assert_eq(&page);
}
