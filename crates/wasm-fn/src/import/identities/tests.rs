//! Where identities are, and files that have none.

use super::{
    super::{
        tests::{KEYS, Keys, identity, refused, sealed},
        *,
    },
    *,
};

#[test]
fn file_is_the_one_that_is_named_or_that_of_sops() {
    let find = |named: Option<&str>, variables: &[(&str, &str)]| {
        IdentityFile::find(named.map(PathBuf::from), |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
        })
    };
    let home = ("HOME", "/home/ada");
    let all = [("SOPS_AGE_KEY_FILE", "/keys"), ("XDG_CONFIG_HOME", "/config"), home];
    assert_eq!(find(Some("/named"), &all), IdentityFile::Named("/named".into()));
    assert_eq!(find(None, &all), IdentityFile::Named("/keys".into()));
    assert_eq!(find(None, &all[1..]), IdentityFile::Usual("/config/sops/age/keys.txt".into()));
    let of_home = IdentityFile::Usual("/home/ada/.config/sops/age/keys.txt".into());
    assert_eq!(find(None, &all[2..]), of_home);
    assert_eq!(find(None, &[("SOPS_AGE_KEY_FILE", ""), ("XDG_CONFIG_HOME", ""), home]), of_home);
    assert_eq!(find(None, &[]), IdentityFile::Nowhere);
}

#[test]
fn file_without_an_identity_is_refused_and_not_shown() {
    let file = sealed(b"API_KEY=hunter2", &[&identity()], age::armor::Format::Binary);
    let refused = |keys: &IdentityFile, fact: &str| {
        refused(&file, "-", keys, fact);
        let error = read(&file, Path::new("-"), keys).unwrap_err();
        assert_eq!(error.code(), "invalid-identity");
        assert!(!error.to_string().contains("Q6S"), "{error}");
    };
    let nowhere = PathBuf::from("/nowhere/keys.txt");
    refused(&IdentityFile::Nowhere, "there is no age identity to open it with");
    refused(&IdentityFile::Usual(nowhere.clone()), "/nowhere/keys.txt does not exist");
    refused(&IdentityFile::Named(nowhere), "identity file /nowhere/keys.txt cannot be read: No such file");
    for mode in [0o640, 0o604, 0o660] {
        let facts = format!("keys.txt has mode {mode:04o}, expected 0600");
        refused(&Keys::new(KEYS).set_mode(mode).file(), &facts);
    }
    for (text, fact) in [
        ("", "has no identity of the kind AGE-SECRET-KEY-1…, and 0 of other kinds"),
        ("# none\nAGE-PLUGIN-TPM-1Q6S\n", "and 1 of other kinds"),
        ("AGE-SECRET-KEY-PQ-1Q6S\n", "and 1 of other kinds"),
        ("\n# a comment\nAGE-SECRET-KEY-1Q6S\n", "line 3 of identity file"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nQ6S\n", "line 1 of identity file"),
        ("age-encryption.org/v1\n-> scrypt Q6S 18\n", "is itself encrypted"),
        (&"#".repeat((64 << 10) + 1), "has more than 64 KiB"),
    ] {
        refused(&Keys::new(text).file(), fact);
    }
}

#[test]
fn any_identity_of_the_file_opens() {
    let other = age::x25519::Identity::generate();
    let secret = age::secrecy::ExposeSecret::expose_secret(&other.to_string()).to_owned();
    let keys = Keys::new(&format!("{KEYS}\r\n  {secret}\nAGE-PLUGIN-TPM-1Q6S\n"));
    for identity in [other, identity()] {
        let file = sealed(b"API_KEY=hunter2", &[&identity], age::armor::Format::Binary);
        assert_eq!(read(&file, Path::new("-"), &keys.file()).unwrap().len(), 1);
    }
}
