//! Disks that are full or read-only, and files that are not what was written: named, survived, never served.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::harness::{Folder, Node, command::run, guests, patiently, programs::skip, serve};

/// A file system of a few megabytes in memory, where the data of a node is. It goes with this.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where the system mounts nothing for this user; `test` is skipped then.
    fn mount(folder: &Folder, test: &str) -> Option<Self> {
        let data = folder.data();
        std::fs::create_dir(&data).expect("the temporary directory is writable");
        let mounted = mount(&["-t", "tmpfs", "-o", "size=12m,mode=0700", "none"], &data);
        if !mounted {
            skip(test, "nothing can be mounted by this user");
            return None;
        }
        Some(Self(data))
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all the room that there is.
    fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.filler()).expect("a file needs no room");
        for bytes in [64 << 10, 4096, 1] {
            while file.write_all(&vec![1; bytes]).is_ok() {}
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn mount(args: &[&str], at: &Path) -> bool {
    let mounting = Command::new("mount").args(args).arg(at).stderr(std::process::Stdio::null()).status();
    mounting.is_ok_and(|status| status.success())
}

async fn deploys(node: &Node, guest: &str) -> bool {
    let file = guests::path(guest);
    let done = node.cli(&["deploy", file.to_str().unwrap(), "-f", "hello", "--replace"]).await;
    if done.code != Some(0) {
        println!("{}", done.stderr);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    }
    done.code == Some(0)
}

#[tokio::test]
async fn full_disk_is_named_and_nothing_is_lost() {
    let folder = Folder::new();
    let Some(disk) = SmallDisk::mount(&folder, "full_disk_is_named_and_nothing_is_lost") else { return };
    let node = Node::start_on(folder.clone(), &[]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    disk.fill();
    assert!(!deploys(&node, "hello-v2").await, "there is no room for it");
    assert_eq!(node.http.get("/hello").await.ok().text(), "hello from v1\n");
    std::fs::remove_file(disk.filler()).unwrap();
    let again = async { while !deploys(&node, "hello-v2").await {} };
    patiently("a deployment once there is room", again).await;
    assert_eq!(node.http.get("/hello").await.ok().text(), "hello from v2\n");
    // And after a death on a full disk.
    disk.fill();
    let _ = deploys(&node, "hello-v1").await;
    let folder = node.kill().await;
    std::fs::remove_file(disk.filler()).unwrap();
    let node = Node::start_on(folder, &[]).await;
    let live = node.live("hello").await;
    assert_eq!(node.http.get("/hello").await.ok().version(), live["stable"]);
}

#[tokio::test]
async fn disk_that_became_read_only_is_named() {
    let folder = Folder::new();
    let Some(disk) = SmallDisk::mount(&folder, "disk_that_became_read_only_is_named") else { return };
    let node = Node::start_on(folder.clone(), &[]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let folder = node.kill().await;
    assert!(mount(&["-o", "remount,ro"], &disk.0), "it was mounted by us");
    let done = run(&mut serve(&folder, &[])).await;
    assert_ne!(done.code, Some(0));
    assert!(done.stderr.contains("data"), "{}", done.stderr);
    assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
    assert!(mount(&["-o", "remount,rw"], &disk.0), "it was mounted by us");
    let node = Node::start_on(folder, &[]).await;
    assert_eq!(node.http.get("/hello").await.ok().text(), "hello from v1\n");
}

#[tokio::test]
async fn flipped_bytes_of_native_code_are_never_run() {
    let node = Node::start().await;
    for (function, guest) in [("hello", "hello-v1"), ("counter", "counter")] {
        node.deploy_with(function, guest, json!({})).await;
    }
    let mut folder = node.kill().await;
    for part in 1..6 {
        for of in ["artifacts", "functions"] {
            let Ok(files) = std::fs::read_dir(folder.data().join(of)) else { continue };
            for path in files.map(|file| file.unwrap().path()).filter(|path| path.is_file()) {
                let mut bytes = std::fs::read(&path).unwrap();
                let at = bytes.len() * part / 6;
                bytes[at] ^= 1 << part;
                // A file of its own: the old one may still be mapped.
                std::fs::remove_file(&path).unwrap();
                std::fs::write(&path, bytes).unwrap();
            }
        }
        let node = Node::start_on(folder, &[]).await;
        for (path, text) in [("/hello", "hello from v1\n"), ("/counter", "1\n")] {
            let right = async {
                loop {
                    let answer = node.http.get(path).await;
                    match answer.status.as_u16() {
                        200 => return answer.text(),
                        // It is compiled again.
                        503 => {}
                        _ => panic!("{path}: {}", answer.text()),
                    }
                }
            };
            assert_eq!(patiently("an answer", right).await, text);
        }
        folder = node.kill().await;
    }
}
