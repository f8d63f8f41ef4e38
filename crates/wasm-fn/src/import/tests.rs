//! Files of every form, whole and damaged.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use age::{
    Encryptor,
    armor::{ArmoredWriter, Format},
    x25519::Identity,
};
use tempfile::TempDir;
use wasm_fn_core::SecretName;
use zeroize::Zeroizing;

use super::*;

/// The identity that the fixtures are encrypted to.
pub(super) const KEYS: &str = include_str!("fixtures/keys.txt");

const PLAIN: &str = "# a comment\nAPI_KEY=hunter2\nexport DB_URL='postgres://db'\n";

/// A file with identities that only its owner may read.
pub(super) struct Keys {
    folder: TempDir,
}

impl Keys {
    pub(super) fn new(text: &str) -> Self {
        let keys = Self { folder: tempfile::tempdir().unwrap() };
        fs::write(keys.path(), text).unwrap();
        keys.set_mode(0o600)
    }

    pub(super) fn set_mode(self, mode: u32) -> Self {
        fs::set_permissions(self.path(), fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("keys.txt")
    }

    pub(super) fn file(&self) -> IdentityFile {
        IdentityFile::Named(self.path())
    }
}

/// The first identity in the fixture.
pub(super) fn identity() -> Identity {
    KEYS.lines().find_map(|line| line.parse().ok()).expect("the fixture has an identity")
}

/// `text`, encrypted to each of `identities`.
pub(super) fn sealed(text: &[u8], identities: &[&Identity], format: Format) -> Vec<u8> {
    let recipients: Vec<_> = identities.iter().map(|identity| identity.to_public()).collect();
    let recipients = recipients.iter().map(|recipient| recipient as &dyn age::Recipient);
    let armor = ArmoredWriter::wrap_output(Vec::new(), format).unwrap();
    let mut writer = Encryptor::with_recipients(recipients).unwrap().wrap_output(armor).unwrap();
    writer.write_all(text).unwrap();
    writer.finish().unwrap().finish().unwrap()
}

/// What is read from `bytes`, as text.
pub(super) fn shown(
    bytes: &[u8],
    path: &str,
    identities: &IdentityFile,
) -> Result<Vec<(String, String)>, String> {
    let values = read(bytes, Path::new(path), identities).map_err(|error| error.to_string())?;
    let shown = |(name, value): (SecretName, Zeroizing<Vec<u8>>)| {
        (name.to_string(), String::from_utf8(value.to_vec()).expect("the tests have text only"))
    };
    Ok(values.into_iter().map(shown).collect())
}

#[track_caller]
pub(super) fn refused(bytes: &[u8], path: &str, identities: &IdentityFile, fact: &str) {
    let error = shown(bytes, path, identities).expect_err(fact);
    assert!(error.contains(fact) && !error.contains("hunter2"), "no {fact:?} in {error}");
}

#[test]
fn encrypted_file_has_the_values_of_the_plain_one() {
    let plain = shown(PLAIN.as_bytes(), ".env", &IdentityFile::Nowhere).unwrap();
    let expected = [("API_KEY", "hunter2"), ("DB_URL", "postgres://db")];
    assert_eq!(plain, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));

    let (keys, other) = (Keys::new(KEYS), Identity::generate());
    for format in [Format::Binary, Format::AsciiArmor] {
        let file = sealed(PLAIN.as_bytes(), &[&other, &identity()], format);
        for path in ["secrets.env.age", "-", "secrets"] {
            assert_eq!(shown(&file, path, &keys.file()).unwrap(), plain, "{path}");
        }
    }
    // What people paste into a file begins with an empty line at times.
    let armored = sealed(PLAIN.as_bytes(), &[&identity()], Format::AsciiArmor);
    assert_eq!(shown(&[b"\n", &armored[..]].concat(), "-", &keys.file()).unwrap(), plain);
}

#[test]
fn large_value_is_decrypted_whole() {
    let (keys, value) = (Keys::new(KEYS), "x".repeat(1 << 20));
    let file = sealed(format!("API_KEY={value}").as_bytes(), &[&identity()], Format::Binary);
    assert_eq!(shown(&file, "-", &keys.file()).unwrap(), [("API_KEY".to_owned(), value)]);
}

#[test]
fn file_for_somebody_else_says_for_how_many() {
    let (keys, other) = (Keys::new(KEYS), Identity::generate());
    let file = sealed(PLAIN.as_bytes(), &[&other, &Identity::generate()], Format::Binary);
    refused(&file, "-", &keys.file(), "keys.txt opens it; it is encrypted to 2 recipients");
    let file = sealed(PLAIN.as_bytes(), &[&other], Format::Binary);
    refused(&file, "-", &keys.file(), "keys.txt opens it; it is encrypted to 1 recipient");
    let plugins = Keys::new(&format!("{KEYS}\nAGE-PLUGIN-YUBIKEY-1QQQ\n"));
    refused(&file, "-", &plugins.file(), "1 recipient; 1 identity there is not of the kind");
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let keys = Keys::new(KEYS);
    for format in [Format::Binary, Format::AsciiArmor] {
        let file = sealed(PLAIN.as_bytes(), &[&identity()], format);
        let whole = shown(&file, "-", &keys.file()).unwrap();
        for at in 0..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            // Armor may end in white space of any kind.
            let values = shown(&flipped, "secrets.age", &keys.file());
            assert!(values.is_err() || (at + 1 == file.len() && values.as_ref() == Ok(&whole)), "byte {at}");

            let end = file[..at].trim_ascii_end().len();
            let values = shown(&file[..at], "secrets.age", &keys.file());
            assert!(values.is_err() || end == file.trim_ascii_end().len(), "{at} bytes: {values:?}");
        }
    }
}

#[test]
fn damage_is_named_by_its_place() {
    let keys = Keys::new(KEYS);
    let file = sealed(PLAIN.as_bytes(), &[&identity()], Format::Binary);
    let mac = file.windows(4).position(|window| window == b"--- ").unwrap() + 4;
    let flipped = |at: usize, bit: u8| {
        let mut file = file.clone();
        file[at] ^= bit;
        file
    };
    refused(&flipped(file.len() - 1, 1), "-", &keys.file(), "its encrypted contents were changed or cut off");
    refused(&file[..file.len() - 1], "-", &keys.file(), "its encrypted contents were changed or cut off");
    refused(&file[..mac], "-", &keys.file(), "its age header is damaged or cut off");
    refused(&flipped(20, 1), "-", &keys.file(), "its version of age is unknown");
    let other = if file[mac] == b'A' { b'B' } else { b'A' };
    refused(&flipped(mac, file[mac] ^ other), "-", &keys.file(), "its age header was changed");
    let armored = sealed(PLAIN.as_bytes(), &[&identity()], Format::AsciiArmor);
    refused(&armored[..armored.len() / 2], "-", &keys.file(), "its age armor is damaged or cut off");
    refused(PLAIN.as_bytes(), "secrets.env.age", &keys.file(), "it is not an age file, although its name");
    refused(b"", "secrets.env.age", &keys.file(), "it is not an age file, although its name");
    let binary = sealed(b"API_KEY=\xff", &[&identity()], Format::Binary);
    refused(&binary, "-", &keys.file(), "what age encrypted is not UTF-8");
    let name = sealed(b"API-KEY=hunter2", &[&identity()], Format::Binary);
    refused(&name, "-", &keys.file(), "line 1: a name that is none");
    refused(&sealed(b"# none\n", &[&identity()], Format::Binary), "-", &keys.file(), "it has no values");
}

#[test]
fn passphrase_is_refused_before_identities_are_looked_for() {
    let mut recipient = age::scrypt::Recipient::new("correct horse".to_owned().into());
    recipient.set_work_factor(2);
    let file = age::encrypt(&recipient, PLAIN.as_bytes()).unwrap();
    refused(&file, "-", &IdentityFile::Nowhere, "it is encrypted with a passphrase, expected recipients");
}
