//! Input that is wrong: one error that says what was found and what was expected, and nothing changed.

use std::{path::Path, process::Command};

use serde_json::json;

use crate::harness::{Folder, Node, command::run, guests, wasm_fn};

/// Largest component of the nodes here: more than any prebuilt guest's.
const COMPONENT_MAX: &str = "200KiB";

/// A node with `hello` v1 (stable) and v2, and its revision.
async fn node() -> (Node, u64) {
    let node = Node::start_with(&["--component-max", COMPONENT_MAX]).await;
    node.hello_canary("10%", json!({})).await;
    let revision = node.revision().await;
    (node, revision)
}

/// Checks that the node's state is the one of `revision` and that it serves.
async fn unchanged(node: &Node, revision: u64) {
    assert_eq!(node.revision().await, revision, "something was changed");
    let functions = node.cli_json(&["functions"]).await;
    assert_eq!(functions["functions"].as_array().unwrap().len(), 1, "{functions}");
    node.http.get("/hello").await.ok();
}

/// Components that the node keeps.
fn components(node: &Node) -> usize {
    std::fs::read_dir(node.folder().data().join("blobs")).unwrap().count()
}

#[tokio::test]
async fn file_that_is_no_function_is_refused() {
    let (node, revision) = node().await;
    let kept = components(&node);
    let hello = guests::bytes("hello-v1");
    let truncated = |at: usize| hello[..at].to_vec();
    let cases: [(&str, Vec<u8>, &[&str]); 14] = [
        ("a text", b"hello, world".to_vec(), &["not WebAssembly", "68 65 6c 6c", "00 61 73 6d"]),
        ("nothing", vec![], &["not WebAssembly", "nothing", "00 61 73 6d"]),
        ("the magic number", truncated(4), &["malformed WebAssembly"]),
        (
            "an empty component",
            truncated(8),
            &["exports no handler", "found none", "wasi:http/incoming-handler@0.2"],
        ),
        ("a component cut early", truncated(100), &["malformed WebAssembly"]),
        ("half a component", truncated(hello.len() / 2), &["malformed WebAssembly"]),
        ("a component without its last byte", truncated(hello.len() - 1), &["malformed WebAssembly"]),
        (
            "a component of another world",
            guests::component_without_handler("greet"),
            &["exports no handler", "found greet", "wasi:http/incoming-handler@0.2", "_start"],
        ),
        (
            "a component with an unknown import",
            guests::component_importing("wasi:keyvalue/store@0.2.0"),
            &["does not offer", "wasi:keyvalue/store@0.2.0"],
        ),
        (
            "a component for a candidate of WASI",
            guests::component_importing("wasi:http/types@0.3.0-rc-2025-09-16"),
            &["wasi:http/types@0.3.0-rc-2025-09-16", "build it with released WIT 0.2.x or 0.3.0"],
        ),
        (
            "a component that needs another one",
            guests::component_importing("wasi:http/handler@0.3.0"),
            &["wasi:http/handler@0.3.0", "middleware", "wac plug"],
        ),
        (
            "a module with an unknown import",
            guests::module_importing("env", "magic"),
            &["does not offer", "env/magic"],
        ),
        (
            "a command with a newer WASI",
            guests::module_importing("wasi_snapshot_preview1", "fd_teleport"),
            &["fd_teleport"],
        ),
        ("an unknown version of the format", b"\0asm\x63\0\0\0".to_vec(), &["malformed WebAssembly"]),
    ];
    for (what, bytes, facts) in cases {
        println!("{what}");
        node.folder().write("guest.wasm", bytes);
        node.cli(&["deploy", "guest.wasm"]).await.refused(facts);
        unchanged(&node, revision).await;
        // Neither is it one for a function that is there.
        node.cli(&["deploy", "guest.wasm", "-f", "hello", "--replace"]).await.refused(facts);
        unchanged(&node, revision).await;
    }
    assert_eq!(components(&node), kept, "components that no version is made of are kept");
}

#[tokio::test]
async fn component_over_the_size_limit_is_refused() {
    let (node, revision) = node().await;
    // One byte too many, and far more than is on its way when the node has decided.
    for bytes in [200 * 1024 + 1, 16 << 20] {
        node.folder().write("guest.wasm", vec![0; bytes]);
        node.cli(&["deploy", "guest.wasm"]).await.refused(&["204800"]);
        unchanged(&node, revision).await;
    }
}

#[tokio::test]
async fn component_that_needs_more_memory_than_its_limit_is_refused() {
    let (node, revision) = node().await;
    std::fs::copy(guests::path("env"), node.folder().path().join("env.wasm")).unwrap();
    node.folder().write("wasm-fn.toml", "[function.env]\nmemory = \"64KiB\"\n");
    node.cli(&["deploy", "env.wasm"]).await.refused(&["65536"]);
    unchanged(&node, revision).await;
}

#[tokio::test]
async fn file_that_cannot_be_read_is_named() {
    let (node, revision) = node().await;
    node.cli(&["deploy", "missing.wasm"]).await.refused(&["missing.wasm"]);
    std::fs::create_dir(node.folder().path().join("folder")).unwrap();
    node.cli(&["deploy", "folder"]).await.refused(&["folder"]);
    node.cli(&["deploy"]).await.refused(&["FILE"]);
    unchanged(&node, revision).await;
}

#[tokio::test]
async fn weights_that_are_no_split_are_refused() {
    let (node, revision) = node().await;
    let cases: [(&[&str], i32, &[&str]); 10] = [
        (&["v1=50%", "v2=40%"], 1, &["90%", "expected 100%"]),
        (&["v1=50%", "v2=60%"], 1, &["110%", "expected 100%"]),
        (&["v1=0%", "v2=0%"], 1, &["0%", "expected 100%"]),
        (&["v1=50%", "v1=50%"], 1, &["v1", "twice"]),
        (&["v1=50%", "stable=50%"], 1, &["v1", "twice"]),
        (&["v1=50%", "v9=50%"], 1, &["v9", "`hello`"]),
        (&["v1=101%"], 64, &["101%", "100%"]),
        (&["v1=50"], 64, &["\"50\"", "percentage"]),
        (&["v1=0.001%", "v2=99.999%"], 64, &["0.001%", "percentage"]),
        (&["newest=100%"], 64, &["newest", "latest"]),
    ];
    for (shares, code, facts) in cases {
        let done = node.cli(&[&["traffic", "hello"], shares].concat()).await;
        done.refused_with(code, facts);
        unchanged(&node, revision).await;
    }
    let hello = guests::path("hello-p3");
    for (weight, facts) in [
        ("0%", ["0%", "more than 0%"]),
        ("100%", ["100%", "less than 100%"]),
        ("10% of", ["10% of", "not a step"]),
    ] {
        let flag = format!("--canary={weight}");
        let args = ["deploy", hello.to_str().unwrap(), "-f", "hello", "--replace", &flag];
        node.cli(&args).await.refused_with(64, &facts);
    }
    unchanged(&node, revision).await;
}

#[tokio::test]
async fn names_that_are_no_names_are_refused() {
    let (node, revision) = node().await;
    let hello = guests::path("hello-v2");
    let long = "x".repeat(64);
    for (name, facts) in [
        ("", ["empty", "1 to 63"]),
        (&*long, ["64 bytes", "63"]),
        ("a/b", ["'/'", "a-z"]),
        ("a\nb", ["'\\n'", "a-z"]),
        ("a\u{1b}[31mb", ["'\\u{1b}'", "a-z"]),
        ("Hello", ["'H'", "a-z"]),
        ("-x", ["'-'", "letter or digit"]),
        ("héllo", ["'é'", "a-z"]),
    ] {
        for flag in ["--function", "--stage"] {
            let argument = format!("{flag}={name}");
            let done = node.cli(&["deploy", hello.to_str().unwrap(), &argument]).await;
            done.refused_with(64, &facts);
            assert!(!done.stderr.contains('\u{1b}'), "a name steers the terminal: {:?}", done.stderr);
        }
        // Clients that do not check are refused by the node.
        let body = json!({ "component": "0".repeat(64) });
        let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let path = format!("/v1/functions/{encoded}/deployments");
        let answer = node.api(http::Method::POST, &path, Some(&body)).await;
        assert!(answer.status.is_client_error(), "{name:?}: {}", answer.status);
        let body = json!({ "component": "0".repeat(64), "stage": name });
        let answer = node.api(http::Method::POST, "/v1/functions/hello/deployments", Some(&body)).await;
        assert_eq!(answer.status, 400, "{name:?}: {}", answer.text());
        assert!(answer.text().contains("invalid-name"), "{name:?}: {}", answer.text());
    }
    unchanged(&node, revision).await;
}

#[tokio::test]
async fn configuration_that_is_wrong_is_refused_with_line_and_key() {
    let (node, revision) = node().await;
    std::fs::copy(guests::path("env"), node.folder().path().join("env.wasm")).unwrap();
    let cases: [(&str, &[&str]); 12] = [
        ("[function.env\n", &["wasm-fn.toml:1: "]),
        ("[function.env]\n\nmemroy = \"64MiB\"\n", &["wasm-fn.toml:3: ", "memroy"]),
        ("[functions.env]\n", &["wasm-fn.toml:1: ", "functions"]),
        ("[function.env]\nmemory = \"lots\"\n", &["toml:2: ", "memory", "lots"]),
        ("[function.env]\nmemory = \"1\"\n", &["memory"]),
        ("[function.env]\nmemory = 64\n", &["toml:2: ", "memory"]),
        ("[function.env]\ntimeout = \"soon\"\n", &["toml:2: ", "timeout", "soon"]),
        ("[function.env]\ntimeout = \"2h\"\n", &["timeout"]),
        ("[function.env]\nroutes = [\"no-slash\"]\n", &["toml:2: ", "routes", "no-slash"]),
        ("[function.env]\negress = [\"ftp://x\"]\n", &["toml:2: ", "egress", "ftp://x"]),
        ("[function.env]\nsticky = \"header\"\n", &["toml:2: ", "sticky", "header"]),
        ("[function.env]\nconcurrency = 0\n", &["concurrency", "0"]),
    ];
    for (config, facts) in cases {
        node.folder().write("wasm-fn.toml", config);
        node.cli(&["deploy", "env.wasm"]).await.refused(facts);
        unchanged(&node, revision).await;
    }
}

#[tokio::test]
async fn configuration_of_a_node_that_is_wrong_is_refused() {
    let folder = Folder::new();
    for (config, facts) in [
        ("[serve]\nlisten = \"everywhere\"\n", ["node.toml", "listen"]),
        ("[serve]\nport = 80\n", ["toml:2: ", "port"]),
        ("[serve]\ninstances_max = 0\n", ["instances_max", "0"]),
    ] {
        folder.write("node.toml", config);
        let mut command = wasm_fn();
        command.args(["serve", "--config", "node.toml"]).current_dir(folder.path());
        command.args(["--admin", "127.0.0.1:0", "--data-dir", "data"]);
        run(&mut command).await.refused(&facts);
        assert!(!folder.data().exists(), "a node that refuses to start leaves a data directory");
    }
}

/// A command without a token, of which every source is looked through.
fn without_token(node: &Node, args: &[&str]) -> Command {
    let mut command = node.command(args);
    command.env_remove("WASM_FN_TOKEN");
    command
}

#[tokio::test]
async fn token_that_is_wrong_or_missing_changes_nothing() {
    let (node, _) = node().await;
    let before = node.cli_ok(&["history", "hello", "-o", "json"]).await;
    let hello = guests::path("hello-v1");
    let wrong = format!("wfn_{}", "0".repeat(64));
    let commands: [&[&str]; 4] = [
        &["deploy", hello.to_str().unwrap(), "-f", "intruder"],
        &["promote", "hello"],
        &["delete", "hello", "--yes"],
        &["functions"],
    ];
    for args in commands {
        run(node.command(args).env("WASM_FN_TOKEN", &wrong)).await.refused(&["token"]);
        run(&mut without_token(&node, args)).await.refused(&["token", "WASM_FN_TOKEN"]);
    }
    // The audit log has the refusals, and the function's history nothing.
    unchanged(&node, node.revision().await).await;
    assert_eq!(node.cli_ok(&["history", "hello", "-o", "json"]).await, before);
    // The node's own data directory is a source of the token, too.
    let mut command = without_token(&node, &["functions", "--data-dir", "data"]);
    run(&mut command).await.ok();
}

#[tokio::test]
async fn node_that_cannot_be_reached_is_named_with_how_to_start_one() {
    let folder = Folder::new();
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let hello = guests::path("hello-v1");
    let commands: [&[&str]; 3] = [&["deploy", hello.to_str().unwrap()], &["functions"], &["invoke", "hello"]];
    for args in commands {
        let mut command = wasm_fn();
        command.args(args).args(["--server", &format!("http://{address}"), "--token", "x"]);
        run(command.current_dir(folder.path())).await.refused(&[&address, "wasm-fn serve"]);
    }
}

#[tokio::test]
async fn trusted_proxy_that_is_no_network_is_named() {
    let folder = Folder::new();
    let expected = "expected a network such as 10.0.0.0/8 or fd00::/8, or an address";
    let serve = |args: &[&str]| {
        let mut command = wasm_fn();
        command.arg("serve").args(args).current_dir(folder.path());
        command
    };
    for found in ["nginx", "10.0.0.0/33", "10.0.0.1:80", ""] {
        let done = run(&mut serve(&["--trusted-proxy", found])).await;
        done.refused_with(64, &["--trusted-proxy", &format!("found {found:?}"), expected]);
    }
    folder.write("node.toml", "[serve]\ntrusted_proxies = [\"nginx\"]\n");
    let done = run(&mut serve(&["--config", "node.toml"])).await;
    done.refused(&["node.toml:2: serve.trusted_proxies[0]: found \"nginx\"", expected]);
    run(&mut serve(&["--proxy-protocol"])).await.refused(&["proxy_protocol", "trusted proxies"]);
}

#[tokio::test]
async fn file_without_certificates_is_named() {
    let folder = Folder::new();
    folder.write("empty.pem", "no certificate\n");
    folder.write("node.toml", "[serve]\negress_ca = \"missing.pem\"\n");
    for (args, facts) in [
        (
            ["--egress-ca", "empty.pem"],
            &["empty.pem", "found no certificate", "-----BEGIN CERTIFICATE-----"][..],
        ),
        (["--config", "node.toml"], &["missing.pem"]),
    ] {
        let mut command = wasm_fn();
        command.arg("serve").args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).args(args);
        run(command.current_dir(folder.path())).await.refused(facts);
    }
}

#[tokio::test]
async fn machines_read_the_error_as_json() {
    let (node, _) = node().await;
    let cases: [(&[&str], &str, &str); 2] = [
        // Found before the node is asked, and by the node.
        (&["traffic", "hello", "v1=50%", "v2=40%"], "invalid-split", "90%"),
        (&["rollback", "hello", "--to", "v9"], "no-such-version", "v9"),
    ];
    for (args, code, fact) in cases {
        let done = node.cli(&[args, &["-o", "json"]].concat()).await;
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""));
        let problem: serde_json::Value = serde_json::from_str(&done.stderr).unwrap();
        assert_eq!(problem["code"], code, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(fact), "{problem}");
    }
}

#[tokio::test]
async fn function_that_is_not_there_is_named() {
    let (node, revision) = node().await;
    let commands: [&[&str]; 8] = [
        &["status", "nobody"],
        &["versions", "nobody"],
        &["history", "nobody"],
        &["traffic", "nobody", "v1=100%"],
        &["promote", "nobody"],
        &["rollback", "nobody"],
        &["invoke", "nobody"],
        &["logs", "nobody"],
    ];
    for args in commands {
        node.cli(args).await.refused(&["nobody"]);
    }
    unchanged(&node, revision).await;
}

#[tokio::test]
async fn command_line_that_is_wrong_ends_with_64() {
    let folder = Folder::new();
    let commands: [&[&str]; 5] = [
        &["deplyo"],
        &["deploy", "--canary", "--blue-green", "x.wasm"],
        &["status", "--nope"],
        &["promote"],
        &[],
    ];
    for args in commands {
        let mut command = wasm_fn();
        let done = run(command.args(args).current_dir(folder.path())).await;
        assert_eq!(done.code, Some(64), "{args:?}: {}", done.stderr);
        assert!(!done.stderr.is_empty() && done.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(std::fs::read_dir(Path::new(folder.path())).unwrap().count(), 0);
}
