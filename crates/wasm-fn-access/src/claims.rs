//! Claims: what another party says of somebody, and the rules that give rights for it.

use std::{collections::BTreeMap, fmt::Write as _};

use wasm_fn_core::TokenName;

use crate::Rights;

/// Most rules of one list, and most claims of one rule.
const ENTRIES_MAX: usize = 64;

/// Most bytes of a subject that are kept in a name.
const SUBJECT_BYTES_MAX: usize = 160;

/// Digits of the hash that ends a name whose subject is not there as it is.
const HASH_DIGITS: usize = 8;

/// What a token of another party says, by the names of its claims. Claims that are neither text nor a list of
/// texts are not there.
pub type Claims = BTreeMap<String, ClaimValue>;

/// The value of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimValue {
    /// A text, or a number or truth value by its text.
    Text(String),
    /// Several of them.
    List(Vec<String>),
}

/// Rights for whoever has certain claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// Its name, which begins the names of those whom it gives rights.
    pub name: TokenName,
    /// What it gives.
    pub rights: Rights,
    // Invariant: 1 to 64 entries.
    wanted: BTreeMap<String, String>,
}

/// Rules, of which the first that matches applies, alone: rights of several are never added, because a role
/// of one would then reach the scope of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRules(
    // Invariant: 1 to 64 rules, each name once.
    Box<[ClaimRule]>,
);

/// What cannot be a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClaimRuleError {
    /// A rule that would match everybody.
    #[error("rule `{name}` has no claims and would match everybody, expected at least one")]
    MatchesEverybody {
        /// The rule.
        name: TokenName,
    },
    /// A rule with too many claims.
    #[error("rule `{name}` has {found} claims, expected at most 64")]
    Claims {
        /// The rule.
        name: TokenName,
        /// The number found.
        found: usize,
    },
    /// A rule that gives nothing.
    #[error("rule `{name}` has no roles, expected at least one")]
    NoRoles {
        /// The rule.
        name: TokenName,
    },
    /// Too few or too many rules.
    #[error("found {found} rules, expected 1 to 64")]
    Rules {
        /// The number found.
        found: usize,
    },
    /// Two rules of one name.
    #[error("found two rules `{name}`, expected names that differ")]
    Twice {
        /// The name.
        name: TokenName,
    },
}

impl ClaimValue {
    /// Whether it is `text`, or a list with it.
    fn has(&self, text: &str) -> bool {
        match self {
            Self::Text(value) => value == text,
            Self::List(values) => values.iter().any(|value| value == text),
        }
    }
}

impl ClaimRule {
    /// Gives `rights` to whoever has all claims that are `wanted`.
    ///
    /// # Errors
    /// If no claim is wanted, or more than 64; if the rights have no role.
    pub fn new(
        name: TokenName,
        wanted: BTreeMap<String, String>,
        rights: Rights,
    ) -> Result<Self, ClaimRuleError> {
        match wanted.len() {
            0 => Err(ClaimRuleError::MatchesEverybody { name }),
            found if found > ENTRIES_MAX => Err(ClaimRuleError::Claims { name, found }),
            _ if rights.roles.is_empty() => Err(ClaimRuleError::NoRoles { name }),
            _ => Ok(Self { name, rights, wanted }),
        }
    }

    /// Whether `claims` has all claims that are wanted.
    pub fn matches(&self, claims: &Claims) -> bool {
        self.wanted.iter().all(|(name, text)| claims.get(name).is_some_and(|value| value.has(text)))
    }

    /// The name of the `subject` that it gives rights: `github-shop/repo:org/shop:ref:refs/heads/main`.
    ///
    /// Only visible ASCII of the subject is kept, and no more than 160 bytes. Where something is missing, the
    /// name ends with `~` and a hash of the subject, so that two subjects have two names.
    pub fn actor_name(&self, subject: &str) -> String {
        let mut name = format!("{}/", self.name);
        name.extend(subject.chars().filter(char::is_ascii_graphic).take(SUBJECT_BYTES_MAX));
        if name.len() != self.name.as_str().len() + 1 + subject.len() || subject.contains('~') {
            let hash = blake3::hash(subject.as_bytes()).to_hex();
            let _ = write!(name, "~{}", &hash[..HASH_DIGITS]);
        }
        name
    }
}

impl ClaimRules {
    /// These rules, in this order.
    ///
    /// # Errors
    /// If there is none, or more than 64, or two have one name.
    pub fn new(rules: impl IntoIterator<Item = ClaimRule>) -> Result<Self, ClaimRuleError> {
        let rules: Box<[ClaimRule]> = rules.into_iter().collect();
        if !(1..=ENTRIES_MAX).contains(&rules.len()) {
            return Err(ClaimRuleError::Rules { found: rules.len() });
        }
        for (at, rule) in rules.iter().enumerate() {
            if rules[..at].iter().any(|earlier| earlier.name == rule.name) {
                return Err(ClaimRuleError::Twice { name: rule.name.clone() });
            }
        }
        Ok(Self(rules))
    }

    /// The first rule that `claims` matches.
    pub fn find(&self, claims: &Claims) -> Option<&ClaimRule> {
        self.0.iter().find(|rule| rule.matches(claims))
    }
}

#[cfg(test)]
mod tests;
