//! Changes of values that functions keep.

/// What somebody did with a value that functions keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueOperation {
    /// It was set.
    Set,
    /// It was deleted.
    Delete,
}

impl ValueOperation {
    /// The word for this kind of change.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Set => "set-value",
            Self::Delete => "delete-value",
        }
    }
}
