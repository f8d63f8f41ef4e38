//! A plain git server: what `git push` to a bare repository with the hook of `wasm-fn hook` does.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::harness::{
    Node, Process,
    command::{Done, run, run_with},
    guests,
    programs::starts,
};

/// A build as simple as can be: the source is the name of a guest.
const BUILD: &str = "echo building for \"${GIT_DIR:-nobody}\"; cp \"$GUESTS/$(cat guest).wasm\" hello.wasm";

/// A bare repository with a hook, and a clone of it to push from.
struct GitServer<'a> {
    node: &'a Node,
    clone: PathBuf,
    bare: PathBuf,
}

impl<'a> GitServer<'a> {
    /// `None` where git is not installed: `test` is skipped then.
    async fn start(node: &'a Node, test: &str, hook: &[&str]) -> Option<Self> {
        if !starts(Command::new("git").arg("--version"), "git", test) {
            return None;
        }
        let (clone, bare) = (node.folder().path().join("clone"), node.folder().path().join("hello.git"));
        let server = Self { node, clone, bare };
        let text = |path: &Path| path.to_str().expect("the path is text").to_owned();
        let (clone, bare) = (text(&server.clone), text(&server.bare));
        run(server.git(node.folder().path(), &["init", "--quiet", "--bare", "-b", "main", &bare])).await.ok();
        run(server.git(node.folder().path(), &["init", "--quiet", "-b", "main", &clone])).await.ok();
        run(server.git(&server.clone, &["remote", "add", "origin", &bare])).await.ok();
        let script = node.cli_ok(&[&["hook", "hello"], hook].concat()).await;
        let path = server.bare.join("hooks/post-receive");
        fs::write(&path, script).expect("a repository has hooks");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the hook is ours");
        Some(server)
    }

    /// git, as nobody in particular, where hooks find the binary under test and the node.
    fn git(&self, folder: &Path, args: &[&str]) -> &'static mut Command {
        let program = Path::new(env!("CARGO_BIN_EXE_wasm-fn")).parent().expect("a file is in a folder");
        let mut path = OsString::from(program);
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut command = Command::new("git");
        command.args(args).current_dir(folder).env("PATH", path).stdin(Stdio::null());
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "Ann").env(format!("GIT_{who}_EMAIL"), "ann@example.com");
        }
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
        command.env("WASM_FN_SERVER", format!("http://{}", self.node.admin));
        command.env("WASM_FN_TOKEN", &self.node.token).env("XDG_CONFIG_HOME", "/nonexistent");
        command.env("GUESTS", guests::path("x").parent().expect("a file is in a folder"));
        Box::leak(Box::new(command))
    }

    /// Commits a source that is the guest `guest`, with this subject; gives the commit.
    async fn commit(&self, guest: &str, subject: &str) -> String {
        fs::write(self.clone.join("guest"), guest).expect("the clone is writable");
        run(self.git(&self.clone, &["add", "--all"])).await.ok();
        run(self.git(&self.clone, &["commit", "--quiet", "-m", subject])).await.ok();
        let commit = run(self.git(&self.clone, &["rev-parse", "--short", "HEAD"])).await.ok();
        commit.stdout.trim().to_owned()
    }

    /// Pushes, which has to succeed. What the hook says is in stderr.
    async fn push(&self, refs: &[&str]) -> Done {
        run(self.git(&self.clone, &[&["push", "origin"], refs].concat())).await.ok()
    }

    async fn rollout(&self) -> Value {
        self.node.live("hello").await["rollout"].clone()
    }
}

#[tokio::test]
async fn a_push_builds_the_commit_and_starts_its_canary() {
    let node = Node::start().await;
    let test = "a_push_builds_the_commit_and_starts_its_canary";
    let hook = ["--build", BUILD, "--file", "hello.wasm", "--", "--canary=10%,50%"];
    let Some(server) = GitServer::start(&node, test, &hook).await else { return };
    let first = server.commit("hello-v1", "Greet people").await;
    let pushed = server.push(&["main"]).await;
    assert!(pushed.stderr.contains(&format!("remote: wasm-fn: deployed {first}")), "{pushed:?}");
    // The build is not told of the server's repository.
    assert!(pushed.stderr.contains("building for nobody"), "{pushed:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");

    let second = server.commit("hello-v2", "Greet people 'better' $(false)").await;
    let pushed = server.push(&["main"]).await;
    assert!(pushed.stderr.contains(&format!("remote: wasm-fn: deployed {second}")), "{pushed:?}");
    let rollout = server.rollout().await;
    assert_eq!((rollout["stable"].as_str(), rollout["canary"].as_str()), (Some("v1"), Some("v2")));
    let history = node.cli_ok(&["history", "hello"]).await;
    assert!(history.contains(&format!("{second} Greet people 'better' $(false) (Ann)")), "{history}");
    // No trace is left in the repository.
    assert!(!server.bare.join("index").exists());
}

#[tokio::test]
async fn other_branches_and_deleted_ones_are_left_alone() {
    let node = Node::start().await;
    let test = "other_branches_and_deleted_ones_are_left_alone";
    let hook = ["--branch", "live", "--build", BUILD, "--file", "hello.wasm"];
    let Some(server) = GitServer::start(&node, test, &hook).await else { return };
    server.commit("hello-v1", "Greet people").await;
    let pushed = server.push(&["main", "main:refs/heads/feature/live", "main:refs/tags/live"]).await;
    assert!(!pushed.stderr.contains("remote:"), "{pushed:?}");
    node.cli(&["versions", "hello"]).await.refused(&["hello"]);
    let pushed = server.push(&["main:refs/heads/live"]).await;
    assert!(pushed.stderr.contains("remote: wasm-fn: deployed"), "{pushed:?}");
    let pushed = server.push(&["--delete", "refs/heads/live"]).await;
    assert!(
        pushed.stderr.contains("the branch live was deleted; hello in stage live is as it was"),
        "{pushed:?}"
    );
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
}

#[tokio::test]
async fn a_push_whose_build_or_deployment_fails_is_taken_and_says_so() {
    let node = Node::start().await;
    let test = "a_push_whose_build_or_deployment_fails_is_taken_and_says_so";
    let Some(server) = GitServer::start(&node, test, &["--build", BUILD, "--file", "hello.wasm"]).await
    else {
        return;
    };
    server.commit("hello-v1", "Greet people").await;
    server.push(&["main"]).await;
    for (guest, facts) in [
        ("missing", &["FAILED: the build of", "ended with status 1", "hello in stage live is as it was"][..]),
        ("manifest.json\n../x", &["FAILED: the build of"]),
        (
            "broken",
            &["error: `hello` was not deployed", "is not deployed, as said above; see wasm-fn status hello"],
        ),
    ] {
        let commit = server.commit(guest, guest).await;
        let pushed = server.push(&["main"]).await;
        for fact in facts {
            assert!(pushed.stderr.contains(fact), "{fact}: {pushed:?}");
        }
        assert!(pushed.stderr.contains(&commit), "{pushed:?}");
        assert_eq!(node.http.get("/hello").await.ok().version(), "v1", "{guest}");
        let head = run(server.git(&server.bare, &["rev-parse", "--short", "main"])).await.ok();
        assert_eq!(head.stdout.trim(), commit);
    }
    // Nor is a token that cannot be read a reason to use another one.
    run(server.git(&server.bare, &["config", "wasm-fn.token-file", "/nonexistent"])).await.ok();
    server.commit("hello-v2", "Greet people better").await;
    let pushed = server.push(&["main"]).await;
    assert!(pushed.stderr.contains("FAILED: the token in /nonexistent cannot be read"), "{pushed:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
}

#[tokio::test]
async fn the_repository_says_who_deploys_where_and_the_pusher_sees_the_verdict() {
    let node = Node::start().await;
    let test = "the_repository_says_who_deploys_where_and_the_pusher_sees_the_verdict";
    let hook = ["--build", BUILD, "--", "--wait", "--watch-for", "0s"];
    let Some(server) = GitServer::start(&node, test, &hook).await else { return };
    // The file and the function's settings are those of the commit.
    let config = "[function.hello]\ncomponent = \"hello.wasm\"\nroutes = [\"/greeting\"]\n";
    fs::write(server.clone.join("wasm-fn.toml"), config).expect("the clone is writable");
    let token = node.folder().write("deploy.token", format!("{}\n", node.token));
    let server_url = format!("http://{}", node.admin);
    for (key, value) in [("server", server_url.as_str()), ("token-file", token.to_str().expect("it is text"))]
    {
        run(server.git(&server.bare, &["config", &format!("wasm-fn.{key}"), value])).await.ok();
    }
    server.commit("hello-v1", "Greet people").await;
    let push = server.git(&server.clone, &["push", "origin", "main"]);
    push.env("WASM_FN_SERVER", "http://127.0.0.1:1").env("WASM_FN_TOKEN", "wrong");
    let pushed = run(push).await.ok();
    assert!(pushed.stderr.contains("remote: wasm-fn: deployed"), "{pushed:?}");
    assert!(pushed.stderr.contains("v1"), "{pushed:?}");
    assert_eq!(node.http.get("/greeting").await.ok().version(), "v1");
}

#[tokio::test]
async fn a_push_waits_for_the_one_before_it_and_a_build_ends_in_time() {
    let node = Node::start().await;
    let test = "a_push_waits_for_the_one_before_it_and_a_build_ends_in_time";
    // A build of the first commit goes on until the test lets it end; one of the last never ends.
    let build = "if [ \"$(cat guest)\" = forever ]; then exec sleep 1000; fi; \
                 if [ -p \"$GATE\" ] && mv \"$GATE\" \"$GATE.taken\"; then \
                 printf 'the build %s\\n' waits; cat \"$GATE.taken\"; fi; \
                 cp \"$GUESTS/$(cat guest).wasm\" hello.wasm";
    let hook = ["--build", build, "--file", "hello.wasm", "--timeout", "100s", "--", "--all-at-once"];
    let Some(server) = GitServer::start(&node, test, &hook).await else { return };
    let gate = node.folder().path().join("gate");
    run(Command::new("mkfifo").arg(&gate)).await.ok();
    let first = server.commit("hello-v1", "First").await;
    let start = |server: &GitServer<'_>| {
        let push = server.git(&server.clone, &["push", "origin", "main"]);
        Process::spawn(push.env("GATE", &gate).stdout(Stdio::piped()))
    };
    let earlier = start(&server);
    earlier.lines("the build waits", 1).await;
    let second = server.commit("hello-v2", "Second").await;
    let later = start(&server);
    later.lines("waiting for the push before this one", 1).await;
    // The earlier build ends when the gate is opened and closed.
    fs::write(node.folder().path().join("gate.taken"), "").expect("the build reads it");
    let (earlier, later) = (earlier.done("push").await.ok(), later.done("push").await.ok());
    assert!(earlier.stderr.contains(&format!("wasm-fn: deployed {first}")), "{earlier:?}");
    assert!(later.stderr.contains(&format!("wasm-fn: deployed {second}")), "{later:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");

    // What a later push has left behind is not deployed: here a hook that runs for a commit of before.
    let hook = server.bare.join("hooks/post-receive");
    let commit = run(server.git(&server.clone, &["rev-parse", "HEAD~1"])).await.ok();
    let line = format!("{0} {0} refs/heads/main\n", commit.stdout.trim());
    let mut late = Command::new(&hook);
    late.current_dir(&server.bare).envs(environment(server.git(&server.bare, &[])));
    let late = run_with(&mut late, line.as_bytes()).await.ok();
    assert!(late.stdout.contains(&format!("somewhere else by now; {first} is not deployed")), "{late:?}");

    // A bound that is shorter, as nobody waits for long here.
    let script = fs::read_to_string(&hook).expect("the hook is there");
    assert!(script.contains("seconds_max=100\n"), "{script}");
    fs::write(&hook, script.replace("seconds_max=100\n", "seconds_max=1\n")).expect("the hook is ours");
    let endless = server.commit("forever", "Third").await;
    let pushed = server.push(&["main"]).await;
    let said = format!("FAILED: the build of {endless} was ended after 1s; hello in stage live is as it was");
    assert!(pushed.stderr.contains(&said), "{pushed:?}");
    assert_eq!(node.http.get("/hello").await.ok().version(), "v2");
}

/// What a command that is not run would have set.
fn environment(command: &Command) -> Vec<(OsString, OsString)> {
    let set = command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    set.collect()
}
