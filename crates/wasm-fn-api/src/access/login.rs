//! How people log in: at issuers that the node trusts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::words::{ClientIdText, IssuerText, OauthScopeText};

/// How people log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginView {
    /// The issuers that give people a token for this node, in the order of its configuration.
    pub issuers: Vec<LoginIssuer>,
}

/// An issuer at which people log in, by the OAuth 2.0 Device Authorization Grant (RFC 8628).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LoginIssuer {
    /// Its identifier; its endpoints are in its discovery document.
    #[schema(value_type = IssuerText)]
    pub issuer: String,
    /// The public client that asks it for tokens.
    #[schema(value_type = ClientIdText)]
    pub client_id: String,
    /// The scopes to ask for.
    #[schema(value_type = Vec<OauthScopeText>)]
    pub scopes: Vec<String>,
    /// The audience that a token for this node has. If it is the client's id, ID tokens have it.
    pub audience: String,
}
