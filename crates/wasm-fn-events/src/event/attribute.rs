//! The values of attributes, and the names of extensions.

use std::{fmt, str::FromStr, sync::Arc};

/// Longest attribute in bytes.
pub const ATTRIBUTE_BYTES_MAX: usize = 1024;

/// A value of the type `String` (CloudEvents 1.0.2, "Type System") that is not empty: text without control
/// characters (U+0000 to U+001F and U+007F to U+009F) and noncharacters, of 1 to [`ATTRIBUTE_BYTES_MAX`]
/// bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attribute(Arc<str>);

/// Longest name of an extension in bytes. The spec says that names should have at most 20.
pub const EXTENSION_NAME_BYTES_MAX: usize = 64;

/// A value of the type `URI-reference` (RFC 3986, section 4.1): an attribute of the characters that URIs
/// have.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UriReference(Attribute);

/// A media type as a header has it: an attribute of visible ASCII characters and spaces.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ContentType(Attribute);

/// The name of an extension attribute (CloudEvents 1.0.2, "Naming Conventions"): 1 to
/// [`EXTENSION_NAME_BYTES_MAX`] of `a-z` and `0-9`, and not that of another attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionName(Arc<str>);

/// Why a text is not the value of an attribute, or the name of an extension.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttributeError {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it is {bytes} bytes long, expected at most {ATTRIBUTE_BYTES_MAX}")]
    TooLong {
        /// Length found.
        bytes: usize,
    },
    /// It has a character that no attribute may have.
    #[error("it has the character U+{:04X} at byte {at}, expected no control characters", u32::from(*found))]
    Character {
        /// The character.
        found: char,
        /// Its byte offset.
        at: usize,
    },
    /// It is no URI reference.
    #[error("it has {found:?}, which no URI reference has")]
    Uri {
        /// The character.
        found: char,
    },
    /// It is no media type.
    #[error("it has {found:?}, expected visible ASCII characters")]
    ContentType {
        /// The character.
        found: char,
    },
    /// It is no name of an extension.
    #[error("it is no name of an extension, expected 1 to {EXTENSION_NAME_BYTES_MAX} of a-z and 0-9")]
    Name,
}

/// The attributes that are no extensions, `data` and its content type included.
const KNOWN: [&str; 9] =
    ["specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data", "data_base64"];

impl FromStr for Attribute {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        if text.is_empty() {
            return Err(AttributeError::Empty);
        }
        if text.len() > ATTRIBUTE_BYTES_MAX {
            return Err(AttributeError::TooLong { bytes: text.len() });
        }
        match text.char_indices().find(|&(_, c)| c.is_control() || is_noncharacter(c)) {
            Some((at, found)) => Err(AttributeError::Character { found, at }),
            None => Ok(Self(Arc::from(text))),
        }
    }
}

/// The last two of each plane, and U+FDD0 to U+FDEF.
fn is_noncharacter(c: char) -> bool {
    u32::from(c) & 0xfffe == 0xfffe || ('\u{fdd0}'..='\u{fdef}').contains(&c)
}

impl FromStr for UriReference {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let value: Attribute = text.parse()?;
        // RFC 3986, section 2: what is reserved or not, and percent-encodings.
        let fits = |c: char| c.is_ascii_alphanumeric() || "-._~:/?#[]@!$&'()*+,;=%".contains(c);
        match text.chars().find(|&c| !fits(c)) {
            Some(found) => Err(AttributeError::Uri { found }),
            None => Ok(Self(value)),
        }
    }
}

impl FromStr for ContentType {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let value: Attribute = text.parse()?;
        match text.chars().find(|c| !(c.is_ascii_graphic() || *c == ' ')) {
            Some(found) => Err(AttributeError::ContentType { found }),
            None => Ok(Self(value)),
        }
    }
}

impl FromStr for ExtensionName {
    type Err = AttributeError;

    fn from_str(text: &str) -> Result<Self, AttributeError> {
        let fits = (1..=EXTENSION_NAME_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
            && !is_known(text);
        if fits { Ok(Self(Arc::from(text))) } else { Err(AttributeError::Name) }
    }
}

/// Whether this is the name of an attribute that is no extension.
pub(super) fn is_known(name: &str) -> bool {
    KNOWN.contains(&name)
}

macro_rules! text {
    ($type:ty) => {
        impl $type {
            /// The value as text.
            pub fn as_str(&self) -> &str {
                let text: &str = self.0.as_ref();
                text
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}

text!(Attribute);
text!(UriReference);
text!(ContentType);
text!(ExtensionName);
