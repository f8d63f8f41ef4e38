//! Backups of nodes at work, and nodes on what was restored.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use http::{Method, StatusCode};
use serde_json::{Value, json};
use wasm_fn_api::{BLOCK_BYTES, BackupManifest, END_BYTES, MemberHeader};

use crate::harness::{
    Folder, Node,
    command::{Done, run},
    guests, patiently,
    programs::starts,
    wasm_fn,
};

/// Runs `wasm-fn restore` of `file` into the data directory of `folder`.
async fn restore(file: &Path, folder: &Folder) -> Done {
    let mut command = wasm_fn();
    command.arg("restore").arg(file).arg("--data-dir").arg(folder.data()).current_dir(folder.path());
    run(&mut command).await
}

/// Backs `node` up into the file `name` beside its data; gives what the command prints.
async fn back_up(node: &Node, name: &str) -> Value {
    node.cli_json(&["backup", name]).await
}

/// Everything in the data directory of `folder`, by name, without what is in folders.
fn names(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.data()).expect("there is a data directory");
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

/// The history of `function` up to `revision`, oldest first; empty if there has been none.
async fn history(node: &Node, function: &str, revision: u64) -> Vec<Value> {
    let path = format!("/v1/functions/{function}/history?limit=1000");
    if node.api(Method::GET, &path, None).await.status == StatusCode::NOT_FOUND {
        return Vec::new();
    }
    let mut page = node.api_ok(Method::GET, &path, None).await;
    let entries = page["entries"].as_array_mut().expect("a history has entries").drain(..).rev();
    entries.filter(|entry| entry["revision"].as_u64().expect("a number") <= revision).collect()
}

/// Sends requests and makes changes until `enough`: splits, deployments and deletions.
async fn work(node: &Node, enough: &AtomicBool) -> u64 {
    let requests = async {
        let mut answered = 0;
        while !enough.load(Relaxed) {
            node.http.get("/hello").await.ok();
            answered += 1;
        }
        answered
    };
    let changes = async {
        let mut number = 0;
        while !enough.load(Relaxed) {
            number += 1;
            let weight = number % 90 + 5;
            node.split_hello(&[("v2", &format!("{weight}%")), ("v1", &format!("{}%", 100 - weight))]).await;
            // Its component is used by no other function, so it is removed and stored again each time.
            node.deploy_with("comes-and-goes", "echo", json!({ "env": { "N": number.to_string() } })).await;
            node.api_ok(Method::DELETE, "/v1/functions/comes-and-goes", None).await;
        }
    };
    tokio::join!(requests, changes).0
}

#[tokio::test]
async fn backups_of_a_node_under_load_are_the_state_at_one_revision() {
    let node = Node::start().await;
    node.hello_canary("30%", json!({})).await;
    node.deploy("cgi").await;
    let enough = Arc::new(AtomicBool::new(false));
    let backups = async {
        let mut made: Vec<Value> = Vec::new();
        for number in 0..5 {
            let last = made.last().and_then(|last| last["revision"].as_u64()).unwrap_or_default();
            let changed = async { while node.revision().await == last {} };
            patiently("a change after the last backup", changed).await;
            made.push(back_up(&node, &format!("{number}.tar")).await);
        }
        enough.store(true, Relaxed);
        made
    };
    let (answered, backups) = tokio::join!(work(&node, &enough), backups);
    let revisions: Vec<_> = backups.iter().map(|backup| backup["revision"].as_u64().unwrap()).collect();
    println!("{answered} requests were answered meanwhile; backups are of the revisions {revisions:?}");
    assert!(revisions.is_sorted_by(|earlier, later| earlier < later), "{revisions:?}");

    for (number, revision) in revisions.into_iter().enumerate() {
        let folder = Folder::new();
        let file = node.folder().path().join(format!("{number}.tar"));
        restore(&file, &folder).await.ok();
        let restored = Node::start_on(folder, &[]).await;
        assert_eq!(restored.revision().await, revision);
        for function in ["hello", "cgi", "comes-and-goes"] {
            let found = history(&restored, function, u64::MAX).await;
            assert_eq!(found, history(&node, function, revision).await, "{function} at {revision}");
        }
        // What has traffic answers once it is compiled, so its components are there.
        let status = restored.live("hello").await;
        assert_eq!(status["rollout"]["canary"], "v2", "{status}");
        restored.cli_ok(&["promote", "hello", "--full"]).await;
        let functions = restored.api_ok(Method::GET, "/v1/functions", None).await;
        for function in functions["functions"].as_array().unwrap() {
            let path = format!("/{}", function["function"].as_str().unwrap());
            let answer = patiently("the function to be compiled", async {
                loop {
                    let answer = restored.http.get(&path).await;
                    if answer.status != 503 {
                        return answer;
                    }
                }
            });
            answer.await.ok();
        }
        assert_eq!(restored.revision().await, revision + 1);
    }
}

#[tokio::test]
async fn backup_holds_what_a_node_needs_and_none_of_its_secrets() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let told = back_up(&node, "node.tar").await;
    let file = node.folder().path().join("node.tar");
    let bytes = fs::read(&file).unwrap();
    assert_eq!(told["bytes"], bytes.len());
    assert_eq!(
        (&told["revision"], &told["functions"], &told["components"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(mode(&file), 0o600);
    for secret in ["token", "preview.key", "artifact.key"] {
        let secret = fs::read(node.folder().data().join(secret)).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "the backup has a secret");
    }
    if starts(
        Command::new("tar").arg("--version"),
        "tar",
        "backup_holds_what_a_node_needs_and_none_of_its_secrets",
    ) {
        let list = Command::new("tar").arg("-tf").arg(&file).output().expect("tar starts");
        let list = String::from_utf8(list.stdout).expect("names are text");
        let component = node.upload(guests::bytes("hello-v1")).await;
        assert_eq!(list, format!("manifest.json\nstate.redb\nblobs/{component}\n"));
    }
    // A second time, the file is there.
    let refused = node.cli(&["backup", "node.tar"]).await;
    refused.refused(&["node.tar was not written", "the file exists"]);
    assert_eq!(fs::read(&file).unwrap(), bytes);

    let folder = Folder::new();
    let done = restore(&file, &folder).await.ok();
    assert!(done.stdout.contains("revision 1, functions 1, components 1"), "{}", done.stdout);
    assert_eq!(names(&folder), ["blobs", "state.redb"]);
    assert_eq!((mode(&folder.data()), mode(&folder.data().join("state.redb"))), (0o700, 0o600));
    let restored = Node::start_on(folder, &[]).await;
    assert_ne!(restored.token, node.token);
}

#[tokio::test]
async fn restore_refuses_a_directory_that_is_not_empty() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    back_up(&node, "node.tar").await;
    let file = node.folder().path().join("node.tar");
    let before = names(node.folder());
    let data = node.folder().data().display().to_string();
    let refused = restore(&file, node.folder()).await;
    refused.refused(&["node.tar was not restored", &data, "contains", "expected an empty one"]);
    assert_eq!(names(node.folder()), before);
    assert_eq!(node.http.get("/hello").await.ok().text(), "hello from v1\n");

    // What was interrupted, and what a new file system has, is in nobody's way.
    let folder = Folder::new();
    fs::create_dir_all(folder.data().join("lost+found")).unwrap();
    fs::create_dir_all(folder.data().join(".wasm-fn-restore-abc/blobs")).unwrap();
    restore(&file, &folder).await.ok();
    assert_eq!(names(&folder), ["blobs", "lost+found", "state.redb"]);
}

#[tokio::test]
async fn damaged_backup_is_refused_by_one_error_and_leaves_nothing() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy_with("echo", "echo", json!({})).await;
    back_up(&node, "node.tar").await;
    let whole = fs::read(node.folder().path().join("node.tar")).unwrap();
    let changed = |at: usize| {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        changed
    };
    let state = whole.windows(10).rposition(|window| window == b"state.redb").unwrap();
    let damaged = [
        ("empty", Vec::new(), "not a backup"),
        ("other", guests::bytes("hello-v1"), "not a backup"),
        ("cut-in-head", whole[..100].to_vec(), "not a backup"),
        ("cut-in-state", whole[..state + 5000].to_vec(), "state.redb ends after"),
        ("cut-in-component", whole[..whole.len() - 20_000].to_vec(), "blobs/"),
        ("cut-at-end", whole[..whole.len() - 1024].to_vec(), "the end of the archive is missing"),
        ("state", changed(state + 5000), "state.redb has the digest"),
        ("component", changed(whole.len() - 20_000), "has the digest"),
        ("longer", [&*whole, b"more"].concat(), "found more contents"),
    ];
    for (name, bytes, cause) in damaged {
        let folder = Folder::new();
        let file = folder.write(name, bytes);
        restore(&file, &folder).await.refused(&[&format!("{name} was not restored"), cause]);
        assert!(!folder.data().exists(), "{name}: {:?}", names(&folder));
        // Nor does it fill a directory that was there.
        fs::create_dir(folder.data()).unwrap();
        restore(&file, &folder).await.refused(&[cause]);
        assert_eq!(names(&folder), [""; 0], "{name}");
    }
    let folder = Folder::new();
    restore(&folder.path().join("nothing"), &folder)
        .await
        .refused(&["nothing was not restored", "cannot be read"]);
}

/// The members of a backup's archive, by name, in their order.
fn members(mut archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut members = Vec::new();
    while let Some((block, rest)) = archive.split_first_chunk::<BLOCK_BYTES>() {
        let Some(header) = MemberHeader::parse(block).expect("a node writes tar") else { break };
        let bytes = usize::try_from(header.bytes).expect("it fits into memory");
        members.push((header.name, rest[..bytes].to_vec()));
        archive = &rest[bytes + MemberHeader::padding(header.bytes)..];
    }
    members
}

/// The archive of a backup with this manifest and the other `members`.
fn archive(manifest: &BackupManifest, members: &[(String, Vec<u8>)]) -> Vec<u8> {
    let manifest = serde_json::to_vec(manifest).expect("a manifest is JSON");
    let mut archive = Vec::new();
    for (name, contents) in [(BackupManifest::NAME.to_owned(), manifest)].iter().chain(members) {
        let bytes = contents.len() as u64;
        archive.extend(MemberHeader { name: name.clone(), bytes }.to_block(0));
        archive.extend_from_slice(contents);
        archive.resize(archive.len() + MemberHeader::padding(bytes), 0);
    }
    archive.resize(archive.len() + END_BYTES, 0);
    archive
}

#[tokio::test]
async fn backup_that_contradicts_its_state_is_refused() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.deploy_with("echo", "echo", json!({})).await;
    back_up(&node, "node.tar").await;
    let members = members(&fs::read(node.folder().path().join("node.tar")).unwrap());
    let manifest: BackupManifest = serde_json::from_slice(&members[0].1).unwrap();
    let whole = archive(&manifest, &members[1..]);
    let lacking = BackupManifest { components: manifest.components[..1].to_vec(), ..manifest.clone() };
    let earlier = BackupManifest { revision: 1, ..manifest.clone() };
    let missing = format!("component {} of", manifest.components[1].sha256);
    for (bytes, cause) in [
        (archive(&lacking, &members[1..3]), &*missing),
        (archive(&earlier, &members[1..]), "its state is at revision 2, expected 1"),
    ] {
        let folder = Folder::new();
        let file = folder.write("changed.tar", bytes);
        restore(&file, &folder).await.refused(&["changed.tar was not restored", "it is damaged", cause]);
        assert!(!folder.data().exists());
    }
    let folder = Folder::new();
    let file = folder.write("whole.tar", whole);
    restore(&file, &folder).await.ok();
}
