//! OpenID Connect: who shows a token that an issuer made, which the node's configuration trusts; and how
//! people get one.
//!
//! [`Issuers`] takes a JSON Web Token (RFC 7519) to the [`IssuerOptions`] of its issuer, checks it, and
//! gives its holder the rights of the first rule that its claims match. The keys of an issuer come from
//! its discovery document (OpenID Connect Discovery 1.0, section 4), are kept, and are fetched again
//! when they get old or when a token names another.
//!
//! [`DeviceClient`] is the other side: a program by which somebody logs in at an issuer, by the Device
//! Authorization Grant (RFC 8628). [`Polling`] decides when to ask the issuer again, and what its answers
//! mean.
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
mod tokens;

pub use algorithm::{SignatureAlgorithm, SignatureAlgorithmError};
pub use device::{DeviceClient, DeviceCode, GrantError, PollAnswer, Polling};
pub use discovery::{Discovery, FetchError, IssuerClient, IssuerUrl, IssuerUrlError};
pub use issuer::IssuerOptions;
pub use issuers::{Issuers, OidcError, Proven, is_jwt};
pub use tokens::{Bearer, TokenSet, UnsuitableTokens};

#[cfg(test)]
mod tests;
