//! What the manual pages have.

use super::run;
use crate::args;

#[test]
fn each_command_has_a_page_with_its_options_and_examples() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    run(&args::Man { folder: pages.clone() }).unwrap();
    let page = |name: &str| std::fs::read_to_string(pages.join(name)).unwrap_or_else(|_| panic!("no {name}"));
    assert!(page("wasm-fn.1").contains("Exit codes"));
    let cli = args::command();
    for command in cli.get_subcommands().filter(|command| !command.is_hide_set()) {
        let text = page(&format!("wasm-fn-{}.1", command.get_name()));
        assert!(text.contains("Examples:"), "{}: {text}", command.get_name());
    }
    let schedule = page("wasm-fn-triggers-add-schedule.1");
    assert!(schedule.contains("cron") && schedule.contains("every night at three"), "{schedule}");
    assert!(!pages.join("wasm-fn-man.1").exists(), "a hidden command has a page");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let fault = run(&args::Man { folder: file.path().join("man1") }).unwrap_err();
    let text = format!("{fault:?}");
    assert!(text.contains("man1") && text.contains("manual pages were not written"), "{text}");
}
