//! The table of permissions: what there is to allow, and who has it by role.
//!
//! The admin API checks by this table, and its description and the page of docs about access are made from
//! it.

use crate::{AccessRole, Roles};

/// Something that a token may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Read what the node is.
    ReadNode,
    /// Read metrics of all functions.
    ReadMetrics,
    /// Read functions, versions and history; choose a version by header.
    ReadFunctions,
    /// Read what functions have logged in a stage.
    ReadLogs,
    /// Read the audit log of the node.
    ReadAudit,
    /// Get a token with which everybody can call all versions of a function in a stage.
    PreviewVersions,
    /// Store components.
    UploadComponents,
    /// Create versions and release them.
    Deploy,
    /// Move traffic between versions, and command rollouts.
    MoveTraffic,
    /// Approve releases of others, and reject them.
    Approve,
    /// Delete functions and stages.
    Delete,
    /// Read which secrets are set, by whom and for which versions, without their values.
    ReadSecrets,
    /// Set and delete secrets.
    ManageSecrets,
    /// Add and remove triggers.
    ManageTriggers,
    /// Pause, resume and run triggers; redrive and discard their events.
    OperateTriggers,
    /// Read events with their bodies.
    ReadEvents,
    /// Read what functions keep in buckets: keys and values.
    ReadValues,
    /// Set and delete what functions keep in buckets.
    WriteValues,
    /// Back the node up, and replace its keys.
    ManageNode,
    /// Create, list, rotate and revoke tokens.
    ManageTokens,
}

/// What a permission has to be in scope for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Nothing: the scope plays no part.
    Node,
    /// The function, in whichever stages.
    Function,
    /// The stage. Where all stages of a function are meant, each of them.
    Stage,
    /// Every function and every stage.
    Everything,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 20] = [
        Self::ReadNode,
        Self::ReadMetrics,
        Self::ReadFunctions,
        Self::ReadLogs,
        Self::ReadAudit,
        Self::PreviewVersions,
        Self::UploadComponents,
        Self::Deploy,
        Self::MoveTraffic,
        Self::Approve,
        Self::Delete,
        Self::ReadSecrets,
        Self::ManageSecrets,
        Self::ManageTriggers,
        Self::OperateTriggers,
        Self::ReadEvents,
        Self::ReadValues,
        Self::WriteValues,
        Self::ManageNode,
        Self::ManageTokens,
    ];

    /// The roles that have the permission.
    pub const fn roles(self) -> Roles {
        use AccessRole::{Admin, Deployer, Releaser, Viewer};
        match self {
            Self::ReadNode
            | Self::ReadMetrics
            | Self::ReadFunctions
            | Self::ReadLogs
            | Self::ReadAudit
            | Self::ReadSecrets
            | Self::ReadEvents => Roles::of(&[Viewer, Deployer, Releaser, Admin]),
            Self::PreviewVersions | Self::OperateTriggers => Roles::of(&[Deployer, Releaser, Admin]),
            Self::UploadComponents | Self::Deploy | Self::ManageTriggers => Roles::of(&[Deployer, Admin]),
            Self::MoveTraffic | Self::Approve | Self::ReadValues | Self::WriteValues => {
                Roles::of(&[Releaser, Admin])
            }
            Self::Delete | Self::ManageSecrets | Self::ManageNode | Self::ManageTokens => Roles::of(&[Admin]),
        }
    }

    /// What has to be in scope.
    pub const fn reach(self) -> Reach {
        match self {
            Self::ReadNode | Self::UploadComponents => Reach::Node,
            Self::ReadFunctions => Reach::Function,
            Self::ReadLogs
            | Self::PreviewVersions
            | Self::Deploy
            | Self::MoveTraffic
            | Self::Approve
            | Self::Delete
            | Self::ReadSecrets
            | Self::ManageSecrets
            | Self::ManageTriggers
            | Self::OperateTriggers
            | Self::ReadEvents
            | Self::ReadValues
            | Self::WriteValues => Reach::Stage,
            Self::ReadMetrics | Self::ReadAudit | Self::ManageNode | Self::ManageTokens => Reach::Everything,
        }
    }

    /// The word for the permission, such as `move-traffic`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadNode => "read-node",
            Self::ReadMetrics => "read-metrics",
            Self::ReadFunctions => "read-functions",
            Self::ReadLogs => "read-logs",
            Self::ReadAudit => "read-audit",
            Self::PreviewVersions => "preview-versions",
            Self::UploadComponents => "upload-components",
            Self::Deploy => "deploy",
            Self::MoveTraffic => "move-traffic",
            Self::Approve => "approve",
            Self::Delete => "delete",
            Self::ReadSecrets => "read-secrets",
            Self::ManageSecrets => "manage-secrets",
            Self::ManageTriggers => "manage-triggers",
            Self::OperateTriggers => "operate-triggers",
            Self::ReadEvents => "read-events",
            Self::ReadValues => "read-values",
            Self::WriteValues => "write-values",
            Self::ManageNode => "manage-node",
            Self::ManageTokens => "manage-tokens",
        }
    }
}
