//! Whether the terminal is given back.

use std::process::{Command, Stdio};

use super::Screen;

/// Set where this test is the program that panics.
const PANICKING: &str = "WASM_FN_TEST_PANICKING";

/// What the program says of its panic.
const MESSAGE: &str = "the picture is broken";

#[test]
fn a_panic_gives_the_terminal_back_before_its_message() {
    let test = "a_panic_gives_the_terminal_back_before_its_message";
    if std::env::var_os(PANICKING).is_some() {
        let _screen = Screen::take().expect("there is a terminal");
        panic!("{MESSAGE}");
    }
    let script = Command::new("script").arg("--version").stdout(Stdio::null()).status();
    if !script.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI_REQUIRE_PROGRAMS").is_none(), "{test} needs script of util-linux");
        println!("skipped {test}: script of util-linux is not installed");
        return;
    }
    let program = std::env::current_exe().expect("it runs");
    let path = module_path!().split_once("::").expect("it is below the crate").1;
    let line = format!("'{}' --exact {path}::{test} --nocapture; stty -a", program.display());
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).stderr(Stdio::null());
    command.env(PANICKING, "1").env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
    let done = command.output().expect("script starts");
    let written = String::from_utf8_lossy(&done.stdout);
    assert_eq!(written.matches("\u{1b}[?1049h").count(), 1, "{written}");
    let (before, after) = written.split_once("\u{1b}[?1049l").expect("the screen is left");
    assert!(!before.contains(MESSAGE) && after.contains(MESSAGE), "{written:?}");
    // Nothing is drawn over the message, and what is typed is seen.
    assert!(!after.contains("\u{1b}[?1049"), "{written:?}");
    assert!(after.contains(" icanon") && after.contains(" echo "), "{written:?}");
}
