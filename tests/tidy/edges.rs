//! Which crate may know which.

use std::{collections::BTreeSet, fs};

use toml::Table;

use crate::sources::{none, of_crate, root};

/// Every crate with those of the project that it depends on. The binary may know all of them, and xtask
/// none.
const EDGES: [(&str, &[&str]); 24] = [
    ("wasm-fn-access", &["wasm-fn-core"]),
    (
        "wasm-fn-admin",
        &[
            "wasm-fn-access",
            "wasm-fn-api",
            "wasm-fn-control",
            "wasm-fn-core",
            "wasm-fn-delivery",
            "wasm-fn-events",
            "wasm-fn-page",
            "wasm-fn-rollout",
            "wasm-fn-router",
            "wasm-fn-secrets",
            "wasm-fn-store",
        ],
    ),
    ("wasm-fn-api", &["wasm-fn-access", "wasm-fn-core"]),
    ("wasm-fn-cluster", &["wasm-fn-core", "wasm-fn-events", "wasm-fn-queue", "wasm-fn-store"]),
    ("wasm-fn-core", &[]),
    ("wasm-fn-delivery", &["wasm-fn-core", "wasm-fn-events", "wasm-fn-store"]),
    ("wasm-fn-events", &["wasm-fn-core"]),
    ("wasm-fn-fuse", &[]),
    ("wasm-fn-memory", &["wasm-fn-thread"]),
    ("wasm-fn-oci", &["wasm-fn-core"]),
    ("wasm-fn-oidc", &["wasm-fn-access"]),
    ("wasm-fn-page", &[]),
    ("wasm-fn-pool", &["wasm-fn-core"]),
    ("wasm-fn-project", &[]),
    ("wasm-fn-queue", &["wasm-fn-events"]),
    ("wasm-fn-router", &["wasm-fn-core"]),
    ("wasm-fn-rollout", &["wasm-fn-core"]),
    (
        "wasm-fn-runtime",
        &[
            "wasm-fn-core",
            "wasm-fn-fuse",
            "wasm-fn-memory",
            "wasm-fn-pool",
            "wasm-fn-secrets",
            "wasm-fn-thread",
        ],
    ),
    ("wasm-fn-secrets", &["wasm-fn-core"]),
    ("wasm-fn-server", &["wasm-fn-core", "wasm-fn-router", "wasm-fn-thread"]),
    ("wasm-fn-telemetry", &["wasm-fn-core"]),
    ("wasm-fn-thread", &[]),
    (
        "wasm-fn-control",
        &[
            "wasm-fn-access",
            "wasm-fn-core",
            "wasm-fn-events",
            "wasm-fn-rollout",
            "wasm-fn-router",
            "wasm-fn-secrets",
            "wasm-fn-store",
        ],
    ),
    ("wasm-fn-store", &["wasm-fn-core"]),
];

/// Crates without clock, randomness, environment, files or network.
const PURE: [&str; 8] = [
    "wasm-fn-access",
    "wasm-fn-core",
    "wasm-fn-events",
    "wasm-fn-fuse",
    "wasm-fn-router",
    "wasm-fn-rollout",
    "wasm-fn-pool",
    "wasm-fn-secrets",
];

/// What pure crates may not name. Addresses are values, so `std::net::IpAddr` is not among these.
const IMPURE: [&str; 13] = [
    "Instant::now",
    "SystemTime",
    "rand::",
    "std::env",
    "std::fs",
    "std::thread",
    "std::process",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "ToSocketAddrs",
    "tokio::",
];

/// What a manifest's tables of dependencies name, by the package's name.
fn dependencies(manifest: &Table, kinds: &[&str]) -> BTreeSet<String> {
    let tables = kinds.iter().filter_map(|kind| manifest.get(*kind)?.as_table());
    let package = |(name, entry): (&String, &toml::Value)| {
        entry.get("package").and_then(toml::Value::as_str).unwrap_or(name).to_owned()
    };
    tables.flat_map(|table| table.iter().map(package)).collect()
}

/// The manifests of `crates/*`, by folder.
fn manifests() -> Vec<(String, Table)> {
    let folders = fs::read_dir(root().join("crates")).expect("there are crates");
    let mut manifests: Vec<_> = folders
        .map(|folder| {
            let folder = folder.expect("a folder can be read to its end");
            let text = fs::read_to_string(folder.path().join("Cargo.toml")).expect("a crate has a manifest");
            (folder.file_name().to_string_lossy().into_owned(), text.parse().expect("a manifest is TOML"))
        })
        .collect();
    manifests.sort_by(|a, b| a.0.cmp(&b.0));
    manifests
}

#[test]
fn crates_know_each_other_along_the_edges_only() {
    let manifests = manifests();
    let ours: BTreeSet<_> = manifests.iter().map(|(name, _)| name.clone()).collect();
    let mut faults = Vec::new();
    for (name, manifest) in &manifests {
        let found: BTreeSet<_> = dependencies(manifest, &["dependencies", "build-dependencies"])
            .into_iter()
            .filter(|dependency| ours.contains(dependency))
            .collect();
        let expected: BTreeSet<String> = match EDGES.iter().find(|(known, _)| known == name) {
            Some((_, edges)) => edges.iter().map(|&edge| edge.to_owned()).collect(),
            None if name == "wasm-fn" => {
                found.iter().filter(|dependency| *dependency != "xtask").cloned().collect()
            }
            None if name == "xtask" => BTreeSet::new(),
            None => {
                faults.push(format!("{name}: no edge is written down for this crate"));
                continue;
            }
        };
        if found != expected {
            faults.push(format!("{name} depends on {found:?}, expected {expected:?}"));
        }
    }
    none(&faults);
}

#[test]
fn only_the_runtime_and_its_memories_name_wasmtime() {
    let engine = |dependency: &String| dependency.starts_with("wasmtime");
    let kinds = ["dependencies", "build-dependencies", "dev-dependencies"];
    let mut faults = Vec::new();
    for (name, manifest) in manifests() {
        let named: Vec<_> = dependencies(&manifest, &kinds).into_iter().filter(engine).collect();
        if named.is_empty() == ["wasm-fn-memory", "wasm-fn-runtime"].contains(&name.as_str()) {
            faults.push(format!("{name} depends on {named:?}"));
        }
    }
    none(&faults);
}

/// What the crate with this name is built with, its dependencies' dependencies included.
fn built_with(name: &str) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let args =
        ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", name];
    let tree = std::process::Command::new(cargo).args(args).current_dir(root()).output();
    let tree = tree.expect("Cargo runs these tests, so it can be started");
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).expect("names are text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn clients_of_the_api_build_neither_a_server_nor_a_database_nor_an_engine() {
    let found = built_with("wasm-fn-api");
    assert!(found.contains("serde"), "{found:?}");
    let heavy =
        ["axum", "hyper", "redb", "tokio", "wasmtime"].into_iter().filter(|name| found.contains(*name));
    none(&heavy.map(|name| format!("wasm-fn-api is built with {name}")).collect::<Vec<_>>());
}

#[test]
fn only_the_store_names_a_database() {
    let mut faults = Vec::new();
    for (name, manifest) in manifests().into_iter().filter(|(name, _)| name != "wasm-fn-store") {
        if dependencies(&manifest, &["dependencies", "build-dependencies"]).contains("redb") {
            faults.push(format!("{name} depends on redb"));
        }
    }
    none(&faults);
}

#[test]
fn only_queues_and_the_cluster_name_nats() {
    let mut faults = Vec::new();
    for (name, manifest) in manifests() {
        let may = ["wasm-fn-cluster", "wasm-fn-queue"].contains(&name.as_str());
        if dependencies(&manifest, &["dependencies", "build-dependencies"]).contains("async-nats") != may {
            faults.push(format!("{name} depends on async-nats, or does not: expected that {may}"));
        }
    }
    none(&faults);
}

#[test]
fn simulation_knows_neither_the_runtime_nor_the_server() {
    let text =
        fs::read_to_string(root().join("tests/sim/Cargo.toml")).expect("the simulation has a manifest");
    let manifest: Table = text.parse().expect("a manifest is TOML");
    let engine = |name: &String| name.starts_with("wasmtime");
    let known = dependencies(&manifest, &["dependencies", "build-dependencies", "dev-dependencies"]);
    let found = known
        .iter()
        .filter(|name| engine(name) || ["wasm-fn-runtime", "wasm-fn-server"].contains(&name.as_str()));
    none(&found.map(|name| format!("the simulation depends on {name}")).collect::<Vec<_>>());
}

#[test]
fn crates_are_named_as_their_folders_and_have_the_lints_of_the_workspace() {
    let mut faults = Vec::new();
    for (folder, manifest) in manifests() {
        let name = manifest["package"]["name"].as_str();
        if name != Some(folder.as_str()) {
            faults.push(format!("{folder} holds the package {name:?}"));
        }
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace")?.as_bool());
        if lints != Some(true) {
            faults.push(format!("{folder} has lints of its own"));
        }
    }
    none(&faults);
}

#[test]
fn pure_crates_do_nothing_but_compute() {
    let mut faults = Vec::new();
    for source in PURE.iter().flat_map(|name| of_crate(name)).filter(|source| !source.is_test()) {
        for (number, line) in source.code() {
            let found = IMPURE.iter().filter(|word| line.contains(**word));
            faults.extend(found.map(|word| format!("{}:{number} names {word}", source.path)));
        }
    }
    none(&faults);
}
