//! The stored form of where deployments come from.

use serde::{Deserialize, Serialize};

use super::{Malformed, parse};
use crate::state;

/// The stored form of [`state::Provenance`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredProvenance {
    artifact: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trigger: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl From<&state::Provenance> for StoredProvenance {
    fn from(provenance: &state::Provenance) -> Self {
        let state::Provenance { artifact, trigger, event, repository, reference, commit, author, url } =
            provenance.clone();
        let trigger = trigger.map(|trigger| trigger.to_string());
        Self { artifact, trigger, event, repository, reference, commit, author, url }
    }
}

impl TryFrom<StoredProvenance> for state::Provenance {
    type Error = Malformed;

    fn try_from(stored: StoredProvenance) -> Result<Self, Malformed> {
        let StoredProvenance { artifact, trigger, event, repository, reference, commit, author, url } =
            stored;
        let trigger = trigger.as_deref().map(parse).transpose()?;
        Ok(Self { artifact, trigger, event, repository, reference, commit, author, url })
    }
}
