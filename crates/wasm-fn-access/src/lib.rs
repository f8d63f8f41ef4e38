//! Who may do what on a node, and how they prove it.
//!
//! A token has [`Rights`]: [`Roles`], and a [`Scope`] of functions and stages. [`Permission`] is the table of
//! what each role may do. [`TokenSecret`] is what its holder shows, [`TokenHash`] what a node keeps of it.
//!
//! [`ClaimRules`] give rights for what another party says of somebody.
//!
//! Invariants: nothing is allowed that no line of the table allows; what is out of scope is refused as if it
//! did not exist, whatever the role; time, addresses and random bytes are arguments; this crate knows neither
//! HTTP nor where tokens are stored.

mod claims;
mod failures;
mod pattern;
mod permission;
mod rights;
mod role;
mod scope;
mod token;
mod tokens;

pub use claims::{ClaimRule, ClaimRuleError, ClaimRules, ClaimValue, Claims};
pub use failures::FailureLimit;
pub use pattern::{FunctionPattern, PatternError};
pub use permission::{Permission, Reach};
pub use rights::{Denial, Rights, Target};
pub use role::{AccessRole, AccessRoleError, Roles};
pub use scope::{Scope, ScopeError};
pub use token::{TokenHash, TokenKey, TokenSecret, TokenTextError};
pub use tokens::{Denied, Token, Tokens};
