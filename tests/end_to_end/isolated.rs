//! What a node does when the memory of a guest is not clean: from the audit to the metrics, and to `doctor`.

use std::{fs, os::unix::fs::FileExt as _};

use serde_json::Value;

use crate::harness::{Node, client::Client, command::run, patiently, wasm_fn};

const TRIES: u64 = 500;

/// Bytes of a page.
const PAGE: u64 = 4096;

/// Writes a byte to page `page` behind the image in the memory of every guest, as no guest does: nothing that
/// the node counts happens.
fn write_to_guests(process: u32, page: u64) {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("the node is alive");
    let memory = fs::OpenOptions::new().write(true).open(format!("/proc/{process}/mem"));
    let memory = memory.expect("the node lets debuggers of its user in");
    let range = |line: &str| {
        let (start, end) = line.split(' ').next()?.split_once('-')?;
        Some((u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?))
    };
    let lines: Vec<_> = maps.lines().collect();
    for pair in lines.windows(2) {
        let is_image = pair[0].contains("-image") && pair[0].contains("rw-p");
        let (Some((_, end)), Some((start, behind))) = (range(pair[0]), range(pair[1])) else { continue };
        if is_image && end == start && pair[1].contains("rw-p") && start + (page + 1) * PAGE <= behind {
            memory.write_all_at(&[99], start + page * PAGE).expect("the memory is open");
        }
    }
}

#[tokio::test]
async fn a_memory_that_is_not_clean_is_found_told_and_never_trusted_again() {
    let node = Node::start_with(&["--audit-resets", "1", "--allow-core-dumps"]).await;
    node.deploy("hello-v1").await;
    let admin = Client::http1(node.admin);
    let mark = node.folder().data().join("isolation-fault");
    let mut text = admin.get("/metrics").await.ok().text();
    assert!(text.contains("wasm_fn_isolation_faults_total 0"), "{text}");
    assert!(text.contains("wasm_fn_memory_reset_info{how=\"counted\"} 1"), "{text}");
    assert!(!mark.exists());
    for attempt in 0..TRIES {
        // The thread's own faults end, so that the node trusts their count.
        for _ in 0..8 {
            node.http.get("/hello-v1").await.ok();
        }
        // A page that no guest had. If a thread faults now all the same, a scan finds it and no audit has to.
        write_to_guests(node.process().id(), attempt % 100);
        for _ in 0..8 {
            assert_eq!(node.http.get("/hello-v1").await.ok().text(), "hello from v1\n");
        }
        text = admin.get("/metrics").await.ok().text();
        if !text.contains("wasm_fn_isolation_faults_total 0") {
            break;
        }
    }
    assert!(!text.contains("wasm_fn_isolation_faults_total 0"), "{text}");
    assert!(text.contains("wasm_fn_memory_reset_info{how=\"discard\"} 1"), "{text}");
    assert!(node.process().log().contains("isolation fault"), "{}", node.process().log());
    patiently("the mark", async {
        while !mark.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut doctor = wasm_fn();
    doctor.args(["doctor", "-o", "json", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data-dir"]);
    let report: Value =
        serde_json::from_str(&run(doctor.arg(node.folder().data())).await.stdout).expect("JSON");
    let findings = report["findings"].as_array().expect("there are findings");
    let isolation = findings.iter().find(|finding| finding["name"] == "isolation").expect("it is checked");
    assert_eq!(isolation["status"], "problem");
    // It goes on serving.
    assert_eq!(node.http.get("/hello-v1").await.ok().text(), "hello from v1\n");
    admin.get("/healthz").await.ok();
    let folder = node.kill().await;
    let again = Node::start_on(folder, &["--memory-reset", "scan", "--link-components", "off"]).await;
    assert!(!mark.exists());
    let text = Client::http1(again.admin).get("/metrics").await.ok().text();
    assert!(text.contains("wasm_fn_memory_reset_info{how=\"scan\"} 1"), "{text}");
    again.process().line("the function", |line| line.contains("ready").then_some(())).await;
}
