//! OpenID Connect: who shows a token that an issuer made, which the node's configuration trusts; and how
//! people get one.
//!
//! [`Issuers`] takes a JSON Web Token (RFC 7519) to the [`IssuerOptions`] of its issuer, checks it, and
//! gives its holder the rights of the first rule that its claims match. The keys of an issuer come from
//! its discovery document (OpenID Connect Discovery 1.0, section 4), are kept, and are fetched again
//! when they get old or when a token names another.
//!
//! [`LoginClient`] is the other side: a program by which somebody logs in at an issuer. In a terminal that is
//! the Device Authorization Grant (RFC 8628), where [`Polling`] decides when to ask the issuer again, and
//! what its answers mean. In a browser, which the issuer sends back with a code, it is a [`Redirection`].
//!
//! Invariants: no algorithm is used that the configuration does not list, and none can be listed whose keys
//! are not public; nothing is believed of a token before its signature was verified, except which issuer and
//! key to verify it with; fetches are bounded in size, time and number, whatever tokens say; time is an
//! argument; this crate knows neither the API nor the node's own tokens.

mod algorithm;
mod check;
mod device;
mod discovery;
mod issuer;
mod issuers;
mod key_set;
mod redirection;
mod tokens;

pub use algorithm::{SignatureAlgorithm, SignatureAlgorithmError};
pub use device::{DeviceCode, GrantError, LoginClient, PollAnswer, Polling};
pub use discovery::{Discovery, FetchError, IssuerClient, IssuerUrl, IssuerUrlError};
pub use issuer::IssuerOptions;
pub use issuers::{Issuers, OidcError, Proven, is_jwt};
pub use redirection::Redirection;
pub use tokens::{Bearer, TokenSet, UnsuitableTokens};

#[cfg(test)]
mod tests;
