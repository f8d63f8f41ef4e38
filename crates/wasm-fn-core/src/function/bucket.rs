//! How a bucket of keys and values is configured.

use super::config::{ConfigError, bounded};

/// The configuration of a bucket. Its data belongs to a function in a stage, whatever version uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketConfig {
    /// Bytes of all its keys and values.
    pub bytes_max: u64,
    /// Number of its keys.
    pub keys_max: u64,
    /// Bytes of one value.
    pub value_bytes_max: u64,
    /// When a write returns.
    pub durability: Durability,
    /// What a read sees.
    pub consistency: Consistency,
}

/// When a write to a bucket returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is on disk.
    #[default]
    Committed,
    /// Once readers see it. It is on disk within a second.
    Relaxed,
}

/// What a read of a bucket sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Consistency {
    /// Every write that returned before it, on whichever node.
    #[default]
    Strong,
    /// In a cluster, what one of the broker's servers has, which may be older.
    Eventual,
}

impl Default for BucketConfig {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            keys_max: 100_000,
            value_bytes_max: 1 << 20,
            durability: Durability::default(),
            consistency: Consistency::default(),
        }
    }
}

impl BucketConfig {
    /// Checks that every value is within its bounds.
    ///
    /// # Errors
    /// The first key that is out of bounds.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bytes = |bytes: u64| format!("{bytes} bytes");
        let fits = (1 << 10..=64 << 30).contains(&self.bytes_max);
        bounded("bucket.bytes_max", fits, || bytes(self.bytes_max), "1KiB to 64GiB")?;
        let fits = (1..=100_000_000).contains(&self.keys_max);
        bounded("bucket.keys_max", fits, || self.keys_max.to_string(), "1 to 100000000")?;
        // A guest hands at most 16 MiB to the host in one call.
        let fits = (1..=8 << 20).contains(&self.value_bytes_max);
        bounded("bucket.value_bytes_max", fits, || bytes(self.value_bytes_max), "1B to 8MiB")
    }
}

impl Durability {
    /// Every durability.
    pub const ALL: [Self; 2] = [Self::Committed, Self::Relaxed];

    /// The word for it: `committed` or `relaxed`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Relaxed => "relaxed",
        }
    }
}

impl Consistency {
    /// Every consistency.
    pub const ALL: [Self; 2] = [Self::Strong, Self::Eventual];

    /// The word for it: `strong` or `eventual`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strong => "strong",
            Self::Eventual => "eventual",
        }
    }
}
