//! Where the node's key comes from, and what is said if it does not.

use std::{error::Error as _, time::Duration};

use super::*;

/// An error with its cause, as a node that does not start shows it.
fn told(error: &SecretsKeyError) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// A file in `dir` with this text and mode.
fn put(dir: &Path, text: &[u8], mode: u32) -> PathBuf {
    let path = dir.join(FILE);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// A command that runs this text as a script of the shell.
fn script(dir: &Path, text: &str) -> KeyCommand {
    let path = dir.join("script");
    fs::write(&path, text).unwrap();
    format!("sh {}", path.display()).parse().unwrap()
}

fn key() -> String {
    format!("wfk_{}", "0123456789abcdef".repeat(4))
}

#[test]
fn a_key_is_made_once_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let (first, file) = of_file(dir.path()).unwrap();
    assert!(!dir.path().join(FILE).exists(), "it is written when it is known to be the first");
    file.unwrap().write().unwrap();
    let (again, file) = of_file(dir.path()).unwrap();
    assert!(again.id() == first.id() && file.is_none());
    assert_eq!(fs::metadata(dir.path().join(FILE)).unwrap().permissions().mode() & 0o7777, 0o600);
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(files, [FILE], "no draft is left");
    let other = tempfile::tempdir().unwrap();
    let (second, file) = of_file(other.path()).unwrap();
    assert_ne!(second.id(), first.id());
    // Somebody is faster.
    let path = put(other.path(), key().as_bytes(), 0o600);
    let error = file.unwrap().write().unwrap_err();
    assert!(told(&error).starts_with(&format!("key file {} cannot be used", path.display())), "{error}");
    assert_eq!(fs::read_to_string(path).unwrap(), key(), "no key is replaced");
}

#[test]
fn a_file_that_others_can_read_is_refused_with_its_mode() {
    let dir = tempfile::tempdir().unwrap();
    for mode in [0o640, 0o604, 0o644, 0o620, 0o601] {
        let path = put(dir.path(), key().as_bytes(), mode);
        assert_eq!(
            told(&of_file(dir.path()).unwrap_err()),
            format!(
                "key file {} has mode {mode:04o}, expected 0600: others may have read the key",
                path.display()
            )
        );
    }
    for mode in [0o600, 0o400] {
        put(dir.path(), format!("{}\n", key()).as_bytes(), mode);
        assert!(of_file(dir.path()).is_ok(), "{mode:o}");
    }
}

#[test]
fn a_file_without_a_key_is_refused_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    for (text, message) in [
        (&b""[..], "found 0 bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits"),
        (b"wfk_12", "found 2 characters behind wfk_, expected 64 hexadecimal digits"),
        (b"\xff\xff", "found 2 bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits"),
        (
            &[b'x'; 1 << 20],
            "found 4096 bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits",
        ),
    ] {
        let path = put(dir.path(), text, 0o600);
        let error = of_file(dir.path()).unwrap_err();
        assert_eq!(told(&error), format!("key file {} holds no key: {message}", path.display()));
        assert_eq!(fs::read(&path).unwrap(), text);
    }
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(FILE)).unwrap();
    fs::set_permissions(folder.path().join(FILE), fs::Permissions::from_mode(0o700)).unwrap();
    let error = told(&of_file(folder.path()).unwrap_err());
    assert!(error.contains("cannot be used: ") && error.contains("irectory"), "{error}");
}

#[test]
fn a_variable_holds_the_key_itself() {
    let expected = NodeKey::parse(&key()).unwrap().id();
    assert_eq!(of_variable(format!(" {}\n", key()).into()).unwrap().id(), expected);
    let error = told(&of_variable("hunter2".into()).unwrap_err());
    assert_eq!(
        error,
        "WASM_FN_SECRETS_KEY holds no key: found 7 bytes that do not begin with wfk_, expected wfk_ and 64 \
         hexadecimal digits"
    );
}

#[test]
fn a_command_writes_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let command: KeyCommand = format!("echo {}", key()).parse().unwrap();
    assert_eq!(of_command(&command).unwrap().id(), NodeKey::parse(&key()).unwrap().id());
    for (text, message) in [
        (
            "echo hunter2",
            "`secrets_key_command` wrote no key to its standard output: found 7 bytes that do not begin with wfk_, expected wfk_ and 64 hexadecimal digits",
        ),
        (
            "echo hunter2; echo >&2; echo ' no token ' >&2; echo more >&2; exit 3",
            "`secrets_key_command` failed: sh ended with exit status: 3: no token",
        ),
        ("kill -9 $$", "`secrets_key_command` failed: sh ended with signal: 9 (SIGKILL)"),
        ("cat /dev/zero", "`secrets_key_command` failed: sh wrote more than 4096 bytes, expected a key"),
    ] {
        let found = told(&of_command(&script(dir.path(), text)).unwrap_err());
        assert_eq!(found, message);
    }
    let missing: KeyCommand = "/nowhere/vault read".parse().unwrap();
    let error = told(&of_command(&missing).unwrap_err());
    assert!(error.starts_with("`secrets_key_command` failed: /nowhere/vault cannot be started: "), "{error}");
}

#[test]
fn a_command_that_does_not_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let limit = Duration::from_millis(200);
    for text in ["exec sleep 1000", "exec sleep 1000 >&- 2>&-"] {
        let error = script(dir.path(), text).output_within(BYTES_MAX, limit).unwrap_err();
        assert_eq!(error.to_string(), "sh did not end within 200ms");
    }
}

#[test]
fn a_command_has_a_program_and_no_shell() {
    for text in ["", "  "] {
        assert!(text.parse::<KeyCommand>().is_err());
    }
    let command: KeyCommand = format!("echo  {} ; rm", key()).parse().unwrap();
    assert_eq!(command.to_string(), format!("echo {} ; rm", key()));
    let error = told(&of_command(&command).unwrap_err());
    assert!(error.contains("characters behind wfk_"), "{error}");
}
