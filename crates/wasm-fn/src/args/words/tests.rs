//! Spellings that people know from other programs.

use std::ffi::OsString;

use super::{super::Command, parse};

fn read(words: &[&str]) -> Result<Command, String> {
    let words = std::iter::once(&"wasm-fn").chain(words).map(OsString::from);
    parse(words).map(|cli| cli.command).map_err(|error| error.to_string())
}

/// The file, the steps of the canary and the growth of the linear rollout.
fn deploy(words: &[&str]) -> (String, String, String) {
    let Ok(Command::Deploy(deploy)) = read(&[&["deploy"], words].concat()) else {
        panic!("{words:?} is refused: {:?}", read(&[&["deploy"], words].concat()).err());
    };
    let file = deploy.file.map(|file| file.display().to_string()).unwrap_or_default();
    let canary = deploy.release.strategy.canary.map(|steps| match steps {
        Some(steps) => steps.steps().iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        None => "default".to_owned(),
    });
    let linear = deploy.release.strategy.linear.map(|growth| match growth {
        Some(growth) => format!("{} {:?}", growth.by, growth.every),
        None => "default".to_owned(),
    });
    (file, canary.unwrap_or_default(), linear.unwrap_or_default())
}

#[test]
fn a_share_may_follow_its_option_after_a_blank() {
    let canary = |words: &[&str], file: &str, steps: &str| {
        assert_eq!(deploy(words), (file.to_owned(), steps.to_owned(), String::new()), "{words:?}");
    };
    canary(&["a.wasm", "--canary", "10%,50%"], "a.wasm", "10% 50%");
    canary(&["--canary", "10%,50%", "a.wasm"], "a.wasm", "10% 50%");
    canary(&["--canary", "10%,50%", "-f", "x"], "", "10% 50%");
    canary(&["a.wasm", "--canary", "10%,", "50%"], "a.wasm", "10% 50%");
    canary(&["a.wasm", "--canary=10%,", "50%"], "a.wasm", "10% 50%");
    canary(&["a.wasm", "--canary", "10% of beta,beta,20%"], "a.wasm", "10% of beta beta 20%");
    let linear = (String::from("a.wasm"), String::new(), String::from("10% 60s"));
    assert_eq!(deploy(&["--linear", "10%/1m", "a.wasm"]), linear);
}

#[test]
fn a_file_after_the_option_stays_a_file() {
    let canary = |words: &[&str], file: &str| {
        assert_eq!(deploy(words), (file.to_owned(), "default".to_owned(), String::new()), "{words:?}");
    };
    canary(&["--canary", "a.wasm"], "a.wasm");
    canary(&["--canary", "100%.wasm"], "100%.wasm");
    canary(&["--canary", "--", "10%"], "10%");
    canary(&["a.wasm", "--canary", "--wait"], "a.wasm");
}

#[test]
fn a_number_without_a_percent_sign_is_explained() {
    for words in [["a.wasm", "--canary", "10"], ["a.wasm", "--canary", "10,50"]] {
        let error = read(&[&["deploy"], &words[..]].concat()).unwrap_err();
        assert!(error.contains("expected a percentage such as 10%"), "{error}");
    }
}

#[test]
fn only_deploy_joins_words() {
    let error = read(&["traffic", "hello", "--canary", "10%"]).unwrap_err();
    assert!(error.contains("unexpected argument '--canary'"), "{error}");
}

#[test]
fn json_is_hinted_at_where_there_is_some() {
    for words in [&["status", "--json"][..], &["functions", "--format=json"], &["deploy", "a.wasm", "--json"]]
    {
        let error = read(words).unwrap_err();
        assert!(error.contains("use '-o json'"), "{words:?}: {error}");
    }
    for words in [&["serve", "--json"][..], &["status", "--nope"]] {
        let error = read(words).unwrap_err();
        assert!(!error.contains("-o json"), "{words:?}: {error}");
    }
}

#[test]
fn list_is_another_word_for_functions() {
    assert!(matches!(read(&["list"]), Ok(Command::Functions(_))));
    assert!(matches!(read(&["ls", "-o", "json"]), Ok(Command::Functions(_))));
}
