//! The addresses that versions have beside their stage's.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{VersionRole, live};

/// Parameters of `GET /v1/functions/{function}/preview`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PreviewQuery {
    /// The stage; `live` when absent.
    #[serde(default = "live")]
    pub stage: String,
    /// The version, by number or by `stable`, `canary`, `previous` or `latest`; all that have a role when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Where versions of a function are reached by themselves, and who may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewView {
    /// The function.
    pub function: String,
    /// The stage.
    pub stage: String,
    /// Who may use the addresses, by the configuration of the stable version: `open`, `token` or `off`.
    pub access: String,
    /// The token for all addresses of the function, where one is needed: the header `wasm-fn-token`, or once
    /// the query parameter `wasm-fn-preview`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The path that the guest sees in place of an address that is a path.
    pub guest_path: String,
    /// The addresses, newest version first; none where they are off.
    pub addresses: Vec<PreviewAddress>,
}

/// Where one version is reached by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewAddress {
    /// The version.
    pub version: String,
    /// What it is to the stage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<VersionRole>,
    /// The path, `/hello@v2`; everything below it too.
    pub path: String,
    /// The host name, where the node has a preview domain: `v2--hello.example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Why there is no host name though there is a preview domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_host: Option<String>,
}

/// Answer to `POST /v1/preview-key`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PreviewKeyRotated {
    /// When, Unix milliseconds; preview tokens made before are worthless.
    pub at_ms: u64,
}
