//! Where logins are kept, and which files are refused.

use super::*;

fn node(server: &str) -> NodeAddress {
    super::super::address(server).unwrap()
}

fn login(token: &str) -> StoredLogin {
    StoredLogin {
        issuer: "https://id.example.com".to_owned(),
        client_id: "wasm-fn".to_owned(),
        audience: "wasm-fn".to_owned(),
        token: token.to_owned(),
        expires_ms: 1,
        refresh_token: None,
    }
}

/// A file in a folder that does not exist yet.
fn file() -> (tempfile::TempDir, CredentialsFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = CredentialsFile::below(Some(folder.path().join("new").into()), None).unwrap();
    (folder, file)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn file_is_in_the_users_folder_of_configuration() {
    let below = |config: Option<&str>, home: Option<&str>| {
        let file = CredentialsFile::below(config.map(OsString::from), home.map(PathBuf::from));
        file.map(|file| file.path().display().to_string())
    };
    let in_home = Some("/home/ann/.config/wasm-fn/credentials.json".to_owned());
    assert_eq!(
        below(Some("/etc/ann"), Some("/home/ann")),
        Some("/etc/ann/wasm-fn/credentials.json".to_owned())
    );
    for config in [None, Some(""), Some("relative")] {
        assert_eq!(below(config, Some("/home/ann")), in_home, "{config:?}");
    }
    assert_eq!(below(None, None), None);
    assert_eq!(below(None, Some("")), None);
}

#[test]
fn logins_are_kept_by_node_where_only_their_owner_reads_them() {
    let (_folder, file) = file();
    let (a, b) = (node("https://Node.example.com:443"), node("http://127.0.0.1:8081"));
    assert_eq!(file.find(&a).unwrap(), None);
    let lock = file.lock().unwrap();
    assert_eq!(file.replace(&lock, &a, Some(login("1"))).unwrap(), None);
    assert_eq!(file.replace(&lock, &b, Some(login("2"))).unwrap(), None);
    assert_eq!(file.replace(&lock, &a, Some(login("3"))).unwrap(), Some(login("1")));
    assert_eq!((mode(file.path()), mode(file.path().parent().unwrap())), (0o600, 0o700));
    assert_eq!(file.find(&node("https://node.example.com")).unwrap(), Some(login("3")));
    assert_eq!(file.find(&node("http://node.example.com")).unwrap(), None);
    assert_eq!(file.replace(&lock, &a, None).unwrap(), Some(login("3")));
    assert_eq!((file.find(&a).unwrap(), file.find(&b).unwrap()), (None, Some(login("2"))));
}

#[test]
fn file_that_others_may_read_is_refused_and_left() {
    let (_folder, file) = file();
    let (node, lock) = (node("http://127.0.0.1:8081"), file.lock().unwrap());
    file.replace(&lock, &node, Some(login("1"))).unwrap();
    for bits in [0o640, 0o604, 0o610, 0o666] {
        fs::set_permissions(file.path(), fs::Permissions::from_mode(bits)).unwrap();
        let expected = format!("has mode {bits:04o}, expected 0600: others may have read it");
        for error in [file.find(&node).unwrap_err(), file.replace(&lock, &node, None).unwrap_err()] {
            assert!(error.to_string().contains(&expected), "{error}");
            assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
        }
    }
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o400)).unwrap();
    assert_eq!(file.find(&node).unwrap(), Some(login("1")));
}

#[test]
fn other_files_are_refused_without_being_shown() {
    let (_folder, file) = file();
    drop(file.lock().unwrap());
    let huge = " ".repeat(5 << 20);
    let table = [
        ("secret", "is invalid at line 1"),
        ("{\"format\": 1,\n\"logins\": \"secret\"}", "is invalid at line 2"),
        ("{\"format\": 2, \"secrets\": []}", "has the format 2, expected 1"),
        ("{\"format\": 1, \"logins\": {}, \"more\": \"secret\"}", "is invalid at line 1"),
        (&huge, "has more than 4194304 bytes"),
    ];
    for (text, expected) in table {
        fs::write(file.path(), text).unwrap();
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        let error = file.find(&node("http://127.0.0.1:8081")).unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains("secret"), "{error}");
    }
}

#[test]
fn tokens_are_not_shown() {
    let login = StoredLogin { refresh_token: Some("r-secret".to_owned()), ..login("t-secret") };
    assert!(!format!("{login:?}").contains("secret"), "{login:?}");
}
