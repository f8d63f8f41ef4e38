//! The CI files of docs/how-to/ci.md: their scripts, run as a runner runs them, against a real registry and a
//! node that trusts the platform's tokens.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::harness::{
    Folder, Node,
    command::{Done, run},
    guests,
    issuer::{SigningKey, TestIssuer},
    programs::starts,
    registry::Registry,
    wasm_fn,
};

/// Where the pages have their files.
fn page_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/how-to/ci").join(name)
}

/// Whether what the scripts need beside a registry is installed.
fn is_installed(test: &str) -> bool {
    let yaml = starts(Command::new("python3").args(["-c", "import yaml"]), "pyyaml", test);
    yaml && ["bash", "curl", "jq"]
        .into_iter()
        .all(|program| starts(Command::new(program).arg("--version"), program, test))
}

/// A file in YAML, as JSON.
async fn yaml(name: &str) -> Value {
    const PROGRAM: &str = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let done = run(Command::new("python3").args(["-c", PROGRAM]).arg(page_file(name))).await.ok();
    serde_json::from_str(&done.stdout).expect("python writes JSON")
}

/// Variables of a job.
type Variables = BTreeMap<String, String>;

/// The variables in a table of YAML. What the platform would fill in is taken from `expressions`.
fn variables(table: &Value, expressions: &[(&str, &str)]) -> Variables {
    let table = table.as_object().into_iter().flatten();
    let filled = |value: &Value| {
        let value = value.as_str().expect("variables are texts").to_owned();
        expressions
            .iter()
            .fold(value, |value, (name, with)| value.replace(&format!("${{{{ {name} }}}}"), with))
    };
    table.map(|(name, value)| (name.clone(), filled(value))).collect()
}

/// A platform, a registry with a password, and a node that knows the platform by the page's node.toml.
struct Platform {
    registry: Registry,
    node: Node,
    issuer: TestIssuer,
    key: SigningKey,
    work: Folder,
}

impl Platform {
    /// `issuer` is the platform's in node.toml. `None` where something is not installed.
    async fn start(test: &str, issuer: &str) -> Option<Self> {
        let registry = Registry::with_password(test).await?;
        if !is_installed(test) {
            return None;
        }
        let key = SigningKey::rs256("a");
        let platform = TestIssuer::start(&[&key]).await;
        let config = fs::read_to_string(page_file("node.toml")).expect("the page has the file");
        assert!(config.contains(issuer), "{config}");
        let folder = Folder::new();
        folder.write("node.toml", config.replace(issuer, &platform.url));
        let node = Node::start_on(folder, &["--config", "node.toml"]).await;
        let work = Folder::new();
        // What the build would make.
        let module = work.path().join("target/wasm32-wasip2/release/cart.wasm");
        fs::create_dir_all(module.parent().expect("a file is in a folder")).expect("the folder is ours");
        fs::copy(guests::path("hello-v1"), module).expect("the prebuilt guests are in the repository");
        Some(Self { registry, node, issuer: platform, key, work })
    }

    /// A token of the platform with these claims.
    fn token(&self, claims: &[(&str, &str)]) -> String {
        let mut token = self.issuer.claims("job");
        token["aud"] = json!("https://node.example.com");
        for (name, value) in claims {
            token[*name] = json!(value);
        }
        self.key.sign(&token)
    }

    /// Runs one script of a job, which finds the binary under test on its path.
    async fn script(&self, script: &str, variables: &Variables) -> Done {
        let program = Path::new(env!("CARGO_BIN_EXE_wasm-fn")).parent().expect("a file is in a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("bash");
        // As wasm-fn is started everywhere else here.
        for (name, value) in wasm_fn().get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c", script])
            .current_dir(self.work.path());
        command.envs(variables).env("PATH", path).env("DOCKER_CONFIG", "/nonexistent");
        run(&mut command).await
    }

    /// Checks that the function serves what the commit `sha` became, and that the history says by whom.
    async fn deployed(&self, rule: &str, sha: &str) {
        assert_eq!(self.node.http.get("/shop-cart").await.ok().version(), "v1");
        let history = self.node.cli_ok(&["history", "shop-cart"]).await;
        assert!(history.contains(&format!("{rule}/job")), "{history}");
        assert!(history.contains(&format!("main {sha} (from oci://")), "{history}");
    }
}

#[tokio::test]
async fn the_job_of_github_actions_pushes_and_deploys() {
    let test = "the_job_of_github_actions_pushes_and_deploys";
    let github = "https://token.actions.githubusercontent.com";
    let Some(platform) = Platform::start(test, github).await else { return };
    let job = yaml("github-actions.yml").await["jobs"]["deploy"].clone();
    let claims = [("repository_id", "123"), ("ref", "refs/heads/main"), ("environment", "production")];
    platform.issuer.endpoint("/job", 200, json!({ "value": platform.token(&claims) }));
    let expressions =
        [("github.repository", "acme/shop"), ("github.actor", "me"), ("secrets.GITHUB_TOKEN", "secret")];
    let mut job_variables = variables(&job["env"], &expressions);
    let exported = platform.work.write("env", "");
    for (name, value) in [
        ("GITHUB_SHA", "3f1c2d9".to_owned()),
        ("GITHUB_REF_NAME", "main".to_owned()),
        ("GITHUB_REPOSITORY", "acme/shop".to_owned()),
        ("GITHUB_SERVER_URL", "https://git.example.com".to_owned()),
        ("GITHUB_ENV", exported.display().to_string()),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", format!("{}/job?api-version=2.0", platform.issuer.url)),
        ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "for-the-job".to_owned()),
        ("WASM_FN_SERVER", format!("http://{}", platform.node.admin)),
    ] {
        job_variables.insert(name.to_owned(), value);
    }
    let image = job_variables.get_mut("IMAGE").expect("the file says where the image is");
    *image = image.replace("ghcr.io", &platform.registry.address.to_string());
    let mut names = Vec::new();
    for step in job["steps"].as_array().expect("a job has steps") {
        let Some(script) = step["run"].as_str().filter(|_| step["name"] != "Build") else { continue };
        let mut variables: Variables =
            job_variables.clone().into_iter().chain(variables(&step["env"], &expressions)).collect();
        let exported = fs::read_to_string(&exported).expect("the file is ours");
        let exported = exported.lines().filter_map(|line| line.split_once('='));
        variables.extend(exported.map(|(name, value)| (name.to_owned(), value.to_owned())));
        platform.script(script, &variables).await.ok();
        names.push(step["name"].as_str().unwrap_or_default());
    }
    assert_eq!(names, ["Push", "Deploy"]);
    platform.deployed("github-shop", "3f1c2d9").await;
}

#[tokio::test]
async fn the_job_of_gitlab_pushes_and_deploys() {
    let test = "the_job_of_gitlab_pushes_and_deploys";
    let Some(platform) = Platform::start(test, "https://gitlab.com").await else { return };
    let job = yaml("gitlab-ci.yml").await["deploy"].clone();
    let claims = [("project_id", "456"), ("ref", "main"), ("ref_type", "branch"), ("ref_protected", "true")];
    let mut variables = variables(&job["variables"], &[]);
    let [(token, _)] = &Vec::from_iter(job["id_tokens"].as_object().expect("the job has a token"))[..] else {
        panic!("the job has one token");
    };
    for (name, value) in [
        (token.as_str(), platform.token(&claims)),
        ("CI_COMMIT_SHA", "3f1c2d9".to_owned()),
        ("CI_COMMIT_REF_NAME", "main".to_owned()),
        ("CI_PROJECT_URL", "https://git.example.com/acme/shop".to_owned()),
        ("CI_REGISTRY_IMAGE", format!("{}/acme/shop", platform.registry.address)),
        ("CI_REGISTRY_USER", "me".to_owned()),
        ("CI_REGISTRY_PASSWORD", "secret".to_owned()),
        ("WASM_FN_SERVER", format!("http://{}", platform.node.admin)),
    ] {
        variables.insert(name.to_owned(), value);
    }
    let lines: Vec<_> = job["script"].as_array().expect("a job has a script").iter().collect();
    let lines: Vec<_> = lines.into_iter().map(|line| line.as_str().expect("lines are texts")).collect();
    let [build, rest @ ..] = &lines[..] else { panic!("the job has a script") };
    assert!(build.starts_with("cargo build"), "{build}");
    // A runner runs all lines in one shell.
    platform.script(&rest.join("\n"), &variables).await.ok();
    platform.deployed("gitlab-shop", "3f1c2d9").await;
}
