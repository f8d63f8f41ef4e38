//! What a newcomer types, and whether what the program proposes works.

use std::path::Path;

use serde_json::json;

use crate::harness::{
    Folder, Node, Process,
    command::{run, run_with},
    guests, patiently, wasm_fn,
};

/// The commands that a command proposes on stderr, after `next:` or in `help:`.
fn proposed(stderr: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut listed = false;
    for line in stderr.lines() {
        listed = line.starts_with("next:") || (listed && line.starts_with("      "));
        if listed {
            let command = line.trim_start_matches("next:").trim_start();
            commands.extend(command.split_once("  ").map(|(command, _)| command.to_owned()));
        } else if let Some(help) = line.strip_prefix("help:") {
            let quoted = help.split('`').skip(1).step_by(2);
            commands.extend(quoted.filter(|text| text.starts_with("wasm-fn ")).map(str::to_owned));
        }
    }
    commands
}

/// Runs a proposed command; it must succeed.
async fn follow(node: &Node, command: &str) {
    println!("{command}");
    if let Some(url) = command.strip_prefix("curl ") {
        let path = url.strip_prefix(&format!("http://{}", node.listen)).expect("a URL of this node");
        node.http.get(path).await.ok();
        return;
    }
    let words: Vec<_> = command.split_whitespace().skip(1).filter(|word| *word != "-w").collect();
    node.cli_ok(&words).await;
}

#[tokio::test]
async fn every_command_that_a_deployment_proposes_works() {
    let node = Node::start().await;
    let cases: [&[&[&str]]; 7] = [
        &[&["hello-v1"]],
        &[&["hello-v1", "--no-traffic"]],
        &[&["hello-v1"], &["hello-v2", "--no-traffic"]],
        &[&["hello-v1", "-s", "staging"], &["hello-v2", "-s", "staging"]],
        &[&["hello-v1"], &["hello-v2", "--canary", "10%,50%"]],
        &[&["hello-v1"], &["hello-v2", "--blue-green", "--manual"]],
        &[&["hello-v1"], &["hello-v2", "--canary"], &["hello-p3", "--no-traffic"]],
    ];
    for (number, deployments) in cases.into_iter().enumerate() {
        // Some of the commands exclude each other, so each one gets a function of its own.
        let mut tried = 0;
        loop {
            let function = format!("f{number}-{tried}");
            let mut stderr = String::new();
            for words in deployments {
                let file = guests::path(words[0]);
                let deploy = ["deploy", file.to_str().expect("the path is text"), "-f", &function];
                stderr = node.cli(&[&deploy, &words[1..]].concat()).await.ok().stderr;
            }
            let commands = proposed(&stderr);
            assert!(!commands.is_empty(), "{deployments:?} proposes nothing:\n{stderr}");
            let Some(command) = commands.get(tried) else { break };
            follow(&node, command).await;
            tried += 1;
        }
    }
}

/// The words of a command, as a shell takes them apart: at blanks, but not between double quotes.
fn words(command: &str) -> Vec<&str> {
    let mut words = Vec::new();
    for (index, part) in command.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    words
}

#[tokio::test]
async fn tour_of_the_readme_works() {
    let node = Node::start().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let readme = std::fs::read_to_string(root.join("README.md")).expect("the repository has a README");
    let (_, tour) = readme.split_once("## A canary in five minutes").expect("the README has the tour");
    let (tour, _) = tour.split_once("\n## ").expect("the tour is not the last section");
    let lines = tour.lines().filter_map(|line| line.strip_prefix("$ "));
    let commands: Vec<_> = lines.map(|line| line.split(" #").next().unwrap_or_default().trim()).collect();
    for word in ["deploy", "invoke", "status", "history", "rollback", "promote", "traffic"] {
        let shown = commands.iter().any(|command| command.starts_with(&format!("wasm-fn {word} ")));
        assert!(shown, "the tour has no `wasm-fn {word}`: {commands:?}");
    }
    for command in commands {
        println!("{command}");
        let words: Vec<_> = words(command).into_iter().filter(|word| *word != "-w").collect();
        match words[..] {
            // The node of this test runs already.
            ["cargo", ..] | ["wasm-fn", "serve"] => {}
            ["curl", ..] => assert_eq!(node.http.get("/hello").await.ok().status, 200),
            _ => {
                let asking = async {
                    loop {
                        // Before the first deployment there is nothing; after it, nobody sees a failure.
                        let status = node.http.get("/hello").await.status;
                        assert!(status == 200 || status == 404, "{status}");
                    }
                };
                let mut command = node.command(&words[1..]);
                let done = tokio::select! {
                    done = run_with(command.current_dir(&root), b"what a user types\n") => done,
                    () = asking => unreachable!("it never ends"),
                };
                // It is taken back, which its exit code says.
                let expected = if words.contains(&"--wait") { 2 } else { 0 };
                assert_eq!(done.code, Some(expected), "{words:?}: {}{}", done.stdout, done.stderr);
            }
        }
    }
}

#[tokio::test]
async fn configuration_is_checked_without_a_node() {
    let folder = Folder::new();
    let check = async |args: &[&str]| {
        let mut command = wasm_fn();
        run(command.args(["config", "check"]).args(args).current_dir(folder.path())).await
    };
    check(&[]).await.refused(&["wasm-fn.toml", "No such file"]);
    let valid =
        "[serve]\nlisten = \"localhost:80\"\n[function.api]\ncomponent = \"api.wasm\"\n[function.web]\n";
    folder.write("wasm-fn.toml", valid);
    let done = check(&[]).await.ok();
    assert_eq!(done.stdout, "wasm-fn.toml is valid and has 2 functions: api, web\n");
    assert!(done.stderr.contains("api.wasm"), "{}", done.stderr);
    folder.write("api.wasm", "");
    assert_eq!(check(&[]).await.ok().stderr, "");
    let json = check(&["-o", "json"]).await.ok().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    assert_eq!(json["functions"][0]["component_exists"], true, "{json}");
    for (text, facts) in [
        ("[function.a]\nmemroy = \"1MiB\"\n", &["other.toml:2: function.a.memroy", "`memory`"][..]),
        ("[function.a]\nqueue = 1\nqueue = 2\n", &["other.toml:3: function.a.queue: duplicate key"]),
        ("[serve]\nconnections_max = 0\n", &["other.toml: serve.connections_max", "1 to 1000000"]),
        // What only the node looks at when it deploys.
        ("[function.a.rollout]\nstrategy = \"blue-green\"\nkeep = \"31days\"\n", &["function.a", "30 days"]),
        (
            "[function.a.rollout]\nstrategy = \"blue-green\"\nchecks = [{ path = \"/\", expect = { body = \"(\" } }]\n",
            &["function.a", "check of /"],
        ),
    ] {
        folder.write("other.toml", text);
        check(&["other.toml"]).await.refused(facts);
    }
}

#[tokio::test]
async fn tables_have_colours_only_for_people_who_want_them() {
    let node = Node::start().await;
    for guest in ["hello-v1", "hello-v2"] {
        node.deploy_with("hello", guest, json!({})).await;
    }
    node.cli_ok(&["rollback", "hello"]).await;
    let red = "\u{1b}[31m";
    for (variables, coloured) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
    ] {
        for args in [["history", "hello"], ["versions", "hello"], ["status", "hello"]] {
            let mut command = node.command(&args);
            command.env_remove("NO_COLOR").envs(variables.iter().copied());
            let printed = run(&mut command).await.ok().stdout;
            assert_eq!(printed.contains(red), coloured, "{args:?} with {variables:?}:\n{printed}");
        }
        let json =
            run(node.command(&["history", "hello", "-o", "json"]).env("CLICOLOR_FORCE", "1")).await.ok();
        assert!(!json.stdout.contains('\u{1b}'), "{}", json.stdout);
    }
}

#[tokio::test]
async fn weights_that_are_proposed_are_accepted() {
    let node = Node::start().await;
    for guest in ["hello-v1", "hello-v2"] {
        node.deploy_with("hello", guest, json!({})).await;
    }
    for shares in [["v1=0%", "v2=90%"], ["v1=50%", "v2=60%"], ["v1=99%", "v2=0%"]] {
        let refused = node.cli(&["traffic", "hello", shares[0], shares[1]]).await;
        refused.refused(&["weights add up to", "expected 100%"]);
        let commands = proposed(&refused.stderr);
        assert_eq!(commands.len(), 1, "{}", refused.stderr);
        follow(&node, &commands[0]).await;
    }
    node.cli_ok(&["traffic", "hello", "v1=0%", "v2=100%"]).await;
    assert_eq!(node.live("hello").await["split"], json!([{ "version": "v2", "weight": "100%" }]));
}

#[tokio::test]
async fn rollback_says_from_where_to_where() {
    let node = Node::start().await;
    for guest in ["hello-v1", "hello-v2"] {
        node.deploy_with("hello", guest, json!({})).await;
    }
    let said = node.cli_ok(&["rollback", "hello"]).await;
    assert_eq!(said, "hello rolled back from v2 to v1, traffic is v1=100%\n");
    let said = node.cli_ok(&["rollback", "hello", "--to", "v1"]).await;
    assert_eq!(said, "hello v1 has all traffic already, nothing was changed\n");
}

#[tokio::test]
async fn port_of_the_functions_is_not_taken_for_the_admin_api() {
    let node = Node::start().await;
    // A function that answers everything could pass for a node.
    node.deploy_with("hello", "hello-v1", json!({ "routes": ["/*"] })).await;
    let server = format!("http://{}", node.listen);
    let file = guests::path("hello-v2");
    let commands: [&[&str]; 4] =
        [&["functions"], &["rollback", "hello"], &["logs", "hello"], &["deploy", file.to_str().unwrap()]];
    for args in commands {
        let done = node.cli(&[args, &["--server", &server]].concat()).await;
        done.refused(&["serves functions", "admin API", "--server"]);
    }
}

#[tokio::test]
async fn function_that_the_file_does_not_have_is_told_of() {
    let node = Node::start().await;
    node.folder().write("wasm-fn.toml", "[function.helo]\nmemory = \"64MiB\"\n");
    let file = guests::path("hello-v1");
    let done = node.cli(&["deploy", file.to_str().unwrap(), "-f", "hello"]).await.ok();
    assert!(done.stderr.contains("wasm-fn.toml has no [function.hello]"), "{}", done.stderr);
    let done = node.cli(&["deploy", file.to_str().unwrap(), "-f", "helo"]).await.ok();
    assert!(!done.stderr.contains("has no [function"), "{}", done.stderr);
}

#[tokio::test]
async fn log_filter_without_a_level_is_refused() {
    let folder = Folder::new();
    for filter in ["inof", "wasm_fn_server", "wasm_fn_server=verbose"] {
        for argument in [&["serve", "--log", filter][..], &["demo", "--log", filter]] {
            let mut command = wasm_fn();
            command.args(argument).current_dir(folder.path());
            run(&mut command).await.refused(&[filter, "target=level", "info"]);
        }
        let mut command = wasm_fn();
        command.arg("serve").env("WASM_FN_LOG", filter).current_dir(folder.path());
        run(&mut command).await.refused(&[filter]);
    }
}

#[tokio::test]
async fn answer_of_500_is_found_in_the_log_by_its_id_status_and_time() {
    let node = Node::start().await;
    node.deploy("cgi").await;
    node.deploy("trap").await;
    let mut ids = Vec::new();
    for status in ["200", "500", "503"] {
        let answer = node.http.get(&format!("/cgi/shop?status={status}&key=secret")).await;
        assert_eq!(answer.status.as_str(), status);
        ids.push(answer.headers["wasm-fn-request-id"].to_str().unwrap().to_owned());
    }
    let lines = async |filter: &[&str]| {
        let printed = node.cli_ok(&[&["logs", "cgi"], filter].concat()).await;
        printed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = lines(&[]).await;
    assert_eq!(all.len(), 2, "{all:?}");
    for word in ["v1", &ids[1], "failed 500", "GET /cgi/shop after ", "guest answered 500"] {
        assert!(all[0].contains(word), "{word:?} is not in {all:?}");
    }
    assert!(!all.concat().contains("secret"), "{all:?}");
    assert_eq!(lines(&["--status", "503"]).await, all[1..]);
    assert_eq!(lines(&["--status", "5xx"]).await, all);
    assert_eq!(lines(&["--request", &ids[1]]).await, all[..1]);
    assert_eq!(lines(&["--request", &ids[2][..12].to_uppercase()]).await, all[1..]);
    assert_eq!(lines(&["--since", "1h"]).await, all);
    assert!(lines(&["--until", "1h"]).await.is_empty());
    node.cli(&["logs", "cgi", "--status", "404"]).await.refused(&["404", "500 to 599"]);
    node.cli(&["logs", "cgi", "--request", "x"]).await.refused(&["\"x\"", "wasm-fn-request-id"]);

    let failed = node.cli(&["invoke", "trap", "--path", "/before"]).await;
    let commands = proposed(&failed.stderr);
    assert!(failed.code == Some(1) && commands.len() == 1, "{failed:?}");
    follow(&node, &commands[0]).await;
}

#[tokio::test]
async fn node_listens_on_a_name() {
    let folder = Folder::new();
    folder.write("node.toml", "[serve]\nadmin = \"localhost:0\"\n");
    let mut command = wasm_fn();
    command.args(["serve", "--listen", "localhost:0", "--config", "node.toml", "--data-dir", "data"]);
    let node = Process::spawn(command.current_dir(folder.path()));
    let line = node.line("the addresses", |line| line.contains("node is listening").then(|| line.to_owned()));
    let line = line.await;
    assert_eq!(line.matches("=127.0.0.1:").count(), 2, "{line}");
}

#[tokio::test]
async fn version_without_traffic_gets_all_of_it_by_hand() {
    let node = Node::start().await;
    let file = guests::path("hello-v1");
    node.cli(&["deploy", file.to_str().unwrap(), "-f", "hello", "--no-traffic"]).await.ok();
    node.http.get("/hello").await.problem(404, "no-such-function");
    node.cli_ok(&["traffic", "hello", "v1=100%"]).await;
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    let folder = node.kill().await;
    let node = patiently("the restart", Node::start_on(folder, &[])).await;
    assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    // The same file, now with traffic to lose.
    let done = run(&mut node.command(&["deploy", file.to_str().unwrap(), "-f", "hello"])).await.ok();
    assert!(done.stdout.contains("nothing was changed"), "{}", done.stdout);
}
