//! Tests of `judge`.

use std::os::unix::fs::PermissionsExt as _;

use wasm_fn_pool::{Machine, PlanOptions};

use super::{super::Status, *};
use crate::tls::tests::{authority, files, issue, now, parameters, write};

#[track_caller]
fn check(finding: &Finding, status: Status, facts: &[&str]) {
    assert_eq!(finding.status, status, "{finding:?}");
    assert_eq!(finding.help.is_none(), status == Status::Ok, "{finding:?}");
    let text = format!("{}; {}", finding.found, finding.help.clone().unwrap_or_default());
    for fact in facts {
        assert!(text.contains(fact), "{text:?} does not contain {fact:?}");
    }
}

fn plan(instances_max: u32) -> Result<PoolPlan, CapacityError> {
    let machine =
        Machine { memory_bytes: 64 << 30, address_bytes: 1 << 46, maps_max: None, commit_bytes: None };
    let asked = PlanOptions { instances_max: Some(instances_max), memory_max_bytes: None };
    wasm_fn_pool::plan(&machine, &slot_cost(), asked)
}

#[test]
fn an_old_kernel_and_a_small_machine_are_warned_about() {
    use MemoryReset::{Counted, Discard, Scan};
    check(&kernel("6.18.1", Counted, Counted), Status::Ok, &["6.18.1", "counted"]);
    check(&kernel("6.18.1", Scan, Counted), Status::Ok, &["scan"]);
    check(&kernel("6.18.1", Counted, Scan), Status::Warning, &["does not count", "scan"]);
    check(&kernel("5.10.0", Counted, Discard), Status::Warning, &["5.10.0", "6.7", "discard"]);
    check(&kernel("5.10.0", Discard, Discard), Status::Ok, &["discard"]);
}

#[test]
fn a_memory_that_was_not_clean_is_a_problem() {
    check(&isolation(false), Status::Ok, &["no audit"]);
    check(&isolation(true), Status::Problem, &["not clean", "discard"]);
    check(&cores(1), Status::Warning, &["1"]);
    check(&cores(2), Status::Ok, &["2"]);
    check(&memory(511 << 20), Status::Warning, &["511.0 MiB"]);
    check(&memory(512 << 20), Status::Ok, &["512.0 MiB"]);
}

#[test]
fn a_pool_that_does_not_fit_is_a_problem() {
    check(&pool(&plan(100)), Status::Ok, &["100 instances", "75 running", "48.0 GiB", "4.0 MiB"]);
    check(&pool(&plan(1 << 31)), Status::Problem, &["2147483648 instances", "--instances-max"]);
}

#[test]
fn few_mappings_are_warned_about_before_they_run_out() {
    check(&mappings(65_530, &plan(1000)), Status::Ok, &["65530", "8000"]);
    check(&mappings(10_000, &plan(1000)), Status::Warning, &["sysctl -w vm.max_map_count=16000"]);
}

#[test]
fn files_are_counted_against_the_connections() {
    for (max, connections, status) in [
        (None, 1_000_000, Status::Ok),
        (Some(10_256), 10_000, Status::Ok),
        (Some(10_255), 10_000, Status::Warning),
        (Some(512), 10_000, Status::Warning),
        (Some(511), 10_000, Status::Problem),
        (Some(266), 10, Status::Ok),
    ] {
        check(&descriptors(max, connections), status, &[]);
    }
    check(&descriptors(Some(1024), 10_000), Status::Warning, &["1024", "LimitNOFILE=10256"]);
}

#[test]
fn a_full_disk_is_a_problem() {
    check(&space(1 << 30), Status::Ok, &["1.0 GiB"]);
    check(&space((1 << 30) - 1), Status::Warning, &["1023.9 MiB"]);
    check(&space((64 << 20) - 1), Status::Problem, &["63.9 MiB"]);
}

#[test]
fn what_others_can_read_is_a_problem() {
    let path = Path::new("data/token");
    check(&private(path, 0o100_600), Status::Ok, &["0600"]);
    for mode in [0o100_640, 0o100_604, 0o100_660, 0o100_777] {
        check(&private(path, mode), Status::Problem, &["chmod 600 data/token"]);
    }
}

#[test]
fn a_clock_that_is_behind_is_noticed() {
    let second = Duration::from_secs(1);
    check(&clock(BUILT, None), Status::Ok, &[]);
    check(&clock(BUILT - second, None), Status::Problem, &["before"]);
    check(&clock(BUILT, Some(BUILT + 60 * second)), Status::Ok, &[]);
    check(&clock(BUILT, Some(BUILT + 3600 * second)), Status::Warning, &["1h in the clock's future"]);
}

#[test]
fn admin_api_that_others_reach_without_tls_is_a_problem() {
    for (address, status) in [
        ("127.0.0.1:8081", Status::Ok),
        ("127.1.2.3:8081", Status::Ok),
        ("[::1]:8081", Status::Ok),
        ("[::ffff:127.0.0.1]:8081", Status::Ok),
        ("0.0.0.0:8081", Status::Problem),
        ("[::]:8081", Status::Problem),
        ("10.0.0.1:8081", Status::Problem),
        ("203.0.113.7:8081", Status::Problem),
    ] {
        let address = address.parse().unwrap();
        assert_eq!(admin_tls(address, false, false).status, status, "{address}");
        assert_eq!(admin_tls(address, true, false).status, Status::Ok, "{address}");
        let accepted = if status == Status::Ok { Status::Ok } else { Status::Warning };
        assert_eq!(admin_tls(address, false, true).status, accepted, "{address}");
    }
}

#[test]
fn a_certificate_that_clients_refuse_is_a_warning_and_one_without_its_key_a_problem() {
    let folder = tempfile::tempdir().unwrap();
    let root = authority("root");
    let pair = issue(&parameters("a.test"), &root);
    let files = files(&folder, &pair);
    let valid = files.read(now());
    let not_after = valid.as_ref().unwrap().certificate.not_after;
    check(&certificate(&files, &valid, now()), Status::Ok, &["a.test", "valid until 4096-01-01T00:00:00Z"]);
    let soon = not_after - Duration::from_secs(3600);
    check(&certificate(&files, &files.read(soon), soon), Status::Warning, &["renew it soon"]);
    let late = not_after + Duration::from_secs(3600);
    check(
        &certificate(&files, &files.read(late), late),
        Status::Warning,
        &["expired", "reads the new files"],
    );
    write(&files.key, &issue(&parameters("a.test"), &root).1);
    let facts = ["cert.pem", "key.pem", "does not start"];
    check(&certificate(&files, &files.read(now()), now()), Status::Problem, &facts);
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    check(&certificate(&files, &files.read(now()), now()), Status::Problem, &["0644", "chmod 600"]);
}
