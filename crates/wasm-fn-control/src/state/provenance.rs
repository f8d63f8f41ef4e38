//! Where a deployment comes from, if not from a file of a person.

use wasm_fn_core::TriggerName;

/// Where the component of a deployment comes from. It is for people: nothing is decided by it. The texts are
/// of services outside, of bounded length and without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The artifact, with its digest: `registry.example.com/app@sha256:…`, or a URL.
    pub artifact: String,
    /// The trigger that deployed it.
    pub trigger: Option<TriggerName>,
    /// The id of the trigger's event.
    pub event: Option<String>,
    /// The repository of its source, such as `owner/name`.
    pub repository: Option<String>,
    /// The branch or tag.
    pub reference: Option<String>,
    /// The commit.
    pub commit: Option<String>,
    /// Who pushed or published it, as the code host names people.
    pub author: Option<String>,
    /// A page about it.
    pub url: Option<String>,
}
