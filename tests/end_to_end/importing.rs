//! Files with secrets that age and SOPS encrypted, by the real programs where they are installed.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::json;

use crate::harness::{
    Node,
    command::{Done, run, run_with},
    programs::starts,
};

const PLAIN: &str = "API_KEY=hunter2-of-age\nDB_URL='postgres://db'\n";

/// Whether age is there, which brings `age-keygen`.
fn is_age_installed(test: &str) -> bool {
    starts(Command::new("age").arg("--version"), "age", test)
}

/// Runs `program` in the node's folder, and gives its output.
async fn output(node: &Node, program: &str, args: &[&str]) -> String {
    let mut command = Command::new(program);
    run(command.args(args).current_dir(node.folder().path())).await.ok().stdout
}

/// Makes the file `name` with a new identity; gives its recipient.
async fn keygen(node: &Node, name: &str) -> String {
    output(node, "age-keygen", &["-o", name]).await;
    output(node, "age-keygen", &["-y", name]).await.trim().to_owned()
}

/// Makes the file `name` with a new identity, without the program of age; gives the identity.
fn new_identity(node: &Node, name: &str) -> age::x25519::Identity {
    let identity = age::x25519::Identity::generate();
    let secret = identity.to_string();
    let path = node.folder().write(name, age::secrecy::ExposeSecret::expose_secret(&secret));
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    identity
}

/// `secrets import` with `args`, where no identity is found by itself.
fn import(node: &Node, args: &[&str]) -> Command {
    let mut command = node.command(&[&["secrets", "import", "-f", "hello"], args].concat());
    command.env_remove("SOPS_AGE_KEY_FILE").env("XDG_CONFIG_HOME", node.folder().path().join("config"));
    command
}

/// Imports with `args`, and checks what the function then gets for `expected`.
async fn imported(node: &Node, command: &mut Command, expected: &[(&str, &str)]) {
    let done = run(command).await.ok();
    for (_, value) in expected {
        assert!(!done.stdout.contains(value) && !done.stderr.contains(value), "{done:?}");
    }
    let names: Vec<_> = expected.iter().map(|(name, _)| name).collect();
    node.deploy_with("hello", "secrets", json!({ "secrets": names })).await;
    for (name, value) in expected {
        let answer = node.http.get(&format!("/hello/get/{name}")).await.ok().text();
        assert_eq!(&answer, value, "{name}");
    }
    // With its secrets.
    node.cli(&["delete", "hello", "--yes"]).await.ok();
}

/// Checks that an import is refused and says all of `facts`, that nothing was set, and nothing is shown.
async fn refused(node: &Node, command: &mut Command, facts: &[&str]) -> Done {
    let done = run(command).await;
    done.refused(facts);
    assert!(
        done.stderr.contains("no secret of `hello` was set") || facts.contains(&"was not set"),
        "{done:?}"
    );
    assert!(!done.stderr.contains("hunter2"), "{done:?}");
    let list = node.cli_json(&["secrets", "list", "-f", "hello"]).await;
    assert_eq!(list["secrets"], json!([]), "{done:?}");
    done
}

#[tokio::test]
async fn file_that_age_encrypted_is_imported() {
    if !is_age_installed("file_that_age_encrypted_is_imported") {
        return;
    }
    let node = Node::start().await;
    let recipient = keygen(&node, "keys.txt").await;
    let other = keygen(&node, "other.txt").await;
    node.folder().write(".env", PLAIN);
    let recipients = ["-r", &other, "-r", &recipient];
    output(&node, "age", &[&recipients[..], &["-o", "binary.age", ".env"]].concat()).await;
    output(&node, "age", &[&recipients[..], &["-a", "-o", "armored.age", ".env"]].concat()).await;
    output(&node, "age", &["-r", &other, "-o", "other.age", ".env"]).await;
    fs::remove_file(node.folder().path().join(".env")).unwrap();
    let expected = [("API_KEY", "hunter2-of-age"), ("DB_URL", "postgres://db")];

    // An identity of each place, and a file from standard input.
    let keys = node.folder().path().join("keys.txt");
    imported(&node, &mut import(&node, &["binary.age", "--identity", "keys.txt"]), &expected).await;
    imported(&node, import(&node, &["armored.age"]).env("WASM_FN_AGE_IDENTITY", &keys), &expected).await;
    imported(&node, import(&node, &["armored.age"]).env("SOPS_AGE_KEY_FILE", &keys), &expected).await;
    let usual = node.folder().path().join("config/sops/age");
    fs::create_dir_all(&usual).unwrap();
    fs::copy(&keys, usual.join("keys.txt")).unwrap();
    imported(&node, &mut import(&node, &["binary.age"]), &expected).await;
    let file = fs::File::open(node.folder().path().join("binary.age")).unwrap();
    imported(&node, import(&node, &["-"]).stdin(file), &expected).await;

    let args = ["other.age", "--identity", "keys.txt"];
    refused(&node, &mut import(&node, &args), &["no identity in keys.txt opens it", "to 1 recipient"]).await;
    // Nothing that was decrypted is in a file.
    let mut files = vec![node.folder().path().to_owned()];
    while let Some(path) = files.pop() {
        if path.is_dir() {
            files.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            let bytes = fs::read(&path).unwrap();
            assert!(!bytes.windows(7).any(|window| window == b"hunter2"), "{}", path.display());
        }
    }
}

#[tokio::test]
async fn file_that_cannot_be_decrypted_sets_nothing() {
    let node = Node::start().await;
    let identity = new_identity(&node, "keys.txt");
    let write = |name: &str, text: &str| {
        node.folder().write(name, age::encrypt(&identity.to_public(), text.as_bytes()).unwrap())
    };
    let path = write("good.age", PLAIN);
    let keys = ["--identity", "keys.txt"];
    let with_keys = |file: &str| import(&node, &[&[file], &keys[..]].concat());

    refused(
        &node,
        &mut import(&node, &["good.age"]),
        &["there is no age identity", "config/sops/age/keys.txt does not exist", "--identity"],
    )
    .await;
    refused(
        &node,
        &mut import(&node, &["good.age", "--identity", "none.txt"]),
        &["good.age: identity file none.txt cannot be read: No such file"],
    )
    .await;
    let mut bytes = fs::read(&path).unwrap();
    node.folder().write("short.age", &bytes[..bytes.len() - 1]);
    refused(
        &node,
        &mut with_keys("short.age"),
        &["short.age: its encrypted contents were changed or cut off"],
    )
    .await;
    *bytes.last_mut().unwrap() ^= 1;
    node.folder().write("flipped.age", &bytes);
    refused(&node, &mut with_keys("flipped.age"), &["its encrypted contents were changed or cut off"]).await;
    node.folder().write("plain.age", "API_KEY=hunter2");
    refused(&node, &mut with_keys("plain.age"), &["plain.age: it is not an age file"]).await;
    write("name.age", "API_KEY=hunter2\nAPI-KEY=hunter2\n");
    refused(&node, &mut with_keys("name.age"), &["line 2: a name that is none"]).await;
    let long = "x".repeat(1 << 20);
    write("long.age", &format!("API_KEY=hunter2\nLONG={long}\n"));
    let facts = ["secret LONG", "was not set", "the value has 1048576 bytes, expected at most 64 KiB"];
    refused(&node, &mut with_keys("long.age"), &facts).await;
    node.folder().write("huge.age", vec![b'x'; (4 << 20) + 1]);
    refused(&node, &mut with_keys("huge.age"), &["there are more than 4 MiB"]).await;

    let keys = node.folder().path().join("keys.txt");
    fs::set_permissions(&keys, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&node, &mut with_keys("good.age"), &["identity file keys.txt has mode 0644, expected 0600"])
        .await;
}

#[tokio::test]
async fn import_that_the_node_refuses_sets_nothing() {
    let node = Node::start().await;
    // One more than a stage may have.
    let lines: String = (0..257).map(|at| format!("S{at}=hunter2\n")).collect();
    node.folder().write(".env", lines);
    let done = run(&mut import(&node, &[".env"])).await;
    assert_eq!(done.code, Some(1), "{done:?}");
    assert!(done.stderr.contains("no secret of `hello` was set"), "{done:?}");
    let reason = "stage `live` of `hello` would have 257 secrets, expected at most 256";
    assert!(done.stderr.contains(reason), "{done:?}");
    let list = node.cli_json(&["secrets", "list", "-f", "hello"]).await;
    assert_eq!(list["secrets"].as_array().unwrap().len(), 0);
    // As many as it may have are one change.
    let lines: String = (0..256).map(|at| format!("S{at}=hunter{at}\n")).collect();
    node.folder().write(".env", lines);
    let done = run(&mut import(&node, &[".env"])).await.ok();
    assert_eq!(done.stdout.lines().count(), 256, "{done:?}");
    let history = node.cli_json(&["history", "hello"]).await;
    let entries = history["entries"].as_array().unwrap();
    assert_eq!((entries.len(), entries[0]["secrets"].as_object().unwrap().len()), (1, 256), "{history}");
}

/// Runs sops with the identity of the node's folder; its output becomes a file, whose path this gives.
async fn sops(node: &Node, args: &[&str], output: &str) -> PathBuf {
    let mut command = Command::new("sops");
    command.args(args).current_dir(node.folder().path()).env("SOPS_AGE_KEY_FILE", "keys.txt");
    let done = run(&mut command).await.ok();
    node.folder().write(output, done.stdout)
}

#[tokio::test]
async fn file_that_sops_encrypted_is_imported() {
    let mut version = Command::new("sops");
    version.args(["--version", "--disable-version-check"]);
    if !starts(&mut version, "sops", "file_that_sops_encrypted_is_imported") {
        return;
    }
    let node = Node::start().await;
    let recipient = new_identity(&node, "keys.txt").to_public().to_string();
    let other = age::x25519::Identity::generate().to_public().to_string();
    let keys = ["--identity", "keys.txt"];
    let with_keys = |file: &str| import(&node, &[&[file], &keys[..]].concat());
    node.folder().write(
        ".sops.yaml",
        format!(
            "creation_rules:\n\
             - path_regex: groups\n  key_groups: [{{ age: [{recipient}] }}, {{ age: [{other}] }}]\n\
             - path_regex: some\n  age: {recipient}\n  encrypted_regex: ^API\n  mac_only_encrypted: true\n\
             - age: {other},{recipient}\n"
        ),
    );
    let json = json!({ "API_KEY": "hunter2 \"of\" sops", "PORT": 5432, "LARGE": 9007199254740991_u64 });
    let from_json = [("API_KEY", "hunter2 \"of\" sops"), ("PORT", "5432"), ("LARGE", "9007199254740991")];
    let env = "# of sops\nAPI_KEY=\"hunter2 # of sops\"\nEMPTY_LINE_ABOVE=1\n";
    let from_env = [("API_KEY", "hunter2 # of sops"), ("EMPTY_LINE_ABOVE", "1")];
    for name in ["all.json", "some.json", "groups.json"] {
        node.folder().write(name, json.to_string());
    }
    for name in ["all.env", "some.env", "groups.env", "all.conf"] {
        node.folder().write(name, env);
    }
    node.folder().write("all.yaml", "API_KEY: hunter2\nPORT: 5432\n");
    for name in ["all.json", "some.json", "all.env", "some.env", "all.conf"] {
        sops(&node, &["encrypt", name], &format!("enc.{name}")).await;
        let expected = if name.ends_with("json") { &from_json[..] } else { &from_env[..] };
        imported(&node, &mut with_keys(&format!("enc.{name}")), expected).await;
    }

    for name in ["groups.json", "groups.env"] {
        let path = sops(&node, &["encrypt", name], &format!("enc.{name}")).await;
        let fact = "its data key is split over 2 key groups";
        refused(&node, &mut with_keys(path.to_str().unwrap()), &[fact]).await;
    }
    for name in ["all.json", "all.env"] {
        let path = node.folder().path().join(format!("enc.{name}"));
        let text = fs::read_to_string(&path).unwrap();
        // Another value under the same name, from the same file as it was before.
        sops(&node, &["encrypt", name], "again").await;
        let again = fs::read_to_string(path.with_file_name("again")).unwrap();
        let line = |text: &str| text.lines().find(|line| line.contains("API_KEY")).unwrap().to_owned();
        node.folder().write(&format!("mixed.{name}"), text.replace(&line(&text), &line(&again)));
        let fact = "the value of \"API_KEY\" was changed, or moved from another name or file";
        refused(&node, &mut with_keys(&format!("mixed.{name}")), &[fact]).await;
        let without = text.lines().filter(|line| !line.contains("API_KEY")).collect::<Vec<_>>().join("\n");
        node.folder().write(&format!("without.{name}"), without);
        refused(&node, &mut with_keys(&format!("without.{name}")), &["MAC mismatch"]).await;
    }

    // What the error says about YAML works.
    sops(&node, &["encrypt", "all.yaml"], "enc.yaml").await;
    let facts =
        ["it is a SOPS file in YAML", "sops decrypt --output-type dotenv FILE | wasm-fn secrets import -"];
    refused(&node, &mut with_keys("enc.yaml"), &facts).await;
    let plain = sops(&node, &["decrypt", "--output-type", "dotenv", "enc.yaml"], "plain").await;
    run_with(&mut import(&node, &["-"]), &fs::read(Path::new(&plain)).unwrap()).await.ok();
    let list = node.cli_json(&["secrets", "list", "-f", "hello"]).await;
    assert_eq!(list["secrets"].as_array().unwrap().len(), 2, "{list}");
}
