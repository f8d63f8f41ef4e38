//! The key of a node's secrets, and the memory that they are in.
//!
//! `WASM_FN_TEST_VALUES` sets how many values are looked for.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::Command,
};

use aho_corasick::AhoCorasick;
use http::Method;
use serde_json::{Value, json};

use crate::harness::{
    client::Answer,
    command::{Done, run, run_with},
    *,
};

/// Values of an ordinary run.
const VALUES: usize = 40;

/// Most values of one function.
const OF_FUNCTION: usize = 64;

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
            (line["message"] == "memory reset").then(|| line["reset"].as_str().unwrap().to_owned())
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
async fn node_whose_key_file_is_gone_does_not_start_and_makes_no_other() {
    let node = Node::start().await;
    set(&node, "API_KEY", b"hunter2", &[]).await.ok();
    let folder = node.kill().await;
    let (file, elsewhere) = (folder.data().join("secrets.key"), folder.path().join("elsewhere"));
    fs::rename(&file, &elsewhere).unwrap();
    run(&mut serve(&folder, &[])).await.refused(&[
        &format!("key file {} is missing", file.display()),
        "neither WASM_FN_SECRETS_KEY nor `secrets_key_command` is set",
        "start it with the key that it had",
    ]);
    let left = fs::read_dir(folder.data()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("secrets.key")).collect();
    assert_eq!(left, Vec::<std::ffi::OsString>::new());
    fs::rename(&elsewhere, &file).unwrap();
    let node = Node::start_on(folder, &[]).await;
    let list = node.cli_json(&["secrets", "list", "-f", "hello"]).await;
    assert_eq!(list["secrets"][0]["name"], "API_KEY", "{list}");
}

/// Sets a secret of `hello` with the command line, whose standard input is `value`.
async fn set(node: &Node, name: &str, value: &[u8], args: &[&str]) -> Done {
    let mut command = node.command(&[&["secrets", "set", name, "-f", "hello"], args].concat());
    run_with(&mut command, value).await
}

/// What `hello` answers at `path`.
async fn answer_of(node: &Node, path: &str) -> String {
    node.http.get(&format!("/hello{path}")).await.ok().text()
}

const ALL_AT_ONCE: &str =
    "[function.hello]\nsecrets = [\"API_KEY\"]\nrollout = { strategy = \"all-at-once\" }\n";

#[tokio::test]
async fn function_gets_its_secrets_and_keeps_them_until_the_next_deployment() {
    let node = Node::start().await;
    let guest = guests::path("secrets");
    let deploy = ["deploy", guest.to_str().unwrap(), "-f", "hello"];
    node.folder().write("wasm-fn.toml", "[function.hello]\nsecrets = [\"API_KEY\", \"DB_URL\"]\n");
    node.cli(&deploy)
        .await
        .refused(&["secrets API_KEY, DB_URL are not set", "wasm-fn secrets set DB_URL -f hello -s live"]);
    node.folder().write("wasm-fn.toml", ALL_AT_ONCE);

    let first = set(&node, "API_KEY", b"hunter2-of-old\n", &[]).await.ok();
    assert!(first.stdout.contains("API_KEY of hello in live is set (revision 1)"), "{first:?}");
    let functions = node.api_ok(Method::GET, "/v1/functions", None).await;
    assert_eq!(functions["functions"], json!([]), "a function that only has secrets is not deployed");
    node.cli(&deploy).await.ok();
    assert_eq!(answer_of(&node, "/get/API_KEY").await, "hunter2-of-old", "one newline at the end is cut");

    // A new value reaches nobody by itself, even after a restart.
    set(&node, "API_KEY", b"hunter3", &[]).await.ok();
    assert_eq!(answer_of(&node, "/get/API_KEY").await, "hunter2-of-old");
    let node = Node::start_on(node.kill().await, &[]).await;
    assert_eq!(answer_of(&node, "/get/API_KEY").await, "hunter2-of-old");

    // With a deployment it does, and a rollback brings the old one back.
    let deployed = set(&node, "API_KEY", b"hunter4", &["--deploy"]).await.ok();
    assert!(deployed.stdout.contains("v2"), "{deployed:?}");
    assert_eq!(answer_of(&node, "/get/API_KEY").await, "hunter4");
    let list = node.cli_json(&["secrets", "list", "-f", "hello"]).await;
    assert_eq!(list["secrets"][0]["revision"], 3);
    let users = json!([{ "version": "v2", "revision": 3 }, { "version": "v1", "revision": 1 }]);
    assert_eq!(list["secrets"][0]["used_by"], users);
    node.cli(&["rollback", "hello"]).await.ok();
    assert_eq!(answer_of(&node, "/get/API_KEY").await, "hunter2-of-old");
    node.cli(&["secrets", "delete", "API_KEY", "-f", "hello"]).await.refused(&["API_KEY", "used by v1"]);
}

/// Sets a secret of `hello` through the admin API.
async fn put(node: &Node, name: &str, value: &[u8]) -> Answer {
    let path = format!("/v1/functions/hello/stages/live/secrets/{name}");
    node.api_send(Method::PUT, &path, "application/octet-stream", value.to_vec()).await
}

#[tokio::test]
async fn value_that_is_none_is_refused_and_not_shown() {
    let node = Node::start().await;
    let long = vec![b'x'; 1 << 20];
    let bad: [(&[u8], &str); 4] = [
        (b"", "the value is empty, expected 1 byte to 64 KiB"),
        (&long, "the value has 1048576 bytes, expected at most 64 KiB"),
        (b"hunt\0er2", "the value has a NUL at byte 4"),
        (b"hunter\xff", "the value is not UTF-8 from byte 6 on"),
    ];
    for (value, fact) in bad {
        let answer = put(&node, "API_KEY", value).await;
        assert_eq!(answer.status, 400, "{answer:?}");
        let text = answer.text();
        assert!(text.contains("invalid-secret") && text.contains(fact) && !text.contains("hunt"), "{text}");
        let refused = set(&node, "API_KEY", value, &[]).await;
        refused.refused(&[fact]);
        assert!(!refused.stderr.contains("hunt"), "{refused:?}");
    }
    let answer = put(&node, "API_KEY", &[b'x'; (1 << 20) + 1]).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    assert_eq!(put(&node, "API-KEY", b"hunter2").await.status, 400);
    set(&node, "API_KEY=hunter2", b"", &[]).await.refused_with(64, &["found `=`", "standard input"]);
    let list = node.cli_json(&["secrets", "list", "-f", "hello"]).await;
    assert_eq!(list["secrets"], json!([]));
    // Newlines belong to a value, but for one at its end.
    set(&node, "API_KEY", b"a\nb\n\n", &[]).await.ok();
    node.deploy_with("hello", "secrets", json!({ "secrets": ["API_KEY"] })).await;
    assert_eq!(answer_of(&node, "/get/API_KEY").await, "a\nb\n");
}

#[tokio::test]
async fn program_of_cgi_reads_its_secrets_from_the_environment() {
    let node = Node::start().await;
    // The guest shows variables with such names only.
    put(&node, "HTTP_API_KEY", b"hunter2-of-env").await.ok();
    put(&node, "HTTP_OTHER", b"not for this function").await.ok();
    let config = |is_env| json!({ "secrets": ["HTTP_API_KEY"], "secrets_env": is_env });
    node.deploy_with("hello", "cgi", config(true)).await;
    let forged = [("api-key", "forged")];
    let told = node.http.get_as("/hello", &forged).await.ok().text();
    assert!(told.contains("HTTP_API_KEY=hunter2-of-env\n"), "{told}");
    assert!(!told.contains("forged") && !told.contains("HTTP_OTHER"), "{told}");
    node.deploy_with("hello", "cgi", config(false)).await;
    let told = node.http.get("/hello").await.ok().text();
    assert!(!told.contains("HTTP_API_KEY"), "{told}");
}

#[tokio::test]
async fn dotenv_file_is_imported_as_a_whole_or_not_at_all() {
    let node = Node::start().await;
    node.folder().write("bad.env", "API_KEY=hunter2\nDB_URL=\n");
    let import = async |file| node.cli(&["secrets", "import", file, "-f", "hello"]).await;
    let refused = import("bad.env").await;
    refused.refused(&["secret DB_URL", "the value is empty"]);
    assert!(!refused.stderr.contains("hunter2"), "{refused:?}");
    assert_eq!(node.cli_json(&["secrets", "list", "-f", "hello"]).await["secrets"], json!([]));
    node.folder().write(".env", "API_KEY=hunter2\nexport DB_URL='postgres://db'\n");
    import(".env").await.ok();
    node.deploy_with("hello", "secrets", json!({ "secrets": ["API_KEY", "DB_URL"] })).await;
    assert_eq!(answer_of(&node, "/get/DB_URL").await, "postgres://db");
}

#[tokio::test]
async fn node_with_another_key_does_not_start() {
    let node = Node::start().await;
    put(&node, "API_KEY", b"hunter2").await.ok();
    let folder = node.kill().await;
    let mut command = serve(&folder, &[]);
    command.env("WASM_FN_SECRETS_KEY", format!("wfk_{}", "0123456789abcdef".repeat(4)));
    let told = run(&mut command).await;
    assert_eq!(told.stderr.matches("and this node has").count(), 1, "{}", told.stderr);
    told.refused(&[
        "secrets cannot be opened",
        "sealed under the node key",
        "start it with the key that it had",
    ]);
    let node = Node::start_on(folder, &[]).await;
    node.deploy_with("hello", "secrets", json!({ "secrets": ["API_KEY"] })).await;
    assert_eq!(answer_of(&node, "/get/API_KEY").await, "hunter2");
}

/// The forms of `value` to look for.
fn forms(value: &str) -> Vec<Vec<u8>> {
    let base64 = base64(value.as_bytes());
    // What stands before the value shifts its base64; the last digits depend on what follows.
    let shifted = |by: usize| {
        let text = base64_of_shifted(value, by);
        text[2..text.len() - 4].to_owned()
    };
    let percent: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
    let forms =
        [value.to_owned(), base64.trim_end_matches('=').to_owned(), shifted(1), shifted(2), percent, hex];
    forms.into_iter().map(String::into_bytes).collect()
}

fn base64_of_shifted(value: &str, by: usize) -> String {
    let text = base64(&[&vec![b'x'; by], value.as_bytes()].concat());
    text.trim_end_matches('=').to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits =
            group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(move |at| DIGITS[(bits >> (18 - 6 * at) & 63) as usize] as char);
        digits.chain(std::iter::repeat_n('=', 3 - group.len())).collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

fn all_files(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all_files(&path, found);
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
}

/// Random values, by the functions that get them: each `hello…`, with the names of its secrets.
fn random_values() -> Vec<(String, Vec<(String, String)>)> {
    let count = std::env::var("WASM_FN_TEST_VALUES").ok();
    let count = count.map_or(VALUES, |text| text.parse().expect("a number"));
    let values: Vec<_> =
        (0..count).map(|at| (format!("S{at}"), format!("{:032x}", rand::random::<u128>()))).collect();
    let functions = values.chunks(OF_FUNCTION).enumerate();
    functions.map(|(at, values)| (format!("hello{at}"), values.to_vec())).collect()
}

async fn put_of(node: &Node, function: &str, name: &str, value: &str) -> Answer {
    let path = format!("/v1/functions/{function}/stages/live/secrets/{name}");
    node.api_send(Method::PUT, &path, "application/octet-stream", value.as_bytes().to_vec()).await.ok()
}

#[tokio::test]
async fn values_are_nowhere_but_in_their_guest() {
    let node = Node::start().await;
    let functions = random_values();
    let mut seen = Vec::new();
    let mut see = async |node: &Node, path: String| {
        seen.push((path.clone(), node.api(Method::GET, &path, None).await.ok().body.to_vec()));
    };
    let mut said = Vec::new();
    for round in 0..2 {
        for (function, values) in &functions {
            for (name, value) in values {
                let answer = put_of(&node, function, name, &format!("{value}-{round}")).await;
                said.push((format!("setting {name}"), answer.body.to_vec()));
            }
            let names: Vec<_> = values.iter().map(|(name, _)| name).collect();
            node.deploy_with(function, "secrets", json!({ "secrets": names })).await;
            for (name, value) in values {
                let told = node.http.get(&format!("/{function}/get/{name}")).await.ok().text();
                assert_eq!(told, format!("{value}-{round}"));
                node.http.get(&format!("/{function}/log/{name}")).await.ok();
                node.http.get(&format!("/{function}/panic/{name}")).await;
            }
            // Later lines push earlier ones out of the log.
            see(&node, format!("/v1/functions/{function}/logs?after=0")).await;
        }
        node.cli(&["secrets", "rotate-key"]).await.ok();
        let value = functions[0].1[0].1.as_bytes();
        set(&node, "NOT-A-NAME", value, &[]).await.refused_with(64, &["NOT-A-NAME"]);
    }
    let logs = node.logs(&functions[0].0).await;
    assert!(logs.iter().any(|line| line["text"].as_str().is_some_and(|text| text.contains("is *** here"))));
    for (function, _) in &functions {
        for path in ["", "/versions", "/history?limit=1000", "/logs", "/stages/live/secrets"] {
            see(&node, format!("/v1/functions/{function}{path}")).await;
        }
    }
    for path in ["/v1/functions", "/v1/audit?limit=1000", "/v1/node", "/metrics", "/v1/backup"] {
        see(&node, path.to_owned()).await;
    }
    seen.extend(said);
    let values: Vec<_> = functions.iter().flat_map(|(_, values)| values).map(|(_, value)| value).collect();
    seen.push(("log of the node".to_owned(), node.process().log().into_bytes()));
    let folder = node.kill().await;
    all_files(&folder.data(), &mut seen);
    assert!(seen.iter().any(|(place, _)| place.ends_with("state.redb")));
    let wanted: Vec<_> = values.iter().copied().flat_map(|value| forms(value)).collect();
    let wanted = AhoCorasick::new(&wanted).unwrap();
    for (place, bytes) in &seen {
        let found = wanted.find(bytes).map(|found| String::from_utf8_lossy(&bytes[found.range()]));
        assert_eq!(found, None, "a value in {place}");
    }
    // What is looked for would be found.
    assert!(wanted.is_match(&base64(format!("xx{}yy", values[0]).as_bytes())));

    let node = Node::start_on(folder, &[]).await;
    let told = node.http.get("/hello0/get/S7").await.ok().text();
    assert_eq!(told, format!("{}-1", values[7]));
}

/// What a core dump of the process `id` would have: all its memory that can be read. Only root may look.
fn memory_of(id: u32) -> Vec<(String, Vec<u8>)> {
    use std::os::unix::fs::FileExt as _;
    let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{id}/mem")).unwrap();
    let mut found = Vec::new();
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|mode| mode.starts_with('r'))) {
        let (begin, end) = line.split(' ').next().and_then(|range| range.split_once('-')).unwrap();
        let address = |digits| u64::from_str_radix(digits, 16).unwrap();
        let (mut at, end) = (address(begin), address(end));
        // Pieces that overlap by more than a value is long.
        while at < end {
            let bytes = usize::try_from((end - at).min(64 << 20)).unwrap();
            let mut piece = vec![0; bytes];
            // The kernel's own pages cannot be read.
            if memory.read_exact_at(&mut piece, at).is_ok() {
                found.push((line.to_owned(), piece));
            }
            at += if bytes == 64 << 20 { (64 << 20) - 4096 } else { bytes as u64 };
        }
    }
    found
}

#[tokio::test]
async fn values_are_overwritten_when_nothing_has_them_any_more() {
    let node = Node::start().await;
    if fs::File::open(format!("/proc/{}/mem", node.process().id())).is_err() {
        let test = "values_are_overwritten_when_nothing_has_them_any_more";
        programs::skip(test, "only root may read the memory of a node");
        return;
    }
    let functions = random_values();
    for (function, values) in &functions {
        for (name, value) in values {
            put_of(&node, function, name, value).await;
        }
        let names: Vec<_> = values.iter().map(|(name, _)| name).collect();
        node.deploy_with(function, "secrets", json!({ "secrets": names })).await;
    }
    let values: Vec<_> = functions.iter().flat_map(|(_, values)| values).map(|(_, value)| value).collect();
    let wanted: Vec<_> = values.iter().copied().flat_map(|value| forms(value)).collect();
    let wanted = AhoCorasick::new(&wanted).unwrap();
    let seen = |what: &str| {
        let mut found = std::collections::BTreeSet::new();
        let mut places = std::collections::BTreeMap::<String, usize>::new();
        for (place, bytes) in memory_of(node.process().id()) {
            for one in wanted.find_iter(&bytes) {
                found.insert(one.pattern().as_usize() / 6);
                *places.entry(place.clone()).or_default() += 1;
            }
        }
        println!("{what}: {} of {} values: {places:?}", found.len(), values.len());
        found.len()
    };
    assert_eq!(seen("deployed"), values.len());
    for (function, _) in &functions {
        node.api(Method::DELETE, &format!("/v1/functions/{function}"), None).await.ok();
    }
    assert_eq!(seen("deleted"), 0);
}
