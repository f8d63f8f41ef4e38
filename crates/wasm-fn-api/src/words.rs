//! The texts of the API that have a form of their own, as schemas: names, versions, weights, and words of
//! which there are only a few.
//!
//! Texts travel as texts, so the types here exist for the description only. Their patterns accept what the
//! parsers accept; a test compares the two.

use std::borrow::Cow;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, RefOr, Schema, Type},
};

/// Defines a text with a pattern.
macro_rules! pattern {
    ($type:ident, $name:literal, $pattern:expr, $description:literal) => {
        #[doc = $description]
        pub(crate) enum $type {}

        impl $type {
            /// The form of the text, a regular expression.
            pub(crate) const PATTERN: &str = $pattern;
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(Self::PATTERN));
                text.description(Some($description)).build().into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

/// Defines a text that is one of a few words.
macro_rules! words {
    ($type:ident, $name:literal, [$($word:literal),+ $(,)?], $description:literal) => {
        words!($type, $name, in [$($word),+], $description);
    };
    ($type:ident, $name:literal, in $words:expr, $description:literal) => {
        #[doc = $description]
        pub(crate) enum $type {}

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some($words));
                text.description(Some($description)).build().into()
            }
        }

        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

pattern!(FunctionText, "FunctionName", "^[a-z0-9][a-z0-9_-]{0,62}$", "The name of a function.");
pattern!(StageText, "StageName", "^[a-z0-9][a-z0-9_-]{0,62}$", "The name of a stage.");
pattern!(TokenTextName, "TokenName", "^[a-z0-9][a-z0-9_-]{0,62}$", "The name of a token.");
pattern!(HolderText, "Holder", "^[^\\x00-\\x1f]{1,2100}$", "The name of a token, or of who shows it.");
pattern!(PatternText, "FunctionPattern", r"^(\*|[a-z0-9][a-z0-9_-]{0,62}\*?)$", "Functions, by name.");
pattern!(TokenIdText, "TokenId", "^[0-9a-f]{8}$", "The beginning of the hash of a token.");
pattern!(TokenText, "Token", "^wfn_[0-9a-f]{72}$", "What the holder of a token shows.");
pattern!(NodeText, "NodeName", "^[a-z0-9][a-z0-9_-]{0,62}$", "The name of a node, or of a cluster.");
pattern!(CohortText, "CohortName", "^[a-z][a-z0-9_-]{0,62}$", "The name of a cohort.");
pattern!(VersionText, "Version", "^v[1-9][0-9]{0,9}$", "The number of a version.");
pattern!(
    VersionRefText,
    "VersionRef",
    "^(v[1-9][0-9]{0,9}|stable|canary|previous|latest)$",
    "A version, by its number or by its role in the stage."
);
pattern!(
    WeightText,
    "Weight",
    r"^(0*100(\.00?)?|0*[0-9]{1,2}(\.[0-9]{1,2})?)%$",
    "A share of the traffic, in steps of 0.01 %."
);
pattern!(
    StepText,
    "Step",
    r"^(0*100(\.00?)?%|0*[0-9]{1,2}(\.[0-9]{1,2})?%|((0*100(\.00?)?|0*[0-9]{1,2}(\.[0-9]{1,2})?)% of )?[a-z][a-z0-9_-]{0,62})$",
    "A step of a rollout: a share of all traffic, a cohort, or a share of a cohort."
);
pattern!(DigestText, "Digest", "^[0-9a-f]{64}$", "SHA-256, as hexadecimal digits.");
pattern!(FingerprintText, "Fingerprint", "^[0-9a-f]{16}$", "The fingerprint of a trap.");
pattern!(
    RouteText,
    "Route",
    r"^[A-Za-z0-9._-]*/[!$%&'()*+,./0-9:;=@A-Z\[\]_a-z~-]*$",
    "A route, `[host]/path` or `[host]/path/*`."
);
pattern!(
    StickyText,
    "Sticky",
    "^(none|ip|(header|cookie):.+)$",
    "What keeps users on one version: nothing, their address, or a header or cookie."
);
pattern!(
    EgressText,
    "Egress",
    r"^(\*|https?://.+)$",
    "An origin that a guest may call: `http[s]://host[:port]`, `http[s]://*.host` or `*`."
);
pattern!(
    SecretNameText,
    "SecretName",
    "^[A-Za-z_][A-Za-z0-9_]{0,127}$",
    "The name of a secret, which can be that of an environment variable."
);
pattern!(IssuerText, "Issuer", "^https?://[^?#@]+$", "The identifier of an issuer of tokens.");
pattern!(ClientIdText, "ClientId", "^[\\x21-\\x7e]{1,256}$", "The id of a client at an issuer (RFC 6749).");
pattern!(OauthScopeText, "OauthScope", r"^[\x21\x23-\x5b\x5d-\x7e]{1,256}$", "A scope of OAuth (RFC 6749).");
pattern!(BucketText, "BucketName", "^[a-z0-9][a-z0-9_-]{0,62}$", "The name of a bucket.");
pattern!(TriggerText, "TriggerName", "^[a-z0-9][a-z0-9_-]{0,62}$", "The name of a trigger.");
pattern!(
    EventsOfText,
    "EventsOf",
    "^(@async|[a-z0-9][a-z0-9_-]{0,62})$",
    "The name of a trigger, or `@async` for the requests that clients sent asynchronously."
);
pattern!(
    EventPathText,
    "EventPath",
    "^/_events/[!$%&'()+,./0-9:;=@A-Z_a-z~-]*$",
    "The path of the requests that carry a trigger's events."
);
pattern!(HeaderText, "Header", "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$", "The name of a header (RFC 9110).");
pattern!(
    RateText,
    "Rate",
    "^[1-9][0-9]{0,5}/[smh]$",
    "At most so many in a second, a minute or an hour: `5/m`."
);
pattern!(PreviewTokenText, "PreviewToken", "^wfp_[0-9a-f]{64}$", "A token for the addresses of versions.");

words!(
    PhaseWord,
    "Phase",
    ["checking", "progressing", "awaiting promotion", "paused", "frozen", "watching"],
    "Where a rollout under way is."
);
words!(VerdictWord, "Verdict", ["pass", "fail", "wait"], "What a gate says.");
words!(BaselineWord, "Baseline", ["concurrent", "past", "alone"], "What a canary is compared with.");
words!(
    PreviewAccessWord,
    "PreviewAccess",
    ["open", "token", "off"],
    "Who may use the addresses of versions."
);
words!(
    OverlapWord,
    "Overlap",
    ["skip", "buffer-one", "allow-all", "cancel-other"],
    "What happens to a tick while an earlier run is in progress."
);
words!(
    PushKindWord,
    "PushKind",
    ["push", "tag", "release", "package"],
    "What a code host tells of: new commits of a branch, a new tag, a release, a version of a package."
);
pattern!(
    RefPatternText,
    "RefPattern",
    r"^[^\x00-\x20\x7f~^:?\[\\]+$",
    "A branch or tag, or several: a star stands for any characters."
);
pattern!(
    ArtifactText,
    "Artifact",
    r"^(oci|https)://[A-Za-z0-9.:-]+/.+$",
    "Where an artifact is, with placeholders `{sha}`, `{ref}`, `{tag}` and `{repository}`."
);
words!(
    ProviderWord,
    "Provider",
    ["github", "gitlab", "gitea", "stripe", "slack", "standard"],
    "Whose rules a webhook's signatures follow."
);
words!(WebhookModeWord, "WebhookMode", ["async", "sync"], "Who answers a webhook's service.");
words!(
    RedeliverWord,
    "Redeliver",
    ["always", "effect-free"],
    "When an event that a canary failed to handle goes to stable at once."
);
words!(QueueStartWord, "QueueStart", ["all", "new"], "With which message of its stream a queue begins.");
words!(
    QueueStateWord,
    "QueueState",
    ["connecting", "connected", "failing", "paused"],
    "How a queue's connection to its broker is."
);
words!(PausedByWord, "PausedBy", ["command", "failures"], "What paused a trigger.");
words!(SchemeWord, "Scheme", ["http", "https"], "The scheme of a URL.");
words!(KindWord, "Kind", ["wasi:http 0.2", "wasi:http 0.3", "cgi"], "The kind of a component.");
words!(SettingWord, "Setting", ["routes", "sticky", "cohorts"], "A setting that follows the stable version.");
words!(RoleWord, "Role", ["viewer", "deployer", "releaser", "admin"], "What somebody is trusted with.");
words!(
    PermissionWord,
    "Permission",
    [
        "read-node",
        "read-metrics",
        "read-functions",
        "read-logs",
        "read-audit",
        "preview-versions",
        "upload-components",
        "deploy",
        "move-traffic",
        "approve",
        "delete",
        "read-secrets",
        "manage-secrets",
        "manage-triggers",
        "operate-triggers",
        "read-events",
        "read-values",
        "write-values",
        "manage-node",
        "manage-tokens",
    ],
    "Something that a role may be allowed to do."
);
/// What a change of a function can do.
const ACTIONS: [&str; 29] = [
    "deploy",
    "traffic",
    "step",
    "await",
    "pause",
    "resume",
    "freeze",
    "promote",
    "settle",
    "abort",
    "rollback",
    "delete",
    "delete-stage",
    "propose",
    "approve",
    "reject",
    "set-secret",
    "delete-secret",
    "reseal-secrets",
    "add-trigger",
    "pause-trigger",
    "resume-trigger",
    "remove-trigger",
    "run-trigger",
    "backfill-trigger",
    "redrive-events",
    "discard-events",
    "set-value",
    "delete-value",
];

/// What else the audit log records: changes of tokens and keys.
const NODE_ACTIONS: [&str; 7] = [
    "create-token",
    "rotate-token",
    "revoke-token",
    "rotate-admin-token",
    "rotate-preview-key",
    "add-data-key",
    "drop-data-keys",
];

words!(ActionWord, "Action", in ACTIONS, "What a change did.");
words!(
    AuditActionWord,
    "AuditAction",
    in ACTIONS.into_iter().chain(NODE_ACTIONS).chain(["refuse"]),
    "What an entry of the audit log is about."
);

#[cfg(test)]
mod tests;
