//! The shell blocks of the tutorials and the how-to guides, run as a reader types them.
//!
//! A line that begins with `$ ` is a command; the others are what it prints. All commands of a page run in
//! one shell, in a folder that has `guest-examples` in it, and with a node at the addresses that the page
//! names. Other ports of 127.0.0.1 that it names are replaced by free ones. What has to be there before
//! stands in a comment that begins with `run first:`. A block that cannot run says why in its first line:
//! `not-run: REASON`. `exits: CODE` there is for a last command that does not succeed.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::TcpListener,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Node, command::run, programs};

/// Blocks that may stay without a run, all pages together: whoever adds one has to look at this number.
const NOT_RUN_MAX: usize = 30;

/// Something of a page that a reader types, or that has to be there before.
#[derive(Debug)]
struct Block {
    /// Of the page, from 1.
    line: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    First(String),
    Commands { commands: Vec<String>, exit_code: i32 },
    NotRun { reason: String },
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pages of a folder of docs/, by name.
fn pages(folder: &str) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(root().join("docs").join(folder)).expect("docs has the folder");
    let paths = entries.map(|entry| entry.expect("the folder can be read").path());
    let mut pages: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).expect("a page is text");
            let name = path.file_name().expect("a page has a name").to_string_lossy().into_owned();
            (format!("docs/{folder}/{name}"), text)
        })
        .collect();
    pages.sort();
    pages
}

/// The commands of a block: lines behind `$ `, with the lines that continue them.
fn commands(lines: &[&str]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut continued = false;
    for line in lines {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push(command.to_owned()),
            None if continued => {
                let command = commands.last_mut().expect("a line is continued by the next");
                let _ = write!(command, "\n{line}");
            }
            None => continue,
        }
        continued = line.ends_with('\\');
    }
    commands
}

/// What to make of a block of a shell that opens with `info` behind its language.
fn what(info: &str, lines: &[&str]) -> What {
    if let Some(reason) = info.strip_prefix("not-run:") {
        return What::NotRun { reason: reason.trim().to_owned() };
    }
    let exit_code = match info.strip_prefix("exits:") {
        Some(code) => code.trim().parse().expect("an exit code is a number"),
        None => {
            assert_eq!(info, "", "neither `not-run: REASON` nor `exits: CODE`");
            0
        }
    };
    What::Commands { commands: commands(lines), exit_code }
}

/// The blocks of a page, in order.
fn blocks(page: &str) -> Vec<Block> {
    let lines: Vec<_> = page.lines().collect();
    let mut blocks = Vec::new();
    let mut index = 0;
    while let Some(opening) = lines.get(index) {
        let begins = index + 1;
        let closing = match opening.strip_prefix("```") {
            Some(_) => "```",
            None if opening.starts_with("<!-- run first:") => "-->",
            None => {
                index = begins;
                continue;
            }
        };
        let length = lines[begins..].iter().position(|line| *line == closing).expect("a block has an end");
        let inside = &lines[begins..begins + length];
        index = begins + length + 1;
        let info = opening.trim_start_matches('`');
        let (language, info) = info.split_once(' ').unwrap_or((info, ""));
        match language {
            "<!--" => blocks.push(Block { line: begins, what: What::First(inside.join("\n")) }),
            "console" | "sh" | "shell" | "bash" | "" => {
                blocks.push(Block { line: begins, what: what(info.trim(), inside) });
            }
            _ => {}
        }
    }
    blocks
}

/// The page as one script, which names the line before what it runs.
fn script(page: &str, node: &Node) -> String {
    let mut script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n".to_owned();
    for Block { line, what } in blocks(page) {
        let (commands, exit_code) = match what {
            What::NotRun { .. } => continue,
            What::First(text) => (vec![text], 0),
            What::Commands { commands, exit_code } => (commands, exit_code),
        };
        let last = commands.len().saturating_sub(1);
        for (index, command) in commands.iter().enumerate() {
            // The node of this test runs already.
            if command.split('#').next().is_some_and(|command| command.trim() == "wasm-fn serve") {
                continue;
            }
            // Ends only when somebody interrupts it.
            let command = match command.strip_prefix("wasm-fn status ") {
                Some(_) => command.replace(" -w", ""),
                None => command.clone(),
            };
            let _ = writeln!(script, "echo ':: line {line}' >&2");
            let expected = if index == last { exit_code } else { 0 };
            if expected == 0 {
                let _ = writeln!(script, "{{ {command}\n}} < typed");
            } else {
                let _ =
                    writeln!(script, "code=0; {{ {command}\n}} < typed || code=$?; test $code = {expected}");
            }
        }
    }
    with_free_ports(&script, node)
}

/// `script` with other ports in the place of those that it names behind `127.0.0.1:`, wherever they stand:
/// those of `node` for 8080 and 8081, else free ones.
fn with_free_ports(script: &str, node: &Node) -> String {
    const HOST: &str = "127.0.0.1:";
    let digits = |text: &str| text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let named = script.match_indices(HOST).map(|(at, _)| &script[at + HOST.len()..]);
    let named = named.map(|rest| &rest[..digits(rest)]).filter(|port| !port.is_empty());
    // All are held until each has its own.
    let held: BTreeMap<_, _> =
        named.map(|port| (port, TcpListener::bind("127.0.0.1:0").expect("there is a free port"))).collect();
    let port_of = |found: &str| match (found, held.get(found)) {
        (_, None) => None,
        ("8080", _) => Some(node.listen.port()),
        ("8081", _) => Some(node.admin.port()),
        (_, Some(socket)) => Some(socket.local_addr().expect("it is bound").port()),
    };
    let (mut replaced, mut rest) = (String::new(), script);
    while let Some(at) = rest.find(|sign: char| sign.is_ascii_digit()) {
        replaced += &rest[..at];
        rest = &rest[at..];
        let (found, behind) = rest.split_at(digits(rest));
        match port_of(found) {
            Some(port) => replaced += &port.to_string(),
            None => replaced += found,
        }
        rest = behind;
    }
    replaced + rest
}

/// Runs a page against a node of its own.
async fn follow(name: &str, page: &str) {
    let node = Node::start().await;
    let folder = node.folder();
    std::fs::create_dir(folder.path().join("bin")).expect("the folder is new");
    symlink(env!("CARGO_BIN_EXE_wasm-fn"), folder.path().join("bin/wasm-fn")).expect("bin is empty");
    symlink(root().join("guest-examples"), folder.path().join("guest-examples")).expect("the folder is new");
    folder.write("typed", "what a user types\n");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = Command::new("bash");
    command.args(["-c", &script(page, &node)]).current_dir(folder.path());
    for (variable, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WASM_FN_"))
    {
        command.env_remove(variable);
    }
    command
        .env("PATH", format!("{}:{path}", folder.path().join("bin").display()))
        .env("HOME", folder.path())
        .env_remove("XDG_CONFIG_HOME")
        .env("NO_COLOR", "1")
        .env("WASM_FN_SERVER", format!("http://{}", node.admin))
        .env("WASM_FN_TOKEN", &node.token);
    let done = run(&mut command).await;
    assert_eq!(done.code, Some(0), "{name} does not work:\n{}\n{}", done.stdout, done.stderr);
}

#[tokio::test]
async fn tutorials_work_as_written() {
    let test = "tutorials_work_as_written";
    if !programs::starts(Command::new("curl").arg("--version"), "curl", test) {
        return;
    }
    for (name, page) in pages("tutorials") {
        follow(&name, &page).await;
    }
}

#[tokio::test]
async fn how_to_guides_work_as_written() {
    let test = "how_to_guides_work_as_written";
    if !programs::starts(Command::new("git").arg("--version"), "git", test) {
        return;
    }
    for (name, page) in pages("how-to") {
        if name.ends_with("/cluster.md") && !programs::installed("nats-server", test) {
            continue;
        }
        follow(&name, &page).await;
    }
}

#[test]
fn blocks_that_are_not_run_say_why() {
    let (mut run, mut not_run) = (0, 0);
    for (name, page) in [pages("tutorials"), pages("how-to")].concat() {
        for Block { line, what } in blocks(&page) {
            match what {
                What::First(_) => {}
                What::Commands { commands, .. } => {
                    assert!(
                        !commands.is_empty(),
                        "{name}:{line} has no command: a line of one begins with `$ `"
                    );
                    run += commands.len();
                }
                What::NotRun { reason } => {
                    assert!(
                        reason.split_whitespace().count() >= 3,
                        "{name}:{line} gives no reason: {reason:?}"
                    );
                    not_run += 1;
                }
            }
        }
    }
    assert!(run >= 60, "{run} commands are run, expected at least 60");
    assert!(not_run <= NOT_RUN_MAX, "{not_run} blocks are not run, expected at most {NOT_RUN_MAX}");
}
