//! The operations of the admin API, in one table: the API's description is generated from it, and its server
//! routes and checks by it.

use wasm_fn_access::Permission;

/// One operation of the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Checks whether the process answers.
    Healthz,
    /// Checks whether the node can serve.
    Readyz,
    /// Reads metrics for Prometheus.
    Metrics,
    /// Reads the OpenAPI description.
    Describe,
    /// Tells how people log in.
    GetLogin,
    /// Describes the node.
    GetNode,
    /// Waits for a revision to be published.
    GetRevision,
    /// Shows the cluster that the node is in.
    GetCluster,
    /// Has a node of the cluster end.
    DrainNode,
    /// Reads a backup.
    GetBackup,
    /// Replaces the key of preview tokens.
    RotatePreviewKey,
    /// Tells the client who it is.
    GetCaller,
    /// Lists tokens.
    ListTokens,
    /// Creates a token.
    CreateToken,
    /// Gives a token a new secret.
    RotateToken,
    /// Revokes a token.
    RevokeToken,
    /// Reads the audit log.
    GetAudit,
    /// Reads, and verifies, the end of the audit log.
    GetAuditHead,
    /// Stores a component.
    PutComponent,
    /// Checks whether a component is stored.
    HeadComponent,
    /// Lists functions.
    ListFunctions,
    /// Reads the last hour of several functions.
    ListSeries,
    /// Streams what changes about functions.
    WatchFunctions,
    /// Shows one function.
    GetFunction,
    /// Streams the status of a function.
    WatchFunction,
    /// Reads numbers of a function over time.
    GetSeries,
    /// Deletes a function.
    DeleteFunction,
    /// Deletes a stage of a function.
    DeleteStage,
    /// Lists the secrets of a stage.
    ListSecrets,
    /// Sets a secret.
    SetSecret,
    /// Sets several secrets of a stage at once.
    SetSecrets,
    /// Deletes a secret.
    DeleteSecret,
    /// Replaces the key that secrets are sealed under.
    RotateSecretsKey,
    /// Lists keys of a bucket.
    ListKeys,
    /// Reads the value of a key of a bucket.
    GetValue,
    /// Sets the value of a key of a bucket.
    PutValue,
    /// Deletes a key of a bucket.
    DeleteValue,
    /// Lists the triggers of a function.
    ListTriggers,
    /// Lists the triggers of all functions.
    ListAllTriggers,
    /// Shows a trigger.
    GetTrigger,
    /// Adds a trigger.
    AddTrigger,
    /// Removes a trigger, with its events.
    RemoveTrigger,
    /// Pauses a trigger.
    PauseTrigger,
    /// Resumes a trigger.
    ResumeTrigger,
    /// Runs a schedule once, now.
    RunTrigger,
    /// Runs a schedule for times that are past.
    BackfillTrigger,
    /// Lists events of a trigger.
    ListEvents,
    /// Shows an event, and what became of it.
    GetEvent,
    /// Has dead letters delivered again.
    RedriveEvents,
    /// Removes dead letters for good.
    DiscardEvents,
    /// Lists the versions of a function.
    ListVersions,
    /// Shows the journal of a function.
    GetHistory,
    /// Shows the addresses of versions.
    GetPreview,
    /// Reads the log of a function.
    GetLogs,
    /// Reads the traces of a function.
    GetTraces,
    /// Deploys a version.
    Deploy,
    /// Takes a version from one stage to another.
    PromoteStage,
    /// Approves a release.
    Approve,
    /// Withdraws a release that waits for approval.
    Reject,
    /// Sets the weights of a stage.
    SetTraffic,
    /// Takes a rollout to its next step.
    Promote,
    /// Pauses a rollout.
    Pause,
    /// Resumes a rollout.
    Resume,
    /// Ends a rollout.
    Abort,
    /// Goes back to an earlier version.
    RollBack,
}

/// The HTTP method of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads only the head.
    Head,
    /// Replaces.
    Put,
    /// Does something.
    Post,
    /// Deletes.
    Delete,
}

/// Who may use an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessRule {
    /// Everybody.
    Open,
    /// Everybody on the same machine, and whoever has the permission.
    OpenLocally(Permission),
    /// Whoever has the permission.
    Permission(Permission),
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 65] = [
        Self::Healthz,
        Self::Readyz,
        Self::Metrics,
        Self::Describe,
        Self::GetLogin,
        Self::GetNode,
        Self::GetRevision,
        Self::GetCluster,
        Self::DrainNode,
        Self::GetBackup,
        Self::RotatePreviewKey,
        Self::GetCaller,
        Self::ListTokens,
        Self::CreateToken,
        Self::RotateToken,
        Self::RevokeToken,
        Self::GetAudit,
        Self::GetAuditHead,
        Self::PutComponent,
        Self::HeadComponent,
        Self::ListFunctions,
        Self::ListSeries,
        Self::WatchFunctions,
        Self::GetFunction,
        Self::WatchFunction,
        Self::GetSeries,
        Self::DeleteFunction,
        Self::DeleteStage,
        Self::ListSecrets,
        Self::SetSecret,
        Self::SetSecrets,
        Self::DeleteSecret,
        Self::RotateSecretsKey,
        Self::ListKeys,
        Self::GetValue,
        Self::PutValue,
        Self::DeleteValue,
        Self::ListTriggers,
        Self::ListAllTriggers,
        Self::GetTrigger,
        Self::AddTrigger,
        Self::RemoveTrigger,
        Self::PauseTrigger,
        Self::ResumeTrigger,
        Self::RunTrigger,
        Self::BackfillTrigger,
        Self::ListEvents,
        Self::GetEvent,
        Self::RedriveEvents,
        Self::DiscardEvents,
        Self::ListVersions,
        Self::GetHistory,
        Self::GetPreview,
        Self::GetLogs,
        Self::GetTraces,
        Self::Deploy,
        Self::PromoteStage,
        Self::Approve,
        Self::Reject,
        Self::SetTraffic,
        Self::Promote,
        Self::Pause,
        Self::Resume,
        Self::Abort,
        Self::RollBack,
    ];

    /// The method and the path; `{…}` in it stands for one segment.
    pub const fn route(self) -> (Method, &'static str) {
        use Method::{Delete, Get, Head, Post, Put};
        match self {
            Self::Healthz => (Get, "/healthz"),
            Self::Readyz => (Get, "/readyz"),
            Self::Metrics => (Get, "/metrics"),
            Self::Describe => (Get, "/openapi.json"),
            Self::GetLogin => (Get, "/v1/login"),
            Self::GetNode => (Get, "/v1/node"),
            Self::GetRevision => (Get, "/v1/revision"),
            Self::GetCluster => (Get, "/v1/cluster"),
            Self::DrainNode => (Post, "/v1/cluster/drain"),
            Self::GetBackup => (Get, "/v1/backup"),
            Self::RotatePreviewKey => (Post, "/v1/preview-key"),
            Self::GetCaller => (Get, "/v1/caller"),
            Self::ListTokens => (Get, "/v1/tokens"),
            Self::CreateToken => (Post, "/v1/tokens"),
            Self::RotateToken => (Post, "/v1/tokens/{token}/rotate"),
            Self::RevokeToken => (Delete, "/v1/tokens/{token}"),
            Self::GetAudit => (Get, "/v1/audit"),
            Self::GetAuditHead => (Get, "/v1/audit/head"),
            Self::PutComponent => (Put, "/v1/components/{digest}"),
            Self::HeadComponent => (Head, "/v1/components/{digest}"),
            Self::ListFunctions => (Get, "/v1/functions"),
            Self::ListSeries => (Get, "/v1/series"),
            Self::WatchFunctions => (Get, "/v1/watch"),
            Self::GetFunction => (Get, "/v1/functions/{function}"),
            Self::WatchFunction => (Get, "/v1/functions/{function}/watch"),
            Self::GetSeries => (Get, "/v1/functions/{function}/series"),
            Self::DeleteFunction => (Delete, "/v1/functions/{function}"),
            Self::DeleteStage => (Delete, "/v1/functions/{function}/stages/{stage}"),
            Self::ListSecrets => (Get, "/v1/functions/{function}/stages/{stage}/secrets"),
            Self::SetSecret => (Put, "/v1/functions/{function}/stages/{stage}/secrets/{secret}"),
            Self::SetSecrets => (Post, "/v1/functions/{function}/stages/{stage}/secrets"),
            Self::DeleteSecret => (Delete, "/v1/functions/{function}/stages/{stage}/secrets/{secret}"),
            Self::RotateSecretsKey => (Post, "/v1/secrets/rotate-key"),
            Self::ListKeys => (Get, "/v1/functions/{function}/stages/{stage}/buckets/{bucket}/keys"),
            // A key may be empty, or one that proxies would change in a path.
            Self::GetValue => (Get, "/v1/functions/{function}/stages/{stage}/buckets/{bucket}/value"),
            Self::PutValue => (Put, "/v1/functions/{function}/stages/{stage}/buckets/{bucket}/value"),
            Self::DeleteValue => (Delete, "/v1/functions/{function}/stages/{stage}/buckets/{bucket}/value"),
            Self::ListTriggers => (Get, "/v1/functions/{function}/triggers"),
            Self::ListAllTriggers => (Get, "/v1/triggers"),
            Self::GetTrigger => (Get, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}"),
            Self::AddTrigger => (Put, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}"),
            Self::RemoveTrigger => (Delete, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}"),
            Self::PauseTrigger => (Post, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/pause"),
            Self::ResumeTrigger => {
                (Post, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/resume")
            }
            Self::RunTrigger => (Post, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/run"),
            Self::BackfillTrigger => {
                (Post, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/backfill")
            }
            Self::ListEvents => (Get, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/events"),
            Self::GetEvent => {
                (Get, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/events/{event}")
            }
            Self::RedriveEvents => {
                (Post, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/events/redrive")
            }
            Self::DiscardEvents => {
                (Post, "/v1/functions/{function}/stages/{stage}/triggers/{trigger}/events/discard")
            }
            Self::ListVersions => (Get, "/v1/functions/{function}/versions"),
            Self::GetHistory => (Get, "/v1/functions/{function}/history"),
            Self::GetPreview => (Get, "/v1/functions/{function}/preview"),
            Self::GetLogs => (Get, "/v1/functions/{function}/logs"),
            Self::GetTraces => (Get, "/v1/functions/{function}/traces"),
            Self::Deploy => (Post, "/v1/functions/{function}/deployments"),
            Self::PromoteStage => (Post, "/v1/functions/{function}/stages/{stage}/promotions"),
            Self::Approve => (Post, "/v1/functions/{function}/approve"),
            Self::Reject => (Post, "/v1/functions/{function}/reject"),
            Self::SetTraffic => (Put, "/v1/functions/{function}/traffic"),
            Self::Promote => (Post, "/v1/functions/{function}/promote"),
            Self::Pause => (Post, "/v1/functions/{function}/pause"),
            Self::Resume => (Post, "/v1/functions/{function}/resume"),
            Self::Abort => (Post, "/v1/functions/{function}/abort"),
            Self::RollBack => (Post, "/v1/functions/{function}/rollback"),
        }
    }

    /// The name of the operation in the API's description, from which other people's tools make the names of
    /// functions. It never changes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthz => "getHealth",
            Self::Readyz => "getReadiness",
            Self::Metrics => "getMetrics",
            Self::Describe => "getDescription",
            Self::GetLogin => "getLogin",
            Self::GetNode => "getNode",
            Self::GetRevision => "getRevision",
            Self::GetCluster => "getCluster",
            Self::DrainNode => "drainNode",
            Self::GetBackup => "getBackup",
            Self::RotatePreviewKey => "rotatePreviewKey",
            Self::GetCaller => "getCaller",
            Self::ListTokens => "listTokens",
            Self::CreateToken => "createToken",
            Self::RotateToken => "rotateToken",
            Self::RevokeToken => "revokeToken",
            Self::GetAudit => "getAudit",
            Self::GetAuditHead => "getAuditHead",
            Self::PutComponent => "putComponent",
            Self::HeadComponent => "checkComponent",
            Self::ListFunctions => "listFunctions",
            Self::ListSeries => "listSeries",
            Self::WatchFunctions => "watchFunctions",
            Self::GetFunction => "getFunction",
            Self::WatchFunction => "watchFunction",
            Self::GetSeries => "getSeries",
            Self::DeleteFunction => "deleteFunction",
            Self::DeleteStage => "deleteStage",
            Self::ListSecrets => "listSecrets",
            Self::SetSecret => "setSecret",
            Self::SetSecrets => "setSecrets",
            Self::DeleteSecret => "deleteSecret",
            Self::RotateSecretsKey => "rotateSecretsKey",
            Self::ListKeys => "listKeys",
            Self::GetValue => "getValue",
            Self::PutValue => "putValue",
            Self::DeleteValue => "deleteValue",
            Self::ListTriggers => "listTriggers",
            Self::ListAllTriggers => "listAllTriggers",
            Self::GetTrigger => "getTrigger",
            Self::AddTrigger => "addTrigger",
            Self::RemoveTrigger => "removeTrigger",
            Self::PauseTrigger => "pauseTrigger",
            Self::ResumeTrigger => "resumeTrigger",
            Self::RunTrigger => "runTrigger",
            Self::BackfillTrigger => "backfillTrigger",
            Self::ListEvents => "listEvents",
            Self::GetEvent => "getEvent",
            Self::RedriveEvents => "redriveEvents",
            Self::DiscardEvents => "discardEvents",
            Self::ListVersions => "listVersions",
            Self::GetHistory => "getHistory",
            Self::GetPreview => "getPreview",
            Self::GetLogs => "getLogs",
            Self::GetTraces => "getTraces",
            Self::Deploy => "deployVersion",
            Self::PromoteStage => "promoteStage",
            Self::Approve => "approveRelease",
            Self::Reject => "rejectRelease",
            Self::SetTraffic => "setTraffic",
            Self::Promote => "promoteRollout",
            Self::Pause => "pauseRollout",
            Self::Resume => "resumeRollout",
            Self::Abort => "abortRollout",
            Self::RollBack => "rollBackStage",
        }
    }

    /// Who may use the operation.
    pub const fn access(self) -> AccessRule {
        AccessRule::Permission(match self {
            Self::Healthz | Self::Readyz | Self::Describe | Self::GetLogin => return AccessRule::Open,
            Self::Metrics => return AccessRule::OpenLocally(Permission::ReadMetrics),
            Self::GetNode | Self::GetRevision | Self::GetCluster | Self::GetCaller => Permission::ReadNode,
            Self::DrainNode | Self::GetBackup | Self::RotatePreviewKey | Self::RotateSecretsKey => {
                Permission::ManageNode
            }
            Self::ListSecrets => Permission::ReadSecrets,
            Self::SetSecret | Self::SetSecrets | Self::DeleteSecret => Permission::ManageSecrets,
            Self::ListKeys | Self::GetValue => Permission::ReadValues,
            Self::PutValue | Self::DeleteValue => Permission::WriteValues,
            Self::ListTokens | Self::CreateToken | Self::RotateToken | Self::RevokeToken => {
                Permission::ManageTokens
            }
            Self::GetAudit | Self::GetAuditHead => Permission::ReadAudit,
            Self::PutComponent | Self::HeadComponent => Permission::UploadComponents,
            Self::ListFunctions
            | Self::ListSeries
            | Self::WatchFunctions
            | Self::GetFunction
            | Self::WatchFunction
            | Self::GetSeries
            | Self::ListVersions
            | Self::GetHistory
            | Self::ListTriggers
            | Self::ListAllTriggers
            | Self::GetTrigger => Permission::ReadFunctions,
            Self::AddTrigger | Self::RemoveTrigger => Permission::ManageTriggers,
            Self::PauseTrigger
            | Self::ResumeTrigger
            | Self::RunTrigger
            | Self::BackfillTrigger
            | Self::RedriveEvents
            | Self::DiscardEvents => Permission::OperateTriggers,
            Self::ListEvents | Self::GetEvent => Permission::ReadEvents,
            Self::GetPreview => Permission::PreviewVersions,
            Self::GetLogs | Self::GetTraces => Permission::ReadLogs,
            Self::Deploy => Permission::Deploy,
            Self::PromoteStage
            | Self::SetTraffic
            | Self::Promote
            | Self::Pause
            | Self::Resume
            | Self::Abort
            | Self::RollBack => Permission::MoveTraffic,
            Self::Approve | Self::Reject => Permission::Approve,
            Self::DeleteFunction | Self::DeleteStage => Permission::Delete,
        })
    }

    /// Whether the answer has numbers that each node of a cluster counts for itself. Such an operation takes
    /// the parameter `node`.
    pub const fn is_by_node(self) -> bool {
        matches!(
            self,
            Self::ListFunctions
                | Self::GetFunction
                | Self::ListSeries
                | Self::GetSeries
                | Self::GetLogs
                | Self::GetTraces
        )
    }

    /// Whether the answer depends on other nodes of the cluster in another way.
    pub const fn is_about_nodes(self) -> bool {
        matches!(self, Self::GetRevision | Self::WatchFunctions | Self::WatchFunction)
    }

    /// The permission that clients need; `None` if everybody may use the operation.
    pub const fn permission(self) -> Option<Permission> {
        match self.access() {
            AccessRule::Open => None,
            AccessRule::OpenLocally(permission) | AccessRule::Permission(permission) => Some(permission),
        }
    }
}

#[cfg(test)]
mod tests;
