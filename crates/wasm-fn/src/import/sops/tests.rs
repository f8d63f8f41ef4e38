//! Files that SOPS wrote, files that a second writer makes by the same format, and files that were changed.

use aes_gcm::{
    AesGcm, KeyInit as _,
    aead::{
        AeadInPlace as _,
        consts::{U12, U32},
    },
    aes::Aes256,
};
use age::{armor::Format, x25519::Identity};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    super::tests::{KEYS, Keys, identity, refused, sealed, shown},
    *,
};

// Written by sops 3.11.0 from files with what the tests expect.
const JSON: &str = include_str!("../fixtures/secrets.json");
const DOTENV: &str = include_str!("../fixtures/secrets.env");
const WHOLE: &str = include_str!("../fixtures/secrets.txt");

const PEM: &str = "-----BEGIN-----\nabc\n-----END-----\n";

/// When the second writer writes.
const NOW: &str = "2026-11-30T10:00:00Z";

fn pairs(values: &[(&str, &str)]) -> Vec<(String, String)> {
    values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn files_of_sops_have_the_values_that_were_encrypted() {
    let keys = Keys::new(KEYS);
    let expected = [
        ("API_KEY", "hunter2"),
        ("DB_URL", "postgres://user:päss@db/name?x=1"),
        ("PEM", PEM),
        ("PORT", "5432"),
        ("RATIO", "0.25"),
        ("DEBUG", "true"),
        ("REGION_unencrypted", "eu-1"),
        ("REPLICAS_unencrypted", "3"),
        ("CANARY_unencrypted", "false"),
    ];
    assert_eq!(shown(JSON.as_bytes(), "secrets.json", &keys.file()).unwrap(), pairs(&expected));
    // Quotes and comments mean what they mean in a plain dotenv file.
    let expected = [
        ("API_KEY", "hunter2"),
        ("DB_URL", "postgres://db # all of it"),
        ("PEM", PEM),
        ("REGION_unencrypted", "eu-1"),
    ];
    for path in ["secrets.env", "-"] {
        assert_eq!(shown(DOTENV.as_bytes(), path, &keys.file()).unwrap(), pairs(&expected));
    }
    assert_eq!(shown(WHOLE.as_bytes(), "secrets.txt", &keys.file()).unwrap(), pairs(&expected));
}

/// Writes files as SOPS does.
struct Writer {
    data_key: [u8; 32],
    /// Length of nonces.
    nonce: usize,
    /// What else `sops` has.
    added: Value,
    mac_only_encrypted: bool,
}

impl Writer {
    fn new() -> Self {
        Self { data_key: [7; 32], nonce: 32, added: json!({}), mac_only_encrypted: false }
    }

    fn with(added: Value) -> Self {
        Self { added, ..Self::new() }
    }

    fn encrypted(&self, text: &str, kind: &str, place: &str) -> String {
        let mut data = text.as_bytes().to_vec();
        // A nonce that no other place has.
        let nonce = &Sha512::digest(place)[..self.nonce];
        let key = self.data_key.as_slice().into();
        let tag = match self.nonce {
            12 => AesGcm::<Aes256, U12>::new(key).encrypt_in_place_detached(
                nonce.into(),
                place.as_bytes(),
                &mut data,
            ),
            _ => AesGcm::<Aes256, U32>::new(key).encrypt_in_place_detached(
                nonce.into(),
                place.as_bytes(),
                &mut data,
            ),
        };
        let [data, nonce, tag] =
            [&data[..], nonce, &tag.unwrap()[..]].map(|bytes| BASE64_STANDARD.encode(bytes));
        format!("ENC[AES256_GCM,data:{data},iv:{nonce},tag:{tag},type:{kind}]")
    }

    /// A JSON file with `values`, each of a type of SOPS, or without one if it stays plain JSON.
    fn json(&self, values: &[(&str, &str, &str)]) -> String {
        let mut hash = Sha512::new();
        if self.mac_only_encrypted {
            hash.update(Sha256::digest("sops"));
        }
        let mut lines = String::new();
        for (name, value, kind) in values {
            let written = if kind.is_empty() {
                if !self.mac_only_encrypted {
                    let value = value.trim_matches('"');
                    hash.update(match value {
                        "true" => "True",
                        "false" => "False",
                        other => other,
                    });
                }
                (*value).to_owned()
            } else {
                hash.update(value);
                json!(self.encrypted(value, kind, &format!("{name}:"))).to_string()
            };
            lines += &format!("{}: {written},\n", json!(name));
        }
        let mac = self.encrypted(&hex::encode_upper(hash.finalize()), "str", NOW);
        let data_key = String::from_utf8(sealed(&self.data_key, &[&identity()], Format::AsciiArmor)).unwrap();
        let mut sops = json!({
            "age": [{ "recipient": "age1", "enc": data_key }], "pgp": null, "lastmodified": NOW, "mac": mac,
            "mac_only_encrypted": self.mac_only_encrypted, "version": "3.11.0",
        });
        for (name, value) in self.added.as_object().unwrap() {
            sops[name] = value.clone();
        }
        format!("{{{lines}\"sops\": {sops}}}")
    }
}

/// What is read from a JSON file.
fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    shown(text.as_bytes(), "secrets.json", &Keys::new(KEYS).file())
}

#[track_caller]
fn refuses(text: &str, fact: &str) {
    refused(text.as_bytes(), "secrets.json", &Keys::new(KEYS).file(), fact);
}

const TWO: [(&str, &str, &str); 2] = [("API_KEY", "hunter2", "str"), ("DB_URL", "postgres://db", "str")];

#[test]
fn second_writer_is_read_as_sops_is() {
    let two = pairs(&[("API_KEY", "hunter2"), ("DB_URL", "postgres://db")]);
    assert_eq!(read(&Writer::new().json(&TWO)).unwrap(), two);
    assert_eq!(read(&Writer { nonce: 12, ..Writer::new() }.json(&TWO)).unwrap(), two);
    let kinds = [
        ("A", "12", "int"),
        ("B", "True", "bool"),
        ("C_unencrypted", "1e21", ""),
        ("D_unencrypted", "\"text\"", ""),
        ("E_unencrypted", "true", ""),
        ("F", "bytes", "bytes"),
    ];
    let mut hashed = kinds;
    // SOPS hashes numbers without exponents.
    hashed[2].1 = "1000000000000000000000";
    let values = read(&Writer::new().json(&hashed).replace(": 1000000000000000000000", ": 1e21")).unwrap();
    let expected = [
        ("A", "12"),
        ("B", "true"),
        ("C_unencrypted", "1000000000000000000000"),
        ("D_unencrypted", "text"),
        ("E_unencrypted", "true"),
        ("F", "bytes"),
    ];
    assert_eq!(values, pairs(&expected));
}

#[test]
fn rule_of_the_file_says_what_is_encrypted() {
    let values = [("API_KEY", "hunter2", "str"), ("REGION", "\"eu-1\"", "")];
    let expected = pairs(&[("API_KEY", "hunter2"), ("REGION", "eu-1")]);
    for rule in [
        json!({ "encrypted_suffix": "_KEY" }),
        json!({ "encrypted_regex": "^(API|DB)" }),
        json!({ "unencrypted_suffix": "ION" }),
        json!({ "unencrypted_regex": "^REG", "encrypted_regex": "" }),
    ] {
        for mac_only_encrypted in [false, true] {
            let writer = Writer { mac_only_encrypted, ..Writer::with(rule.clone()) };
            assert_eq!(read(&writer.json(&values)).unwrap(), expected, "{rule}");
        }
    }
    refuses(&Writer::new().json(&values), "\"REGION\" is not encrypted, and by the rule in the file");
    refuses(&Writer::new().json(&[("PORT", "1", "")]), "\"PORT\" is not encrypted");
    let two = Writer::with(json!({ "encrypted_suffix": "_KEY", "encrypted_regex": "KEY" }));
    refuses(&two.json(&values), "`encrypted_suffix` and `encrypted_regex` of SOPS are both there");
    let bad = Writer::with(json!({ "encrypted_regex": "(" }));
    refuses(&bad.json(&values), "`encrypted_regex` of SOPS is no regular expression");
    let comments = Writer::with(json!({ "encrypted_comment_regex": "secret" }));
    refuses(&comments.json(&values), "`encrypted_comment_regex` of SOPS is not supported");
}

#[test]
fn what_was_changed_since_is_refused() {
    let writer = Writer::new();
    let file = writer.json(&TWO);
    let [first, second] = TWO.map(|(name, value, kind)| writer.encrypted(value, kind, &format!("{name}:")));
    let swap = |file: &str, first: &str, second: &str| {
        file.replace(first, "@").replace(second, first).replace('@', second)
    };
    let swapped = swap(&file, &first, &second);
    refuses(&swapped, "the value of \"API_KEY\" was changed, or moved from another name or file");
    refuses(&file.replace("API_KEY", "API_KEX"), "the value of \"API_KEX\" was changed, or moved");
    let mac = "MAC mismatch: a value was changed, added, removed or moved";
    let lines: Vec<_> = file.lines().collect();
    let [api_key, db_url] = [lines[0].trim_start_matches('{'), lines[1]];
    refuses(&file.replace(api_key, ""), mac);
    refuses(&swap(&file, api_key, db_url), mac);
    refuses(&file.replace(api_key, &format!("\"X_unencrypted\": 1,\n{api_key}")), mac);
    refuses(&file.replace(&first, ""), mac);
    refuses(&file.replace(NOW, "2026-11-30T10:00:01Z"), "its MAC was changed");
    refuses(&file.replace(&first, "hunter2"), "\"API_KEY\" is not encrypted");
    refuses(&file.replacen("iv:", "iv:AAAA", 1), "has a nonce of 35 bytes, expected 32 or 12");
    refuses(&file.replacen("tag:", "tag:AAAA", 1), "has a tag of 19 bytes, expected 16");
    refuses(&file.replacen("data:", "data:?", 1), "data is not base64");
    refuses(&file.replacen("type:str", "type:time", 1), "is of the type \"time\", expected str");
    // Its MAC is over all values: with a changed one, the file of SOPS gives none.
    refuses(&JSON.replace("\"eu-1\"", "\"eu-2\""), mac);
    refuses(&JSON.replace("\"REPLICAS_unencrypted\": 3", "\"REPLICAS_unencrypted\": 4"), mac);
    refused(DOTENV.replace("=eu-1", "=eu-2").as_bytes(), "secrets.env", &Keys::new(KEYS).file(), mac);
}

#[test]
fn no_changed_character_changes_a_value() {
    let keys = Keys::new(KEYS);
    for (text, path) in [(JSON, "secrets.json"), (DOTENV, "secrets.env")] {
        let whole: Vec<_> = shown(text.as_bytes(), path, &keys.file()).unwrap();
        for at in 0..text.len() {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            // SOPS protects the order of values, and the names of encrypted ones.
            let Ok(values) = shown(&bytes, path, &keys.file()) else { continue };
            assert_eq!(values.len(), whole.len(), "byte {at} of {path}");
            for (found, expected) in values.iter().zip(&whole) {
                assert_eq!(found.1, expected.1, "byte {at} of {path}");
                assert!(found.0 == expected.0 || expected.0.ends_with("_unencrypted"), "byte {at} of {path}");
            }
        }
    }
}

#[test]
fn data_key_for_others_is_refused_by_name() {
    let other = Keys::new(&{
        let identity = Identity::generate().to_string();
        age::secrecy::ExposeSecret::expose_secret(&identity).to_owned()
    });
    let fact = "keys.txt opens it; it is encrypted to 1 recipient";
    refused(JSON.as_bytes(), "secrets.json", &other.file(), fact);
    let keyed = |added: Value| Writer::with(added).json(&TWO);
    let pgp = json!([{ "fp": "7FB89715AADA920D", "enc": "-----BEGIN PGP MESSAGE-----" }]);
    refuses(&keyed(json!({ "age": [], "pgp": pgp })), "encrypted by pgp, expected age: `sops rotate");
    refuses(&keyed(json!({ "age": null, "pgp": pgp, "kms": pgp })), "encrypted by kms and pgp, expected age");
    refuses(&keyed(json!({ "age": null })), "encrypted by nothing, expected an age recipient");
    let groups = json!({ "age": null, "key_groups": [{}, {}], "shamir_threshold": 2 });
    refuses(&keyed(groups), "its data key is split over 2 key groups, expected one");
    let enc = |bytes: &[u8]| String::from_utf8(sealed(bytes, &[&identity()], Format::AsciiArmor)).unwrap();
    refuses(&keyed(json!({ "age": [{ "enc": enc(b"short") }] })), "its data key has 5 bytes, expected 32");
    refuses(&keyed(json!({ "age": [{ "enc": "none" }] })), "its data key cannot be decrypted");
    // Somebody else's data key before it is none of a reason.
    let elses = sealed(&[7; 32], &[&Identity::generate()], Format::AsciiArmor);
    let both = json!([{ "enc": String::from_utf8(elses).unwrap() }, { "enc": enc(&[7; 32]) }]);
    assert_eq!(read(&keyed(json!({ "age": both }))).unwrap().len(), 2);
    // That the file cannot be read is said before identities are looked for.
    let text = keyed(json!({ "age": [], "pgp": pgp }));
    refused(text.as_bytes(), "-", &super::super::IdentityFile::Nowhere, "encrypted by pgp");
}

#[test]
fn flat_file_says_the_same_of_its_keys() {
    let refuses = |text: &str, fact| refused(text.as_bytes(), "s.env", &Keys::new(KEYS).file(), fact);
    let without_age = |more: &str| {
        let lines = DOTENV.lines().filter(|line| !line.starts_with("sops_age"));
        lines.chain(more.lines()).collect::<Vec<_>>().join("\n")
    };
    refuses(&without_age(""), "encrypted by nothing");
    refuses(&without_age("sops_pgp__list_0__map_fp=7F\nsops_pgp__list_0__map_enc=x"), "encrypted by pgp");
    let groups = "sops_key_groups__list_0__map_age__list_0__map_enc=x\n\
                  sops_key_groups__list_1__map_age__list_0__map_enc=x";
    refuses(&without_age(groups), "its data key is split over 2 key groups");
    // A file that lost what SOPS adds is no plain file.
    let lines = DOTENV.lines().filter(|line| !line.starts_with("sops_"));
    refuses(&lines.collect::<Vec<_>>().join("\n"), "encrypted by nothing");
    let lines = DOTENV.lines().filter(|line| !line.starts_with("sops_mac"));
    refuses(&lines.collect::<Vec<_>>().join("\n"), "`mac` of SOPS is missing");
    let lines = DOTENV.lines().filter(|line| !line.starts_with("sops_lastmodified"));
    refuses(&lines.collect::<Vec<_>>().join("\n"), "`lastmodified` of SOPS is missing");
    refuses(&format!("{DOTENV}hunter2\n"), "no `=`, expected NAME=value as SOPS writes it");
    // A secret may be named as SOPS names nothing.
    let plain = shown(b"sops_token=x", ".env", &super::super::IdentityFile::Nowhere).unwrap();
    assert_eq!(plain, pairs(&[("sops_token", "x")]));
}

#[test]
fn other_forms_are_refused_by_name() {
    let writer = Writer::new();
    let yaml =
        format!("API_KEY: {}\nsops:\n    age:\n        - enc: |\n", writer.encrypted("x", "str", "API_KEY:"));
    refuses(&yaml, "it is a SOPS file in YAML, expected JSON or dotenv: `sops decrypt --output-type dotenv");
    refuses("[section]\nA = 1\n[sops]\nmac = ENC[AES256_GCM,data:x]\n", "it is a SOPS file in INI");
    let nested = writer.json(&[("db", "{\"password\": \"hunter2\"}", "")]);
    refuses(&nested, "\"db\" is an object, expected a flat file");
    refuses(&writer.json(&[("hosts", "[\"hunter2\"]", "")]), "\"hosts\" is a list, expected a flat file");
    refuses(&writer.json(&[("none", "null", "")]), "\"none\" is null, expected a flat file");
    refuses("{\"API_KEY\": \"hunter2\"}", "it is JSON without `sops`");
    refuses(
        "{\"API_KEY\": \"hunter2\", \"sops\": \"hunter2\"}",
        "`sops` of it is not what SOPS writes, at line 1",
    );
    refuses("{\"API_KEY\": \"hunter2\",\n oops", "it is not JSON from line 2, column 2 on");
    let name = writer.json(&[("db-url", "hunter2", "str")]);
    refuses(&name, "secret name \"db-url\" has '-' at byte 2");
    let twice = writer.json(&[("API_KEY", "hunter2", "str"), ("API_KEY", "other", "str")]);
    refuses(&twice, "API_KEY is there twice");
    refuses(&writer.json(&[]), "it has no values");
}

#[test]
fn file_without_a_form_of_its_own_is_read_as_dotenv() {
    let keys = Keys::new(KEYS);
    let writer = Writer::new();
    let whole = writer.json(&[("data", "A=1\nB='two'\n", "str")]);
    let values = shown(whole.as_bytes(), "secrets.conf", &keys.file()).unwrap();
    assert_eq!(values, pairs(&[("A", "1"), ("B", "two")]));
    // By the rule of SOPS, the same file with this extension has a value named `data`.
    assert_eq!(read(&whole).unwrap(), pairs(&[("data", "A=1\nB='two'\n")]));
    let other = writer.json(&[("data", "hunter2", "str")]);
    refused(
        other.as_bytes(),
        "secrets",
        &keys.file(),
        "what SOPS encrypted is no dotenv file: line 1: no `=`",
    );
}
