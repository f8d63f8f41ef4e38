//! Buckets of keys and values, as people see them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::words::{BucketText, FunctionText, StageText};

/// Some keys of a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BucketKeyList {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The bucket.
    #[schema(value_type = BucketText)]
    pub bucket: String,
    /// The keys, sorted by their bytes.
    pub keys: Vec<String>,
    /// Whether there are more after them.
    pub more: bool,
    /// How many keys the bucket has.
    pub keys_used: u64,
    /// How many it may have.
    pub keys_max: u64,
    /// Bytes of all its keys and values.
    pub bytes_used: u64,
    /// How many they may have.
    pub bytes_max: u64,
}

/// Parameters of a list of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct BucketKeysQuery {
    /// Only keys that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only keys after this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many keys, 1 to 1,000; 100 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
}

/// The key that is meant. Keys may be empty, and may have any characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct BucketKeyQuery {
    /// The key, at most 1,024 bytes.
    pub key: String,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BucketValueView {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The bucket.
    #[schema(value_type = BucketText)]
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The revision of the write that set the value. No key of the bucket had it before.
    pub revision: u64,
    /// Bytes of the value.
    pub bytes: u64,
    /// The value, if it is text in UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The value in base64, if it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<String>,
}

/// A value was set or deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BucketKeyChanged {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// The bucket.
    #[schema(value_type = BucketText)]
    pub bucket: String,
    /// The key.
    pub key: String,
    /// The revision of the value; absent if it was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
}
