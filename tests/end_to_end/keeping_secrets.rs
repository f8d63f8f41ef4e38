//! The key of a node's secrets, and the memory that they are in.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{command::run, *};

/// Somebody who is not root, and owns nothing else.
const NOBODY: u32 = 65534;

/// `command`, run by somebody else if root runs these tests: nothing is refused to root.
fn not_as_root(command: &Command, folder: &Folder) -> Command {
    let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
    let mut changed = Command::new(if is_root { "setpriv" } else { "env" });
    if is_root {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        changed.args([&format!("--reuid={NOBODY}"), &format!("--regid={NOBODY}"), "--clear-groups"]);
    }
    changed.arg(command.get_program()).args(command.get_args()).current_dir(folder.path());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => changed.env(name, value),
            None => changed.env_remove(name),
        };
    }
    changed
}

#[tokio::test]
async fn memory_of_a_node_is_for_the_node_only() {
    let mut resets = Vec::new();
    for (args, is_protected) in [(&[][..], true), (&["--allow-core-dumps"], false)] {
        let folder = Folder::new();
        let mut command = not_as_root(&serve(&folder, args), &folder);
        let node = Node::start_as(&mut command, folder).await;
        node.deploy_with("hello", "hello-v1", json!({})).await;
        node.http.get("/hello").await.ok();

        // Of a process that may not be dumped, /proc belongs to root.
        let process = format!("/proc/{}", node.process().id());
        let belongs_to_root = fs::metadata(format!("{process}/status")).unwrap().uid() == 0;
        assert_eq!(belongs_to_root, is_protected, "{args:?}");
        let limits = fs::read_to_string(format!("{process}/limits")).unwrap();
        let cores = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        assert!(!is_protected || cores.split_whitespace().nth(4) == Some("0"), "{cores}");

        let reset = |line: &str| {
            let line: Value = serde_json::from_str(line).ok()?;
            line["message"]
                .as_str()
                .filter(|message| message.starts_with("instance memory"))
                .map(str::to_owned)
        };
        resets.push(node.process().line("how memory is reset", reset).await);
    }
    assert_eq!(resets[0], resets[1], "a protected node cannot read what the other can");
}

#[tokio::test]
async fn node_without_a_key_does_not_start_and_says_why() {
    let key = format!("wfk_{}", "0123456789abcdef".repeat(4));
    let folder = Folder::new();
    fs::create_dir(folder.data()).unwrap();
    let file = folder.data().join("secrets.key");
    fs::write(&file, &key).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let facts = ["secrets.key has mode 0644", "expected 0600"];
    run(&mut serve(&folder, &[])).await.refused(&facts);

    let variable = |value: &str, args: &[&str]| {
        let mut command = serve(&folder, args);
        command.env("WASM_FN_SECRETS_KEY", value);
        command
    };
    let command = ["--secrets-key-command", "cat nowhere"];
    run(&mut variable("wfk_12", &[]))
        .await
        .refused(&["WASM_FN_SECRETS_KEY holds no key", "found 2 characters"]);
    run(&mut variable(&key, &command)).await.refused(&["both set", "expected one of them"]);
    run(&mut serve(&folder, &command)).await.refused(&[
        "`secrets_key_command` failed",
        "cat ended with",
        "nowhere",
    ]);

    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let node = Node::start_on(folder, &[]).await;
    let log = node.process().log();
    assert!(log.contains("key of the node's secrets") && !log.contains(&key[4..20]), "{log}");
}

#[tokio::test]
async fn function_that_names_a_secret_is_refused_while_none_can_be_set() {
    let node = Node::start().await;
    node.folder().write("wasm-fn.toml", "[function.hello]\nsecrets = [\"API_KEY\"]\n");
    let guest = guests::path("secrets");
    let deploy = node.cli(&["deploy", guest.to_str().unwrap(), "-f", "hello"]).await;
    deploy.refused(&["secret API_KEY is not set"]);
}
