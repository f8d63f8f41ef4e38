//! Where versions come from, as clients see it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::TriggerText;

/// Where a version's component comes from, if not from a file. What code hosts say is shown as they said it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProvenanceView {
    /// The artifact, with its digest.
    pub artifact: String,
    /// The trigger that deployed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TriggerText>)]
    pub trigger: Option<String>,
    /// The id of the trigger's event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The repository of its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The branch or tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// The commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Who pushed or published it, as the code host names people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A page about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}
