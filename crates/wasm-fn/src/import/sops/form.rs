//! The forms of files of SOPS: which one a text is in, its names and values, and what SOPS adds.

use std::{fmt, path::Path};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::metadata::{JsonMetadata, Metadata, MetadataError};

/// What begins the names of what SOPS adds to a dotenv file.
const PREFIX: &str = "sops_";

/// In what form a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object with one value for each name.
    Json,
    /// Lines of `NAME=value`.
    Dotenv,
    /// A JSON object whose one value, `data`, is a file of a type that SOPS does not know.
    Whole,
}

/// A value, encrypted or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text(String),
    /// As SOPS hashes it.
    Number(String),
    Bool(bool),
}

impl Scalar {
    /// What the MAC is over.
    pub(super) fn hashed(&self) -> &str {
        match self {
            Self::Text(text) | Self::Number(text) => text,
            Self::Bool(true) => "True",
            Self::Bool(false) => "False",
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.hashed().is_empty()
    }
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) | Self::Number(text) => f.write_str(text),
            Self::Bool(bool) => bool.fmt(f),
        }
    }
}

/// Why a text is in no form that is read. No value is shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    /// SOPS wrote it in another form.
    #[error(
        "it is a SOPS file in {0}, expected JSON or dotenv: \
         `sops decrypt --output-type dotenv FILE | wasm-fn secrets import -` reads it"
    )]
    Other(&'static str),
    /// It begins as JSON does.
    #[error("it is not JSON from line {line}, column {column} on, although it begins with `{{`")]
    Json { line: usize, column: usize },
    /// Nobody encrypted it.
    #[error("it is JSON without `sops`, expected a file that SOPS encrypted, or lines of NAME=value")]
    NotEncrypted,
    /// Something is in something else.
    #[error("{name:?} is {kind}, expected a flat file: text, a number or a boolean for each name")]
    Nested { name: String, kind: &'static str },
    /// What SOPS adds is not what it writes.
    #[error("`sops` of it is not what SOPS writes, at line {line}, column {column}")]
    Added { line: usize, column: usize },
    /// What SOPS adds is not supported.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// A line is no line of a dotenv file.
    #[error("line {0}: no `=`, expected NAME=value as SOPS writes it")]
    Line(usize),
}

/// What a file has.
pub(super) type Parts = (Form, Vec<(String, Scalar)>, Metadata);

/// Reads `text`, the contents of the file at `path`; `None` if SOPS did not write it.
pub(super) fn parse(text: &str, path: &Path) -> Result<Option<Parts>, FormError> {
    if text.trim_start().starts_with('{') {
        return Ok(Some(json(text, path)?));
    }
    let has_line = |line: &str| text.lines().any(|known| known.trim_end() == line);
    if text.contains("ENC[AES256_GCM,") {
        for (line, form) in [("sops:", "YAML"), ("[sops]", "INI")] {
            if has_line(line) {
                return Err(FormError::Other(form));
            }
        }
    }
    // A file that has lost what SOPS adds must not pass for a plain one.
    let is_encrypted = |line: &str| {
        let (name, value) = line.split_once('=').unwrap_or_default();
        !line.starts_with('#')
            && (value.starts_with("ENC[AES256_GCM,")
                || name.strip_prefix(PREFIX).is_some_and(Metadata::has_name))
    };
    if text.lines().any(is_encrypted) { Ok(Some(dotenv(text)?)) } else { Ok(None) }
}

fn dotenv(text: &str) -> Result<Parts, FormError> {
    let (mut entries, mut added) = (Vec::new(), Vec::new());
    for (index, line) in text.split('\n').enumerate() {
        // SOPS does not hash comments.
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(FormError::Line(index + 1))?;
        let value = value.replace("\\n", "\n");
        match name.strip_prefix(PREFIX) {
            Some(name) => added.push((name, value)),
            None => entries.push((name.to_owned(), Scalar::Text(value))),
        }
    }
    Ok((Form::Dotenv, entries, Metadata::of_lines(added)?))
}

fn json(text: &str, path: &Path) -> Result<Parts, FormError> {
    let file: JsonFile = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // The text of an error about data has the data.
        if error.is_data() { FormError::Added { line, column } } else { FormError::Json { line, column } }
    })?;
    let added = file.sops.ok_or(FormError::NotEncrypted)?;
    let mut entries = Vec::new();
    for (name, value) in file.entries {
        let kind = match value {
            JsonValue::Scalar(scalar) => {
                entries.push((name, scalar));
                continue;
            }
            JsonValue::Null => "null",
            JsonValue::List => "a list",
            JsonValue::Object => "an object",
        };
        return Err(FormError::Nested { name, kind });
    }
    // By the rule of SOPS: the extension is that of no form, and everything is in one value.
    let is_whole = path.extension().is_none_or(|extension| extension != "json")
        && matches!(&entries[..], [(name, Scalar::Text(_))] if name == "data");
    let form = if is_whole { Form::Whole } else { Form::Json };
    let metadata = Metadata::of_json(added)?;
    Ok((form, entries, metadata))
}

/// A JSON object in the order of the file: the MAC is over the values in that order.
struct JsonFile {
    entries: Vec<(String, JsonValue)>,
    sops: Option<JsonMetadata>,
}

enum JsonValue {
    Scalar(Scalar),
    Null,
    List,
    Object,
}

impl<'de> Deserialize<'de> for JsonFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct File;

        impl<'de> Visitor<'de> for File {
            type Value = JsonFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonFile, A::Error> {
                let mut file = JsonFile { entries: Vec::new(), sops: None };
                while let Some(name) = map.next_key::<String>()? {
                    if name == "sops" {
                        file.sops = Some(map.next_value()?);
                    } else {
                        file.entries.push((name, map.next_value()?));
                    }
                }
                Ok(file)
            }
        }

        deserializer.deserialize_map(File)
    }
}

impl<'de> Deserialize<'de> for JsonValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = JsonValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_str<E>(self, text: &str) -> Result<JsonValue, E> {
                Ok(JsonValue::Scalar(Scalar::Text(text.to_owned())))
            }

            fn visit_bool<E>(self, bool: bool) -> Result<JsonValue, E> {
                Ok(JsonValue::Scalar(Scalar::Bool(bool)))
            }

            fn visit_i64<E>(self, number: i64) -> Result<JsonValue, E> {
                Ok(JsonValue::Scalar(Scalar::Number(number.to_string())))
            }

            fn visit_u64<E>(self, number: u64) -> Result<JsonValue, E> {
                // SOPS takes for a float what its signed integers do not hold.
                let text =
                    i64::try_from(number).map_or_else(|_| decimal(number), |number| number.to_string());
                Ok(JsonValue::Scalar(Scalar::Number(text)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<JsonValue, E> {
                // The shortest digits that are this number, without an exponent: as Go's 'f' with -1.
                Ok(JsonValue::Scalar(Scalar::Number(number.to_string())))
            }

            fn visit_unit<E>(self) -> Result<JsonValue, E> {
                Ok(JsonValue::Null)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<JsonValue, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(JsonValue::List)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonValue, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(JsonValue::Object)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[expect(clippy::cast_precision_loss, reason = "SOPS loses it, too")]
fn decimal(number: u64) -> String {
    (number as f64).to_string()
}
