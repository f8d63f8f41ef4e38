//! Patterns of function names.

use std::{fmt, str::FromStr, sync::Arc};

use wasm_fn_core::{FunctionName, NameError};

/// One function, `hello`; all whose names begin so, `shop-*`; or all, `*`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionPattern {
    // Invariant: a valid name if the pattern is exact; else empty or the beginning of a valid name.
    text: Arc<str>,
    prefix: bool,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A `*` that is not the last character.
    #[error("pattern {pattern:?} has `*` at byte {at}, expected it at the end only, as in `shop-*`")]
    Star {
        /// The rejected text.
        pattern: String,
        /// The byte offset of the `*`.
        at: usize,
    },
    /// What is left without the `*` is no name.
    #[error("pattern {pattern:?}: {source}")]
    Name {
        /// The rejected text.
        pattern: String,
        /// What is wrong with the name.
        source: NameError,
    },
}

impl FunctionPattern {
    /// All functions.
    pub fn all() -> Self {
        Self { text: Arc::from(""), prefix: true }
    }

    /// Whether it matches all functions, also those to come.
    pub fn is_all(&self) -> bool {
        self.prefix && self.text.is_empty()
    }

    /// Whether it matches `function`.
    pub fn matches(&self, function: &FunctionName) -> bool {
        let name = function.as_str();
        if self.prefix { name.starts_with(&*self.text) } else { *self.text == *name }
    }
}

impl FromStr for FunctionPattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (name, prefix) = match text.strip_suffix('*') {
            Some(name) => (name, true),
            None => (text, false),
        };
        if let Some(at) = name.find('*') {
            return Err(PatternError::Star { pattern: text.to_owned(), at });
        }
        if !(prefix && name.is_empty()) {
            let checked: Result<FunctionName, NameError> = name.parse();
            checked.map_err(|source| PatternError::Name { pattern: text.to_owned(), source })?;
        }
        Ok(Self { text: Arc::from(name), prefix })
    }
}

impl fmt::Display for FunctionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        f.write_str(if self.prefix { "*" } else { "" })
    }
}

impl fmt::Debug for FunctionPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests;
