//! What SOPS adds to a file: the encrypted data key, the MAC, and which values are encrypted.

use regex::Regex;
use serde::{Deserialize, de::IgnoredAny};

/// How the names of values end that stay plain, if the file says nothing else.
const PLAIN_SUFFIX: &str = "_unencrypted";

/// What SOPS adds.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) rule: Rule,
    pub(super) mac_only_encrypted: bool,
    pub(super) mac: String,
    pub(super) last_modified: String,
    /// The data key, encrypted to each age recipient; at least one.
    pub(super) data_keys: Vec<String>,
}

/// Which values are encrypted, by their names.
#[derive(Clone, Debug)]
pub(super) enum Rule {
    /// All but those whose name ends so.
    AllBut(String),
    /// Only those whose name ends so.
    Only(String),
    /// All but those whose name matches.
    AllButMatching(Regex),
    /// Only those whose name matches.
    OnlyMatching(Regex),
}

/// Why a file is not read for what SOPS added.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MetadataError {
    /// Something is missing.
    #[error("`{0}` of SOPS is missing, expected the file as SOPS wrote it")]
    Missing(&'static str),
    /// The data key is split.
    #[error("its data key is split over {0} key groups, expected one key with an age recipient")]
    KeyGroups(usize),
    /// The data key is for others than age.
    #[error("its data key is encrypted by {}, expected age: `sops rotate --add-age` adds a recipient", .0.join(" and "))]
    Keys(Vec<&'static str>),
    /// The data key is for nobody.
    #[error("its data key is encrypted by nothing, expected an age recipient")]
    NoKeys,
    /// What is encrypted depends on comments.
    #[error("`{0}` of SOPS is not supported, expected a suffix or a regex for names")]
    Comments(&'static str),
    /// There are several rules.
    #[error("`{0}` and `{1}` of SOPS are both there, expected one rule for what is encrypted")]
    Rules(&'static str, &'static str),
    /// A rule is no regular expression.
    #[error("`{0}` of SOPS is no regular expression that can be read")]
    Regex(&'static str),
}

/// What SOPS adds to a JSON file. Absent, empty and null are the same; what is not known here is ignored, as
/// SOPS does it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct JsonMetadata {
    age: Option<Vec<AgeKey>>,
    kms: Option<Vec<IgnoredAny>>,
    gcp_kms: Option<Vec<IgnoredAny>>,
    hckms: Option<Vec<IgnoredAny>>,
    azure_kv: Option<Vec<IgnoredAny>>,
    hc_vault: Option<Vec<IgnoredAny>>,
    pgp: Option<Vec<IgnoredAny>>,
    key_groups: Option<Vec<IgnoredAny>>,
    lastmodified: Option<String>,
    mac: Option<String>,
    mac_only_encrypted: Option<bool>,
    unencrypted_suffix: Option<String>,
    encrypted_suffix: Option<String>,
    unencrypted_regex: Option<String>,
    encrypted_regex: Option<String>,
    unencrypted_comment_regex: Option<String>,
    encrypted_comment_regex: Option<String>,
}

/// The data key for one recipient. Who that is stands in the key itself, too.
#[derive(Debug, Deserialize)]
struct AgeKey {
    enc: String,
}

/// Lists of keys in a flat file, by what begins their names. Those of age come first.
const LISTS: [&str; 8] = ["age", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "pgp", "key_groups"];

/// The other names in a flat file.
const NAMES: [&str; 11] = [
    "lastmodified",
    "mac",
    "mac_only_encrypted",
    "unencrypted_suffix",
    "encrypted_suffix",
    "unencrypted_regex",
    "encrypted_regex",
    "unencrypted_comment_regex",
    "encrypted_comment_regex",
    "shamir_threshold",
    "version",
];

impl Metadata {
    /// Whether SOPS adds something under `name` to a flat file.
    pub(super) fn has_name(name: &str) -> bool {
        NAMES.contains(&name) || list(name).is_some()
    }

    /// Reads what SOPS added to a flat file, in any order.
    pub(super) fn of_lines(lines: Vec<(&str, String)>) -> Result<Self, MetadataError> {
        let mut json = JsonMetadata::default();
        for (name, value) in lines {
            let keys = |list: &mut Option<Vec<IgnoredAny>>, index: usize| {
                // As many as the highest index says; nobody needs more to be told of them.
                let list = list.get_or_insert_default();
                list.resize(list.len().max(index.saturating_add(1).min(1000)), IgnoredAny);
            };
            if let Some((list, index, field)) = list(name) {
                match list {
                    "age" if field == "enc" => {
                        json.age.get_or_insert_default().push(AgeKey { enc: value });
                    }
                    "age" => {}
                    "kms" => keys(&mut json.kms, index),
                    "gcp_kms" => keys(&mut json.gcp_kms, index),
                    "hckms" => keys(&mut json.hckms, index),
                    "azure_kv" => keys(&mut json.azure_kv, index),
                    "hc_vault" => keys(&mut json.hc_vault, index),
                    "pgp" => keys(&mut json.pgp, index),
                    _ => keys(&mut json.key_groups, index),
                }
                continue;
            }
            match name {
                "lastmodified" => json.lastmodified = Some(value),
                "mac" => json.mac = Some(value),
                "mac_only_encrypted" => json.mac_only_encrypted = Some(value == "true"),
                "unencrypted_suffix" => json.unencrypted_suffix = Some(value),
                "encrypted_suffix" => json.encrypted_suffix = Some(value),
                "unencrypted_regex" => json.unencrypted_regex = Some(value),
                "encrypted_regex" => json.encrypted_regex = Some(value),
                "unencrypted_comment_regex" => json.unencrypted_comment_regex = Some(value),
                "encrypted_comment_regex" => json.encrypted_comment_regex = Some(value),
                _ => {}
            }
        }
        Self::of_json(json)
    }

    /// Reads what SOPS added to a JSON file.
    pub(super) fn of_json(json: JsonMetadata) -> Result<Self, MetadataError> {
        let data_keys = data_keys(&json)?;
        let text = |text: Option<String>, name| {
            text.filter(|text| !text.is_empty()).ok_or(MetadataError::Missing(name))
        };
        Ok(Self {
            rule: rule(&json)?,
            mac_only_encrypted: json.mac_only_encrypted.unwrap_or_default(),
            mac: text(json.mac, "mac")?,
            last_modified: text(json.lastmodified, "lastmodified")?,
            data_keys,
        })
    }
}

fn data_keys(json: &JsonMetadata) -> Result<Vec<String>, MetadataError> {
    let count = |list: &Option<Vec<IgnoredAny>>| list.as_ref().map_or(0, Vec::len);
    let age: Vec<_> = json.age.iter().flatten().map(|key| key.enc.clone()).collect();
    let others = [
        ("kms", &json.kms),
        ("gcp_kms", &json.gcp_kms),
        ("hckms", &json.hckms),
        ("azure_kv", &json.azure_kv),
        ("hc_vault", &json.hc_vault),
        ("pgp", &json.pgp),
    ];
    let others: Vec<_> = others.iter().filter(|(_, list)| count(list) > 0).map(|(name, _)| *name).collect();
    match (age.is_empty(), others.is_empty(), count(&json.key_groups)) {
        (false, ..) => Ok(age),
        (true, false, _) => Err(MetadataError::Keys(others)),
        (true, true, 0) => Err(MetadataError::NoKeys),
        (true, true, groups) => Err(MetadataError::KeyGroups(groups)),
    }
}

fn rule(json: &JsonMetadata) -> Result<Rule, MetadataError> {
    let rules = [
        ("unencrypted_suffix", &json.unencrypted_suffix),
        ("encrypted_suffix", &json.encrypted_suffix),
        ("unencrypted_regex", &json.unencrypted_regex),
        ("encrypted_regex", &json.encrypted_regex),
        ("unencrypted_comment_regex", &json.unencrypted_comment_regex),
        ("encrypted_comment_regex", &json.encrypted_comment_regex),
    ];
    let given = |(name, text): (&'static str, &Option<String>)| {
        text.clone().filter(|text| !text.is_empty()).map(|text| (name, text))
    };
    let mut rules = rules.into_iter().filter_map(given);
    let Some((name, text)) = rules.next() else { return Ok(Rule::AllBut(PLAIN_SUFFIX.to_owned())) };
    if let Some((other, _)) = rules.next() {
        return Err(MetadataError::Rules(name, other));
    }
    let regex = |text: &str| Regex::new(text).map_err(|_| MetadataError::Regex(name));
    Ok(match name {
        "unencrypted_suffix" => Rule::AllBut(text),
        "encrypted_suffix" => Rule::Only(text),
        "unencrypted_regex" => Rule::AllButMatching(regex(&text)?),
        "encrypted_regex" => Rule::OnlyMatching(regex(&text)?),
        _ => return Err(MetadataError::Comments(name)),
    })
}

impl Rule {
    /// Whether the value of `name` is encrypted.
    pub(super) fn encrypts(&self, name: &str) -> bool {
        match self {
            Self::AllBut(suffix) => !name.ends_with(suffix),
            Self::Only(suffix) => name.ends_with(suffix),
            Self::AllButMatching(regex) => !regex.is_match(name),
            Self::OnlyMatching(regex) => regex.is_match(name),
        }
    }
}

/// List, index and field of the name of a field in a list: `age__list_0__map_enc`.
fn list(name: &str) -> Option<(&'static str, usize, &str)> {
    let (list, rest) = name.split_once("__list_")?;
    let list = LISTS.into_iter().find(|known| *known == list)?;
    let (index, field) = rest.split_once("__map_")?;
    Some((list, index.parse().ok()?, field))
}
