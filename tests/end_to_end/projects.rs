//! From nothing to a function: `new`, `build`, `dev` and `test`, with every template whose toolchain is
//! there.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use tokio::{task::spawn_blocking, time::timeout};

use crate::harness::{
    Folder, Node, Process,
    client::Client,
    command::run,
    guests,
    programs::{installed, starts},
    wasm_fn,
};

/// How long a build may take that downloads its compiler first.
const BUILD_MAX: Duration = Duration::from_secs(900);

/// `wasm-fn` with `args` in `folder`.
fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = wasm_fn();
    command.args(args).current_dir(folder);
    command
}

/// Runs `wasm-fn` with `args` in `folder`; it may take as long as a build.
async fn slowly(folder: &Path, args: &[&str]) -> Output {
    let mut command = command(folder, args);
    let done = timeout(BUILD_MAX, spawn_blocking(move || command.output())).await;
    done.expect("it ends in time").expect("nothing panics").expect("the binary starts")
}

/// A project made by hand: its build copies the guest in `src`, and its checks ask for `answer`.
fn by_hand(folder: &Folder, guest: &str, build: &str, answer: &str) -> PathBuf {
    let project = folder.path().join("project");
    fs::create_dir_all(project.join("src")).unwrap();
    fs::write(project.join("src/hello.wasm"), guests::bytes(guest)).unwrap();
    let table = format!("[function.hello]\ncomponent = \"dist/hello.wasm\"\nbuild = \"{build}\"\n");
    fs::write(project.join("wasm-fn.toml"), table).unwrap();
    let check = format!("[[check]]\npath = \"/hello\"\nexpect = {{ body = \"{answer}\" }}\n");
    fs::write(project.join("checks.toml"), check).unwrap();
    project
}

/// A build that needs no compiler, and that fails if `src/broken` is there.
const COPY: &str = "test ! -e src/broken && mkdir -p dist && cp src/hello.wasm dist/hello.wasm";

/// `wasm-fn dev` at work. What it prints, on either stream, is in its log.
struct Dev {
    process: Process,
    http: Client,
}

impl Dev {
    /// Starts it in `project`, on a node of its own.
    async fn start(project: &Path) -> Self {
        let process =
            Process::spawn(&mut dev(project, &["--listen", "127.0.0.1:0", "--server", &free_port()]));
        let address = process.line("the node's address", |line| {
            let (_, rest) = line.split_once("functions at http://")?;
            rest.split(',').next()?.parse().ok()
        });
        let address: SocketAddr = address.await;
        Self { process, http: Client::http1(address) }
    }

    async fn says(&self, text: &str) {
        self.process.line(text, |line| line.contains(text).then_some(())).await;
    }

    async fn answers(&self, text: &str) {
        assert_eq!(self.http.get("/hello").await.ok().text(), text, "{}", self.process.log());
    }
}

/// `wasm-fn dev` in `project`, whose standard output is its standard error.
fn dev(project: &Path, args: &[&str]) -> Command {
    let of = wasm_fn();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" >&2", "sh"]).arg(of.get_program()).arg("dev").args(args);
    for (name, value) in of.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.current_dir(project).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// The address of an admin API that nothing listens at.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    format!("http://{}", listener.local_addr().expect("it is bound"))
}

#[tokio::test]
async fn saved_file_is_built_deployed_and_answers() {
    let folder = Folder::new();
    let project = by_hand(&folder, "hello-v1", COPY, "hello");
    let dev = Dev::start(&project).await;
    dev.says("v1 answers at http://").await;
    dev.answers("hello from v1\n").await;
    // Each request is shown with its version, status, memory and time.
    let shown = dev.process.line("the request", |line| {
        (line.contains("v1 GET /hello: answered 200 OK, memory ") && line.contains(" in ")).then_some(())
    });
    shown.await;
    fs::write(project.join("src/hello.wasm"), guests::bytes("hello-v2")).unwrap();
    dev.says("hello.wasm changed").await;
    dev.says("v2 answers at http://").await;
    dev.answers("hello from v2\n").await;
}

#[tokio::test]
async fn last_good_version_answers_while_the_build_is_broken() {
    let folder = Folder::new();
    let project = by_hand(&folder, "hello-v1", COPY, "hello");
    let dev = Dev::start(&project).await;
    dev.says("v1 answers").await;
    // A build that fails.
    fs::write(project.join("src/broken"), "").unwrap();
    dev.process.lines("v1 keeps answering at http://", 1).await;
    dev.says("ended with exit status: 1").await;
    dev.answers("hello from v1\n").await;
    // A source that vanishes.
    fs::remove_file(project.join("src/hello.wasm")).unwrap();
    fs::remove_file(project.join("src/broken")).unwrap();
    dev.process.lines("v1 keeps answering at http://", 2).await;
    dev.answers("hello from v1\n").await;
    // A configuration with a syntax error, and one that vanishes.
    let table = fs::read(project.join("wasm-fn.toml")).unwrap();
    fs::write(project.join("wasm-fn.toml"), "[function.hello\n").unwrap();
    dev.says("wasm-fn.toml:1").await;
    dev.answers("hello from v1\n").await;
    fs::remove_file(project.join("wasm-fn.toml")).unwrap();
    dev.says("No such file").await;
    dev.answers("hello from v1\n").await;
    // All is well again.
    fs::write(project.join("src/hello.wasm"), guests::bytes("hello-v2")).unwrap();
    fs::write(project.join("wasm-fn.toml"), table).unwrap();
    dev.says("v2 answers").await;
    dev.answers("hello from v2\n").await;
}

#[tokio::test]
async fn node_that_runs_is_used_and_its_other_stages_stay() {
    let node = Node::start().await;
    node.deploy("hello-v1").await;
    let folder = Folder::new();
    let project = by_hand(&folder, "hello-v2", COPY, "hello");
    let server = format!("http://{}", node.admin);
    let process = Process::spawn(&mut dev(&project, &["--server", &server, "--token", &node.token]));
    let url = format!("answers at http://{}/hello@dev", node.listen);
    process.line("the URL", |line| line.contains(&url).then_some(())).await;
    assert_eq!(node.http.get("/hello@dev").await.ok().text(), "hello from v2\n");
    assert!(!project.join(".wasm-fn").exists(), "no node was started");
}

#[tokio::test]
async fn port_in_use_is_named() {
    let folder = Folder::new();
    let project = by_hand(&folder, "hello-v1", COPY, "hello");
    let other = Node::start().await;
    let (address, admin) = (other.listen.to_string(), free_port());
    let done = run(&mut command(&project, &["dev", "--listen", &address, "--server", &admin])).await;
    done.refused(&["the node did not start", &address, "in use", "--listen"]);
    // What listens at the address of the admin API is none.
    let server = format!("http://{address}");
    let done = run(&mut command(&project, &["dev", "--server", &server, "--token", "x"])).await;
    done.refused(&["serves functions", "admin API"]);
}

#[tokio::test]
async fn deployment_builds_first_if_it_is_asked_to() {
    let node = Node::start().await;
    let folder = Folder::new();
    let project = by_hand(&folder, "hello-v1", COPY, "hello");
    let deploy = async |args: &[&str]| {
        let mut command = node.command(&[&["deploy"], args].concat());
        run(command.current_dir(&project)).await
    };
    deploy(&["--build"]).await.ok();
    assert_eq!(node.http.get("/hello").await.ok().text(), "hello from v1\n");
    fs::write(project.join("src/hello.wasm"), guests::bytes("hello-v2")).unwrap();
    deploy(&["--build", "--canary=10%"]).await.ok();
    assert_eq!(node.live("hello").await["rollout"]["canary"], "v2");
    // What is not built is not deployed, though something was built before.
    fs::write(project.join("src/broken"), "").unwrap();
    deploy(&["--build", "--replace"]).await.refused(&["`hello` was not built", "exit status: 1"]);
    assert_eq!(node.live("hello").await["rollout"]["canary"], "v2");
    deploy(&["--build", "src/hello.wasm"]).await.refused_with(64, &["--build", "[FILE]"]);
    fs::write(project.join("wasm-fn.toml"), "[function.hello]\ncomponent = \"dist/hello.wasm\"\n").unwrap();
    deploy(&["--build"]).await.refused(&["no `build`"]);
}

#[tokio::test]
async fn checks_pass_or_say_what_was_found() {
    let folder = Folder::new();
    let project = by_hand(&folder, "hello-v1", COPY, "hello from v1");
    let done = run(&mut command(&project, &["test"])).await.ok();
    assert_eq!(done.stdout, "ok      GET /hello\n");
    fs::write(project.join("src/hello.wasm"), guests::bytes("hello-v2")).unwrap();
    // Not built again: the old one is tested.
    run(&mut command(&project, &["test", "--no-build"])).await.ok();
    let done = run(&mut command(&project, &["test"])).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    let expected =
        "failed  GET /hello: body begins with \"hello from v2\\n\", expected a match of hello from v1\n";
    assert_eq!(done.stdout, expected);
    let json = run(&mut command(&project, &["test", "-o", "json"])).await;
    assert!(json.stdout.contains("\"passed\":false"), "{}", json.stdout);
    fs::write(project.join("checks.toml"), "[[check]]\npath = \"hello\"\n").unwrap();
    run(&mut command(&project, &["test"])).await.refused(&[
        "checks.toml:2",
        "check[0].path",
        "expected a path",
    ]);
    fs::remove_file(project.join("checks.toml")).unwrap();
    run(&mut command(&project, &["test"])).await.refused(&["no checks.toml", "[[check]]"]);
}

#[tokio::test]
async fn project_that_cannot_be_made_is_refused_and_nothing_is_written() {
    let folder = Folder::new();
    let new = async |args: &[&str]| run(&mut command(folder.path(), &[&["new"], args].concat())).await;
    fs::create_dir(folder.path().join("full")).unwrap();
    folder.write("full/notes.txt", "mine");
    new(&["full", "--lang", "rust"]).await.refused(&["full is not empty", "notes.txt", "--into"]);
    new(&["Hello World", "--lang", "rust"]).await.refused_with(64, &["Hello World"]);
    new(&["hello", "--lang", "rsut"]).await.refused_with(64, &["\"rsut\"", "did you mean `rust`?"]);
    new(&["hello", "--lang", "cobol"]).await.refused_with(64, &["rust, js, ts, python, go or c"]);
    new(&["hello"]).await.refused_with(64, &["--lang"]);
    new(&["hello", "--template", "./nothing"]).await.refused(&["./nothing", "No such file"]);
    new(&["hello", "--template", "full/.."]).await.refused(&["no wasm-fn.toml"]);
    let left = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(left.collect::<Vec<_>>(), ["full"]);
    let listed = new(&["--list"]).await.ok().stdout;
    for name in ["rust", "js", "ts", "python", "go", "c"] {
        assert!(listed.lines().any(|line| line.starts_with(&format!("{name} "))), "{listed}");
    }
}

#[tokio::test]
async fn build_without_its_tool_says_how_to_install_it() {
    let folder = Folder::new();
    let project = folder.path().join("hello");
    run(&mut command(folder.path(), &["new", "hello", "--lang", "go"])).await.ok();
    // A PATH with a shell and nothing else.
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink("/bin/sh", bin.join("sh")).unwrap();
    let without = async |project: &Path, args: &[&str]| run(command(project, args).env("PATH", &bin)).await;
    without(&project, &["build"]).await.refused(&["no program `go`", "https://go.dev/dl"]);
    without(&project, &["test"]).await.refused(&["no program `go`", "https://go.dev/dl"]);
    let script = by_hand(&folder, "hello-v1", "eval 'zig cc'", "hello");
    without(&script, &["build"]).await.refused(&["no program `zig`", "ziglang"]);
    let nothing = by_hand(&folder, "hello-v1", "true", "hello");
    run(&mut command(&nothing, &["build"])).await.refused(&["dist/hello.wasm", "No such file"]);
    run(&mut command(folder.path(), &["build"])).await.refused(&["wasm-fn.toml", "wasm-fn new NAME"]);
    run(&mut command(&nothing, &["build", "shop"])).await.refused(&["no [function.shop]", "hello"]);
}

#[tokio::test]
async fn template_comes_from_a_git_repository_or_a_directory() {
    let test = "template_comes_from_a_git_repository_or_a_directory";
    if !installed("git", test) {
        return;
    }
    let folder = Folder::new();
    let template = by_hand(&folder, "hello-v1", COPY, "hello");
    let table = fs::read_to_string(template.join("wasm-fn.toml")).unwrap().replace("hello]", "{{name}}]");
    fs::write(template.join("wasm-fn.toml"), table).unwrap();
    for args in [&["init", "--quiet"][..], &["add", "."], &["commit", "--quiet", "--message", "template"]] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@example.com"]).args(args);
        run(git.current_dir(&template)).await.ok();
    }
    let url = format!("file://{}", template.display());
    for (name, from) in [("first", &*url), ("second", "./project")] {
        run(&mut command(folder.path(), &["new", name, "--template", from])).await.ok();
        let project = folder.path().join(name);
        assert!(!project.join(".git").exists(), "the template's history is its own");
        let built = run(&mut command(&project, &["build", name])).await.ok();
        assert!(built.stdout.starts_with(&format!("{name} is built")), "{}", built.stdout);
    }
    let refused = run(&mut command(folder.path(), &["new", "third", "--template", "file:///nothing"])).await;
    refused.refused(&["file:///nothing was not cloned"]);
    assert!(!folder.path().join("third").exists());
}

/// Makes a project in `language`, builds it, and has its own checks pass.
async fn template_answers(language: &str) {
    let folder = Folder::new();
    run(&mut command(folder.path(), &["new", "shop", "--lang", language])).await.ok();
    let done = slowly(&folder.path().join("shop"), &["test"]).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{stdout}{stderr}");
    assert_eq!(stdout, "ok      GET /shop/world\n");
    assert!(stderr.contains("1 of 1 checks passed"), "{stderr}");
}

#[tokio::test]
async fn rust_template_answers() {
    let target = "test -d \"$(rustc --print sysroot)/lib/rustlib/wasm32-wasip2\"";
    let what = "Rust's target wasm32-wasip2";
    if starts(Command::new("sh").args(["-c", target]), what, "rust_template_answers") {
        template_answers("rust").await;
    }
}

#[tokio::test]
async fn javascript_template_answers_and_a_saved_file_does_in_dev() {
    let test = "javascript_template_answers_and_a_saved_file_does_in_dev";
    if !installed("npm", test) {
        return;
    }
    template_answers("js").await;
    // In `dev` the code is laid into an interpreter that is componentized once.
    let folder = Folder::new();
    run(&mut command(folder.path(), &["new", "hello", "--lang", "js"])).await.ok();
    let project = folder.path().join("hello");
    let done = slowly(&project, &["build"]).await;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let dev = Dev::start(&project).await;
    let log = async |text: &str| {
        let said = dev.process.line_within(text, BUILD_MAX, |line| line.contains(text).then_some(()));
        said.await;
    };
    log("v1 answers").await;
    let first = dev.http.post("/hello/a", "").await.ok().text();
    assert_eq!(first, "hello from hello, you asked for /hello/a\n");
    log("v1 | POST /hello/a").await;
    let source = project.join("src/index.js");
    let text = fs::read_to_string(&source).unwrap();
    let changed = "body: `${request.method} ${await request.text()}`,";
    let (before, after) = (text.find("body:").unwrap(), text.rfind("  };").unwrap());
    fs::write(&source, format!("{}{changed}\n{}", &text[..before], &text[after..])).unwrap();
    log("v2 answers").await;
    let second = dev.http.post("/hello", "gr\u{fc}\u{df}e").await.ok().text();
    assert_eq!(second, "POST gr\u{fc}\u{df}e");
    // A syntax error is shown with its line, and the last good version answers.
    fs::write(&source, "export function handle( {\n").unwrap();
    log("src/index.js:2:").await;
    log("v2 keeps answering").await;
    dev.http.post("/hello", "x").await.ok();
}

#[tokio::test]
async fn typescript_template_answers() {
    if installed("npm", "typescript_template_answers") {
        template_answers("ts").await;
    }
}

#[tokio::test]
async fn python_template_answers() {
    let venv = ["-c", "import ensurepip, venv"];
    if starts(Command::new("python3").args(venv), "Python's venv", "python_template_answers") {
        template_answers("python").await;
    }
}

#[tokio::test]
async fn go_template_answers() {
    let wasi = "go tool dist list | grep -q wasip1/wasm";
    if starts(Command::new("sh").args(["-c", wasi]), "Go 1.21 or later", "go_template_answers") {
        template_answers("go").await;
    }
}

#[tokio::test]
async fn c_template_answers() {
    let compiler =
        "command -v zig || python3 -c 'import ziglang' || test -e /usr/include/wasm32-wasi/stdio.h";
    let what = "a C compiler for WASI";
    if starts(Command::new("sh").args(["-c", compiler]), what, "c_template_answers") {
        template_answers("c").await;
    }
}
