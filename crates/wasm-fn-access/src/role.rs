//! Roles: named sets of permissions.

use std::{fmt, str::FromStr};

/// What somebody is trusted with. `Permission::roles` says what each role may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessRole {
    /// Reads.
    Viewer,
    /// Uploads components and deploys them.
    Deployer,
    /// Moves traffic between versions.
    Releaser,
    /// Does everything, tokens and deletions included.
    Admin,
}

/// A text that is no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("role {found:?}, expected viewer, deployer, releaser or admin")]
pub struct AccessRoleError {
    /// The rejected text.
    pub found: String,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Roles(u8);

impl AccessRole {
    /// Every role, the least trusted first.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::Deployer, Self::Releaser, Self::Admin];

    /// The word for the role: `viewer`, `deployer`, `releaser`, `admin`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Deployer => "deployer",
            Self::Releaser => "releaser",
            Self::Admin => "admin",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for AccessRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for AccessRole {
    type Err = AccessRoleError;

    fn from_str(text: &str) -> Result<Self, AccessRoleError> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| AccessRoleError { found: text.to_owned() })
    }
}

impl Roles {
    /// Exactly these roles.
    pub const fn of(roles: &[AccessRole]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < roles.len() {
            bits |= roles[at].bit();
            at += 1;
        }
        Self(bits)
    }

    /// Whether `role` is among them.
    pub const fn contains(self, role: AccessRole) -> bool {
        self.0 & role.bit() != 0
    }

    /// Whether the two sets have a role in common.
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The roles, the least trusted first.
    pub fn iter(self) -> impl Iterator<Item = AccessRole> {
        AccessRole::ALL.into_iter().filter(move |&role| self.contains(role))
    }
}

impl FromIterator<AccessRole> for Roles {
    fn from_iter<I: IntoIterator<Item = AccessRole>>(roles: I) -> Self {
        roles.into_iter().fold(Self::default(), |roles, role| Self(roles.0 | role.bit()))
    }
}

/// `deployer, releaser`.
impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, role) in self.iter().enumerate() {
            if at > 0 {
                f.write_str(", ")?;
            }
            f.write_str(role.as_str())?;
        }
        Ok(())
    }
}
