//! Tests of `machine`.

use super::*;

const MEMINFO: &str =
    "MemTotal:       16384 kB\nMemFree:  1 kB\nCommitLimit:  9000 kB\nCommitted_AS:   1000 kB\n";

#[test]
fn fields_of_the_kernels_files_are_found() {
    assert_eq!(field_bytes(MEMINFO, "MemTotal:"), Some(16 << 20));
    assert_eq!(field_bytes(MEMINFO, "SwapTotal:"), None);
    assert_eq!(field_bytes("MemTotal: many kB", "MemTotal:"), None);
}

#[test]
fn promises_count_only_where_they_are_kept() {
    assert_eq!(commit_bytes(Some(2), MEMINFO), Some(8000 * 1024));
    assert_eq!(commit_bytes(Some(0), MEMINFO), None);
    assert_eq!(commit_bytes(None, MEMINFO), None);
}

#[test]
fn the_least_limit_on_the_way_to_the_root_counts() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::create_dir_all(root.join("system/node")).unwrap();
    fs::write(root.join("own"), "1:cpu:/elsewhere\n0::/system/node\n").unwrap();
    let found = || group_memory_max(root.join("own"), root);
    assert_eq!(found(), None);
    fs::write(root.join("system/node/memory.max"), "max\n").unwrap();
    assert_eq!(found(), None);
    fs::write(root.join("system/memory.max"), "1000\n").unwrap();
    assert_eq!(found(), Some(1000));
    fs::write(root.join("system/node/memory.max"), "999\n").unwrap();
    assert_eq!(found(), Some(999));
}

#[test]
fn this_machine_holds_a_pool() {
    let machine = facts();
    assert!(machine.memory_bytes > 64 << 20, "{machine:?}");
    let plan = wasm_fn_pool::plan(&machine, &slot_cost(), PlanOptions::default()).unwrap();
    assert!(plan.instances_max >= 1 && plan.memory_max_bytes <= machine.memory_bytes, "{plan:?}");
}
