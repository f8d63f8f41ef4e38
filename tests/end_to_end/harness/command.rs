//! Commands, run as users run them.

use std::{
    io::{Read, Seek as _, Write as _},
    process::{Command, Stdio},
    sync::Arc,
};

use serde_json::Value;
use tokio::sync::oneshot;

use super::{Node, Process, patiently, wasm_fn};

/// What became of a command.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    shown: Arc<str>,
}

/// Runs `command` to its end.
pub(crate) async fn run(command: &mut Command) -> Done {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    let shown = words[1..].join(" ");
    Process::spawn(command.stdout(Stdio::piped())).done(&shown).await
}

impl Process {
    /// Waits for the end of a command whose stdout is a pipe, and which is `shown` so.
    pub(crate) async fn done(mut self, shown: &str) -> Done {
        let mut pipe = self.child.stdout.take().expect("stdout is a pipe");
        let (sender, stdout) = oneshot::channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // What cannot be read is missed by the test's own assertions.
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
        let status = self.ended().await;
        let stdout = patiently("the rest of stdout", stdout).await.unwrap_or_default();
        Done {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: self.log(),
            shown: Arc::from(shown),
        }
    }
}

/// `command`, started by `starter` behind that one's own arguments, in the folder and with the variables of
/// `command`.
pub(crate) fn through(mut starter: Command, command: &Command) -> Command {
    starter.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        starter.current_dir(folder);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => starter.env(name, value),
            None => starter.env_remove(name),
        };
    }
    starter
}

/// Runs `command` to its end, with `input` as its standard input.
pub(crate) async fn run_with(command: &mut Command, input: &[u8]) -> Done {
    let mut file = tempfile::tempfile().expect("the system has a temporary directory");
    file.write_all(input).and_then(|()| file.rewind()).expect("the file is writable");
    run(command.stdin(file)).await
}

impl Node {
    /// `wasm-fn` with `args`, told where this node is, in its folder.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = wasm_fn();
        command
            .args(args)
            .env("WASM_FN_SERVER", format!("http://{}", self.admin))
            .env("WASM_FN_TOKEN", &self.token)
            .current_dir(self.folder().path());
        command
    }

    /// Runs a command against this node.
    pub(crate) async fn cli(&self, args: &[&str]) -> Done {
        run(&mut self.command(args)).await
    }

    /// Runs a command that must succeed; gives its stdout.
    pub(crate) async fn cli_ok(&self, args: &[&str]) -> String {
        self.cli(args).await.ok().stdout
    }

    /// Runs a command with `-o json` that must succeed; gives what it prints.
    pub(crate) async fn cli_json(&self, args: &[&str]) -> Value {
        let stdout = self.cli_ok(&[args, &["-o", "json"]].concat()).await;
        serde_json::from_str(&stdout)
            .unwrap_or_else(|error| panic!("{args:?} wrote no JSON: {error}\n{stdout}"))
    }
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "`{}` ended so:\n{}{}", self.shown, self.stdout, self.stderr);
        self
    }

    /// Checks that the command refused with exit code 1 and one error that names all of `facts`.
    #[track_caller]
    pub(crate) fn refused(&self, facts: &[&str]) {
        self.refused_with(1, facts);
    }

    /// Checks that the command refused with `code` and one error that names all of `facts`.
    #[track_caller]
    pub(crate) fn refused_with(&self, code: i32, facts: &[&str]) {
        assert_eq!(self.code, Some(code), "`{}` ended so:\n{}{}", self.shown, self.stdout, self.stderr);
        for fact in facts {
            assert!(self.stderr.contains(fact), "`{}` does not say {fact:?}:\n{}", self.shown, self.stderr);
        }
        let errors = self.stderr.lines().filter(|line| line.starts_with("error:")).count();
        assert_eq!(errors, 1, "`{}` has not one error:\n{}", self.shown, self.stderr);
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        assert_eq!(self.stdout, "", "`{}` refused and wrote data", self.shown);
    }
}
