//! The addresses of single versions, next to their stage's routes.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{VersionRole, live};
use crate::words::{
    FunctionText, PreviewAccessWord, PreviewTokenText, StageText, VersionRefText, VersionText,
};

/// Parameters of `GET /v1/functions/{function}/preview`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    /// The stage; `live` if absent.
    #[serde(default = "live")]
    #[param(value_type = StageText)]
    pub stage: String,
    /// The version, by number or as `stable`, `canary`, `previous` or `latest`; every version with a role if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<VersionRefText>)]
    pub version: Option<String>,
}

/// The addresses of a function's versions, and who may use them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewView {
    /// The function.
    #[schema(value_type = FunctionText)]
    pub function: String,
    /// The stage.
    #[schema(value_type = StageText)]
    pub stage: String,
    /// Who may use the addresses, from the stable version's configuration: `open`, `token` or `off`.
    #[schema(value_type = PreviewAccessWord)]
    pub access: String,
    /// The token for all addresses of the function in this stage, if they need one. Send it in the header
    /// `wasm-fn-token`, or once in the query parameter `wasm-fn-preview`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<PreviewTokenText>)]
    pub token: Option<String>,
    /// The path that the guest sees instead, if the address is a path.
    pub guest_path: String,
    /// The addresses, newest version first; empty if previews are off.
    pub addresses: Vec<PreviewAddress>,
}

/// The addresses of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewAddress {
    /// The version.
    #[schema(value_type = VersionText)]
    pub version: String,
    /// The role of the version in the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// The path, `/hello@v2`; it covers everything below it.
    pub path: String,
    /// The host name, if the node has a preview domain: `v2--hello.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Why there is no host name, although the node has a preview domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_host: Option<String>,
}

/// Answer to `POST /v1/preview-key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewKeyRotated {
    /// When the key was replaced, Unix milliseconds. Preview tokens made before then are invalid.
    pub at_ms: u64,
}
