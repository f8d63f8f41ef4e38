//! What nodes tell each other about components, as it travels. What it leads to is not known here.

use serde::{Deserialize, Serialize};

/// The format of words that this program tells, and the newest that it hears.
const FORMAT: u64 = 1;

/// A word as it travels. One without a format is of the first.
#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default = "first_format")]
    format: u64,
    #[serde(flatten)]
    word: NodeWord,
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    #[serde(default = "first_format")]
    format: u64,
}

fn first_format() -> u64 {
    1
}

/// What nodes tell each other. A word that a node does not know is of a newer release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "kebab-case")]
pub(super) enum NodeWord {
    /// The component is about to be asked for: whoever hears it gets it meanwhile.
    Offered { component: String },
    /// Whoever hears it gets the component, takes its native code or compiles it, and says so.
    Prepare {
        component: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<SharedCode>,
    },
    /// The component can be called on this node.
    Prepared { component: String },
    /// The component cannot be called on this node.
    Refused { component: String, reason: String },
    /// The node that has this name is to end.
    Drain { node: String },
}

/// Native code that a node has put where every node finds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SharedCode {
    /// The name of its file, which tells for which engine and processor it is.
    pub(super) name: String,
    /// The keyed hash by which it is verified.
    pub(super) mac: String,
    /// The SHA-256 under which it is found.
    pub(super) sha256: String,
}

pub(super) fn write(word: &NodeWord) -> Vec<u8> {
    let wire = Wire { format: FORMAT, word: word.clone() };
    serde_json::to_vec(&wire).expect("a word has text keys and no fractions")
}

pub(super) fn read(body: &[u8]) -> Result<NodeWord, String> {
    let unreadable = |error: serde_json::Error| format!("it cannot be read: {error}");
    let AnyFormat { format } = serde_json::from_slice(body).map_err(unreadable)?;
    if format > FORMAT {
        return Err(format!("it has format {format}, expected at most {FORMAT}"));
    }
    let Wire { word, .. } = serde_json::from_slice(body).map_err(unreadable)?;
    Ok(word)
}

#[cfg(test)]
mod tests;
