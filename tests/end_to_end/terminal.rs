//! What people meet in a terminal: codes explained, words completed, and the busiest functions on a screen.

use std::{
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
};

use serde_json::json;
use tokio::sync::watch;

use crate::harness::{
    Node, PATIENCE,
    command::run,
    guests, patiently,
    programs::{installed, starts},
    wasm_fn,
};

/// What a shell completes at the end of each of `lines`, by the script for bash.
async fn completed(node: Option<&Node>, server: &str, lines: &[&[&str]]) -> Vec<Vec<String>> {
    let mut script = "source <(wasm-fn completions bash)\n".to_owned();
    for words in lines {
        let last = words.len() - 1;
        let quoted = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        script += &format!(
            "COMP_WORDS=({quoted}); COMP_CWORD={last}; COMP_TYPE=9; COMPREPLY=()\n\
             _clap_complete_wasm_fn wasm-fn '{current}' '{before}'\n\
             (IFS=,; echo \"${{COMPREPLY[*]}}\")\n",
            current = words[last],
            before = words[last - 1],
        );
    }
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_wasm-fn"));
    let folder = program.parent().expect("the program is in a folder");
    let path = std::env::var("PATH").unwrap_or_default();
    let mut bash = Command::new("bash");
    bash.args(["--norc", "--noprofile", "-c", &script]).env("PATH", format!("{}:{path}", folder.display()));
    bash.env("WASM_FN_SERVER", server).env("WASM_FN_TOKEN", node.map_or("wfn_none", |node| &node.token));
    bash.env("XDG_CONFIG_HOME", "/nonexistent").stdin(Stdio::null());
    let done = run(&mut bash).await.ok();
    assert_eq!(done.stderr, "", "completing says something:\n{}", done.stdout);
    done.stdout.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn bash_completes_functions_versions_and_stages_from_the_node() {
    if !installed("bash", "bash_completes_functions_versions_and_stages_from_the_node") {
        return;
    }
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy_with("help-desk", "hello-v1", json!({})).await;
    node.deploy_with("shop", "hello-v1", json!({})).await;
    node.cli_ok(&["promote-stage", "hello", "live", "staging"]).await;
    let server = format!("http://{}", node.admin);
    let lines: [&[&str]; 7] = [
        &["wasm-fn", "status", "hel"],
        &["wasm-fn", "status", "hello"],
        &["wasm-fn", "logs", "hello", "-s", ""],
        &["wasm-fn", "rollback", "hello", "--to", "v"],
        &["wasm-fn", "traffic", "hello", "v"],
        &["wasm-fn", "expl"],
        &["wasm-fn", "status", "none-of-these"],
    ];
    let found = completed(Some(&node), &server, &lines).await;
    assert_eq!(found[0], ["hello", "help-desk"]);
    assert_eq!(found[1], ["hello"]);
    assert_eq!(found[2], ["live", "staging"]);
    assert_eq!(found[3], ["v1"]);
    assert_eq!(found[4], ["v1="]);
    assert_eq!(found[5], ["explain"]);
    assert_eq!(found[6], [""]);
    // A node that does not know the token gives nothing away, and one that is named in the line is asked.
    let elsewhere: [&[&str]; 2] = [
        &["wasm-fn", "status", "--token", "wfn_wrong", "hel"],
        &["wasm-fn", "status", "--server", "http://127.0.0.1:1", "hel"],
    ];
    assert_eq!(completed(Some(&node), &server, &elsewhere).await, [[""], [""]]);
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_completes_nothing_and_soon() {
    if !installed("bash", "a_node_that_cannot_be_reached_completes_nothing_and_soon") {
        return;
    }
    // It takes connections and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for server in ["http://127.0.0.1:1".to_owned(), format!("http://{}", silent.local_addr().unwrap())] {
        let lines: [&[&str]; 2] = [&["wasm-fn", "status", "x"], &["wasm-fn", "stat"]];
        let found = tokio::time::timeout(PATIENCE / 2, completed(None, &server, &lines)).await;
        let found = found.unwrap_or_else(|_| panic!("{server} kept the shell waiting"));
        assert_eq!(found, [[""], ["status"]], "{server}");
    }
}

#[tokio::test]
async fn codes_are_explained() {
    let explain = async |args: &[&str]| run(wasm_fn().arg("explain").args(args)).await;
    let trap = explain(&["guest-trap"]).await.ok().stdout;
    assert!(trap.starts_with("guest-trap  500, "), "{trap}");
    assert!(trap.contains("\nremedy   look at the backtrace with `wasm-fn logs FUNCTION"), "{trap}");
    // A code of both planes is explained for both.
    assert_eq!(explain(&["no-such-function"]).await.ok().stdout.matches("meaning").count(), 2);
    let all = explain(&[]).await.ok().stdout;
    assert!(all.lines().count() > 90 && all.contains("revision-conflict"), "{all}");
    let json = explain(&["busy", "-o", "json"]).await.ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&json["code"], &json["plane"], &json["statuses"]),
        (&json!("busy"), &json!("admin"), &json!([503]))
    );
    explain(&["guest-tarp"]).await.refused(&["\"guest-tarp\"", "`wasm-fn explain guest-trap`"]);
}

/// Lines and columns of the pseudo-terminal.
const LINES: usize = 30;
const COLUMNS: usize = 100;

/// A program in a pseudo-terminal.
struct Screen {
    script: Child,
    keys: ChildStdin,
    /// All that it has written.
    written: watch::Receiver<String>,
}

impl Drop for Screen {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

/// What a terminal shows that was sent `written`, of which only the sequences matter that move and erase.
fn screen(written: &str) -> String {
    let mut cells = vec![vec![' '; COLUMNS]; LINES];
    let (mut line, mut column) = (0, 0);
    let mut chars = written.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' if chars.next() == Some('[') => {
                let mut parameters = String::new();
                let end = chars.by_ref().find(|&c| {
                    let is_end = ('@'..='~').contains(&c);
                    parameters.extend((!is_end).then_some(c));
                    is_end
                });
                let mut numbers = parameters.split(';').map(|number| number.parse().unwrap_or(1));
                match end {
                    Some('H') => {
                        line = numbers.next().unwrap_or(1_usize).saturating_sub(1);
                        column = numbers.next().unwrap_or(1_usize).saturating_sub(1);
                    }
                    Some('J') => cells.iter_mut().for_each(|line| line.fill(' ')),
                    _ => {}
                }
            }
            '\r' => column = 0,
            '\n' => line += 1,
            c => {
                if let Some(cell) = cells.get_mut(line).and_then(|line| line.get_mut(column)) {
                    *cell = c;
                }
                column += 1;
            }
        }
    }
    cells.into_iter().map(|line| line.into_iter().collect::<String>().trim_end().to_owned() + "\n").collect()
}

impl Screen {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut script = command.spawn().expect("script starts");
        let (keys, mut output) =
            (script.stdin.take().expect("a pipe"), script.stdout.take().expect("a pipe"));
        let (sender, written) = watch::channel(String::new());
        std::thread::spawn(move || {
            let (mut bytes, mut all) = ([0; 4096], Vec::new());
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                all.extend_from_slice(&bytes[..count]);
                sender.send_replace(String::from_utf8_lossy(&all).into_owned());
            }
        });
        Self { script, keys, written }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).and_then(|()| self.keys.flush()).expect("the terminal is there");
    }

    /// Waits until the screen has all of `texts`.
    async fn shows(&mut self, texts: &[&str]) {
        let all = |written: &String| {
            let screen = screen(written);
            texts.iter().all(|text| screen.contains(text))
        };
        let seen = tokio::time::timeout(PATIENCE, self.written.wait_for(all)).await;
        let seen = seen.is_ok_and(|seen| seen.is_ok());
        assert!(seen, "{texts:?} are not on the screen:\n{}", screen(&self.written.borrow()));
    }

    /// Waits for its end; gives all that it has written, and whether it succeeded.
    async fn ended(mut self) -> (String, bool) {
        let mut written = self.written.clone();
        // The thread that reads ends with the terminal.
        let closed = async { while written.changed().await.is_ok() {} };
        patiently("the end of the program", closed).await;
        let status = self.script.wait().expect("it was started");
        (self.written.borrow().clone(), status.success())
    }
}

impl Node {
    /// `wasm-fn top` in a terminal.
    fn top(&self) -> Screen {
        self.in_terminal(&format!("stty cols {COLUMNS} rows {LINES}"), "top")
    }

    /// `wasm-fn` with the arguments `args` in a terminal, where the shell runs `before` first.
    fn in_terminal(&self, before: &str, args: &str) -> Screen {
        let mut script = Command::new("script");
        let line = format!("{before}; exec {} {args}", env!("CARGO_BIN_EXE_wasm-fn"));
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color").env("NO_COLOR", "1");
        script.env("SHELL", "/bin/sh").env("XDG_CONFIG_HOME", "/nonexistent");
        script.env("WASM_FN_SERVER", format!("http://{}", self.admin)).env("WASM_FN_TOKEN", &self.token);
        Screen::start(script)
    }
}

/// Leaves the screen of a program, and shows the cursor.
const GIVEN_BACK: [&str; 2] = ["\u{1b}[?1049l", "\u{1b}[?25h"];

#[tokio::test]
async fn top_shows_functions_and_a_rollout_and_gives_the_terminal_back() {
    let test = "top_shows_functions_and_a_rollout_and_gives_the_terminal_back";
    if !starts(Command::new("script").arg("--version"), "script of util-linux", test) {
        return;
    }
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.roll_out("hello-v2", json!({}), json!({ "name": "canary", "steps": ["10%", "50%"] }), json!({}))
        .await;
    for _ in 0..5 {
        node.http.get("/hello").await.ok();
    }
    let mut top = node.top();
    top.shows(&["wasm-fn top", "FUNCTION", "hello", "v2 10%"]).await;
    top.press("\r");
    top.shows(&["[10%]", "verdict", "v1 → v2, progressing"]).await;
    // What happens is shown without a key.
    node.cli_ok(&["abort", "hello", "-m", "Charges twice"]).await;
    top.shows(&["Charges twice"]).await;
    top.press("q");
    let (shown, succeeded) = top.ended().await;
    assert!(succeeded && GIVEN_BACK.iter().all(|sequence| shown.contains(sequence)), "{shown:?}");
}

#[tokio::test]
async fn top_gives_the_terminal_back_when_the_node_refuses() {
    let test = "top_gives_the_terminal_back_when_the_node_refuses";
    if !starts(Command::new("script").arg("--version"), "script of util-linux", test) {
        return;
    }
    let mut node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let mut top = node.top();
    top.shows(&["FUNCTION", "hello"]).await;
    // Its token is the node's own, which is no longer accepted.
    node.cli_ok(&["tokens", "rotate"]).await;
    let (shown, succeeded) = top.ended().await;
    assert!(!succeeded, "{shown:?}");
    let (screen, after) = shown.rsplit_once(GIVEN_BACK[0]).expect("the terminal is given back");
    assert!(screen.contains("hello") && after.contains("error:"), "{shown:?}");
    node.terminate();
    node.ended().await;
}

#[tokio::test]
async fn top_without_a_terminal_is_one_clear_error() {
    let node = Node::start().await;
    let refused = node.cli(&["top"]).await;
    refused.refused(&["not both a terminal", "`wasm-fn status -w`"]);
    // An error in JSON has no line that begins with `error:`.
    let json = node.cli(&["top", "-o", "json"]).await;
    assert_eq!((json.code, json.stdout.as_str()), (Some(1), ""));
    let told: serde_json::Value = serde_json::from_str(&json.stderr).unwrap();
    assert_eq!(told["code"], "usage", "{told}");
}

/// Whether the terminal whose path is in the file `tty` shows what is typed.
async fn echoes(tty: &std::path::Path) -> bool {
    let tty = std::fs::read_to_string(tty).expect("the file was written before the program began");
    let settings = run(Command::new("stty").args(["-a", "-F", tty.trim()])).await.ok().stdout;
    let is_off = settings.split_whitespace().any(|setting| setting == "-echo");
    assert!(is_off || settings.split_whitespace().any(|setting| setting == "echo"), "{settings}");
    !is_off
}

#[tokio::test]
async fn a_secret_is_typed_and_not_shown() {
    let test = "a_secret_is_typed_and_not_shown";
    if !starts(Command::new("script").arg("--version"), "script of util-linux", test) {
        return;
    }
    let node = Node::start().await;
    let tty = node.folder().path().join("tty");
    let mut prompt = node.in_terminal(&format!("tty > {}", tty.display()), "secrets set API_KEY -f hello");
    prompt.shows(&["value of API_KEY (not shown):"]).await;
    patiently("a terminal that shows nothing", async { while echoes(&tty).await {} }).await;
    prompt.press("hunter2 \u{e9}t\u{e9}\r");
    let (shown, succeeded) = prompt.ended().await;
    assert!(succeeded && shown.contains("API_KEY of hello in live is set (revision 1)"), "{shown:?}");
    assert!(!shown.contains("hunter2"), "{shown:?}");

    let config = "[function.hello]\nsecrets = [\"API_KEY\"]\n";
    node.folder().write("wasm-fn.toml", config);
    let guest = guests::path("secrets");
    node.cli_ok(&["deploy", guest.to_str().expect("the path is text"), "-f", "hello"]).await;
    assert_eq!(node.http.get("/hello/get/API_KEY").await.ok().text(), "hunter2 \u{e9}t\u{e9}");
}
