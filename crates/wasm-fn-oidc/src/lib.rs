//! OpenID Connect: who shows a token that an issuer made, which the node's configuration trusts.
//!
//! [`Issuers`] takes a JSON Web Token (RFC 7519) to the [`IssuerOptions`] of its issuer, checks it, and
//! gives its holder the rights of the first rule that its claims match. The keys of an issuer come from
//! its discovery document (OpenID Connect Discovery 1.0, section 4), are kept, and are fetched again
//! when they get old or when a token names another.
//!
//! Invariants: no algorithm is used that the configuration does not list, and none can be listed whose keys
//! are not public; nothing is believed of a token before its signature was verified, except which issuer and
//! key to verify it with; fetches are bounded in size, time and number, whatever tokens say; time is an
//! argument; this crate knows neither the API nor the node's own tokens.

mod algorithm;
mod check;
mod discovery;
mod issuer;
mod issuers;
mod key_set;

pub use algorithm::{SignatureAlgorithm, SignatureAlgorithmError};
pub use discovery::{Discovery, FetchError, IssuerClient, IssuerUrl, IssuerUrlError};
pub use issuer::IssuerOptions;
pub use issuers::{Issuers, OidcError, Proven, is_jwt};

#[cfg(test)]
mod tests;
