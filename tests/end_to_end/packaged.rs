//! What a package installs, looked at by the programs that will read it.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::harness::{Folder, command::run, programs};

/// Exposure that `systemd-analyze security` may find, in tenths: 0 is none, 100 is everything.
const EXPOSURE_MAX: &str = "20";

/// Writes the objects of the manifest `argv[1]`, and of the chart in `argv[2]` with several values, checked
/// against Kubernetes' schemas.
const KUBERNETES: &str = r#"
import helm_python, kubernetes_validate, sys, yaml
def check(where, text):
    for thing in yaml.safe_load_all(text):
        if thing:
            kubernetes_validate.validate(thing, "1.33", strict=True)
            print(where, thing["kind"], thing["metadata"]["name"])
check("manifest", open(sys.argv[1]).read())
found = helm_python.lint(sys.argv[2])
bad = found["errors"] + [it for it in found["messages"] if it["severity"] > 1]
assert not bad, bad
with helm_python.Chart.load(sys.argv[2]) as chart:
    broker = {"brokers": ["nats://a", "nats://b"], "credsSecret": "creds"}
    for values in ({}, {"cluster": broker, "args": ["--trusted-proxy=10.0.0.0/8"], "replicas": 5}):
        for path, text in chart.render(values, name="demo", namespace="prod").items():
            check("chart", text) if path.endswith(".yaml") else print("chart", text)
"#;

/// A file or folder of what is for those who run nodes.
fn deploy(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(path)
}

#[tokio::test]
async fn balancers_accept_their_configurations() {
    let test = "balancers_accept_their_configurations";
    if programs::installed("haproxy", test) {
        run(Command::new("haproxy").arg("-c").arg("-f").arg(deploy("haproxy/haproxy.cfg"))).await.ok();
    }
    if programs::installed("nginx", test) {
        let folder = Folder::new();
        let mut nginx = Command::new("nginx");
        nginx.arg("-t").arg("-c").arg(deploy("nginx/nginx.conf")).arg("-p").arg(folder.path());
        nginx.args(["-e", "stderr", "-g", "pid nginx.pid;"]);
        run(&mut nginx).await.ok();
    }
}

#[tokio::test]
async fn systemd_understands_the_units() {
    let test = "systemd_understands_the_units";
    if !programs::starts(Command::new("systemd-analyze").arg("--version"), "systemd-analyze", test) {
        return;
    }
    let folder = Folder::new();
    let drop_in = "wasm-fn.service.d/cluster.conf";
    std::fs::create_dir(folder.path().join("wasm-fn.service.d")).unwrap();
    let units = ["wasm-fn.service", "wasm-fn-http.socket", "wasm-fn-admin.socket"];
    for unit in [&units[..], &[drop_in]].concat() {
        let text = std::fs::read_to_string(deploy("systemd").join(unit)).unwrap();
        // Nothing is installed here.
        std::fs::write(folder.path().join(unit), text.replace("/usr/bin/wasm-fn ", "/bin/true ")).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).args(units.map(|unit| folder.path().join(unit)));
    let done = run(&mut verify).await.ok();
    // It goes on after what it does not know.
    assert_eq!((done.stdout.as_str(), done.stderr.as_str()), ("", ""));
}

#[tokio::test]
async fn kubernetes_accepts_the_manifest_and_what_the_chart_makes() {
    let test = "kubernetes_accepts_the_manifest_and_what_the_chart_makes";
    let modules = "import helm_python, kubernetes_validate, yaml";
    let mut python = Command::new("python3");
    if !programs::starts(python.args(["-c", modules]), "helm-python-sdk and kubernetes-validate", test) {
        return;
    }
    let mut python = Command::new("python3");
    python.args(["-c", KUBERNETES]).arg(deploy("kubernetes/wasm-fn.yaml")).arg(deploy("helm/wasm-fn"));
    let found = run(&mut python).await.ok().stdout;
    for line in [
        "manifest Deployment wasm-fn",
        "manifest PodDisruptionBudget wasm-fn",
        "chart Deployment demo",
        "chart PodDisruptionBudget demo",
        "chart Service demo-admin",
        "chart Functions are at http://demo.prod:80.",
    ] {
        assert!(found.contains(line), "{line}:\n{found}");
    }
}

#[tokio::test]
async fn service_of_systemd_leaves_little_to_attack() {
    let test = "service_of_systemd_leaves_little_to_attack";
    if !programs::starts(Command::new("systemd-analyze").arg("--version"), "systemd-analyze", test) {
        return;
    }
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/systemd/wasm-fn.service");
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", "--threshold", EXPOSURE_MAX]).arg(unit);
    let done = run(&mut command).await.ok();
    assert!(done.stdout.contains("exposure level for wasm-fn.service"), "{}", done.stdout);
}

#[tokio::test]
async fn dockerfile_follows_the_rules_of_a_linter() {
    let test = "dockerfile_follows_the_rules_of_a_linter";
    if !programs::starts(Command::new("hadolint").arg("--version"), "hadolint", test) {
        return;
    }
    let dockerfile = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Dockerfile");
    run(Command::new("hadolint").arg(dockerfile)).await.ok();
}
