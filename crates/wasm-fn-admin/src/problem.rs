//! The only mapping from errors to HTTP: status, stable code, title, help.

mod cluster;
mod session;

use std::{collections::BTreeSet, fmt::Display};

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use wasm_fn_core::{
    BucketName, DigestError, FunctionName, NameError, SecretName, SecretNameError, VersionRefError,
    WeightError,
};
use wasm_fn_delivery::EventsError;
use wasm_fn_events::TriggerId;

use wasm_fn_api::{InvalidConfig, InvalidRights, Problem};
use wasm_fn_control::{
    ControlError, SecretsError, Unproven, VerifyError,
    host::Rejection,
    state::{ChangeError, SecretsProblem, SecretsProblemKind},
};
use wasm_fn_secrets::SecretValueError;
use wasm_fn_store::{BucketError, InboxError, PutError, StoreError};

use crate::{ClientIdentity, authorize::Refused};

/// An answer that says why a request was not carried out.
#[derive(Debug)]
pub(crate) struct ApiError {
    problem: Box<Problem>,
    /// Seconds after which the client may try again.
    retry_after_s: Option<u64>,
    /// What was refused, if the client lacks the right.
    refused: Option<Refused>,
}

impl ApiError {
    fn new(status: StatusCode, code: &str, title: &str, detail: impl Display) -> Self {
        let problem = Problem {
            title: title.to_owned(),
            status: status.as_u16(),
            detail: detail.to_string(),
            code: code.to_owned(),
            help: None,
            revision: None,
        };
        let retry_after_s = (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1);
        Self { problem: Box::new(problem), retry_after_s, refused: None }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.problem.help = Some(help.into());
        self
    }

    /// The same error, which the audit log will have as a refusal of `what`.
    pub(crate) fn refused(self, what: String) -> Self {
        Self { refused: Some(Refused(what)), ..self }
    }

    pub(crate) fn invalid_request(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-request", "the request is malformed", detail)
    }

    pub(crate) fn invalid_strategy(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-strategy", "the strategy is malformed", detail)
    }

    pub(crate) fn invalid_gate(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-gate", "the gate is malformed", detail)
    }

    pub(crate) fn invalid_check(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-check", "a check is malformed", detail)
    }

    pub(crate) fn invalid_split(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-split", "the traffic split is malformed", detail)
    }

    pub(crate) fn invalid_trigger(detail: impl Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-trigger", "the trigger is malformed", detail)
    }

    /// A broker would be shown a secret that has no value.
    pub(crate) fn queue_without_secret(trigger: &TriggerId, secret: &SecretName) -> Self {
        let TriggerId { function, stage, name } = trigger;
        let detail = format!(
            "secret {secret} is not set in stage `{stage}` of `{function}`, expected it to be set before the queue \
             `{name}` is added"
        );
        Self::new(StatusCode::CONFLICT, "secret-not-set", "a secret is not set", detail)
            .help(format!("run `wasm-fn secrets set {secret} -f {function} -s {stage}`"))
    }

    /// A webhook would be verified with a secret that has no value.
    pub(crate) fn webhook_without_secret(trigger: &TriggerId, secret: &SecretName) -> Self {
        let TriggerId { function, stage, name } = trigger;
        let detail = format!(
            "secret {secret} is not set in stage `{stage}` of `{function}`, expected it to be set before the webhook \
             `{name}` is added"
        );
        Self::new(StatusCode::CONFLICT, "secret-not-set", "a secret is not set", detail)
            .help(format!("run `wasm-fn secrets set {secret} -f {function} -s {stage}`"))
    }

    pub(crate) fn deploying_without_secret(trigger: &TriggerId, secret: &SecretName) -> Self {
        let TriggerId { function, stage, name } = trigger;
        let detail = format!(
            "secret {secret} is not set in stage `{stage}` of `{function}`, expected it to be set before the trigger \
             `{name}`, which gets what it deploys with it, is added"
        );
        Self::new(StatusCode::CONFLICT, "secret-not-set", "a secret is not set", detail)
            .help(format!("run `wasm-fn secrets set {secret} -f {function} -s {stage}`"))
    }

    /// The caller may make triggers, but not deploy.
    pub(crate) fn may_not_deploy(caller: &str, trigger: &TriggerId) -> Self {
        let TriggerId { function, stage, .. } = trigger;
        let detail = format!(
            "the token `{caller}` may not deploy to stage `{stage}` of `{function}`, expected one that may: the \
             trigger would deploy there"
        );
        Self::forbidden(detail)
            .help("ask an admin for a token that may deploy there")
            .refused(format!("deploy on stage `{stage}` of `{function}`, by a trigger"))
    }

    pub(crate) fn too_large(detail: impl Display) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is too large", detail)
    }

    pub(crate) fn slow_body(detail: impl Display) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body arrived too slowly", detail)
    }

    pub(crate) fn busy(detail: impl Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "the node is busy", detail)
            .help("try again in a moment")
    }

    pub(crate) fn not_ready(detail: impl Display) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-ready", "the node is not ready", detail)
    }

    pub(crate) fn missing_token() -> Self {
        let detail = "the request has no `authorization: Bearer` header, expected one with a token";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a token is needed", detail)
            .help("pass --token or set WASM_FN_TOKEN; the node keeps its token in its data directory")
    }

    pub(crate) fn wrong_token(error: &Unproven) -> Self {
        let help = match error {
            Unproven::Malformed(_) => "pass the whole token, as it was shown when it was created",
            Unproven::Denied(_) | Unproven::Suspended { .. } => "ask an admin of this node for a new token",
        };
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "the token is wrong", error).help(help)
    }

    pub(crate) fn untrusted(reason: impl Display) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "the token is wrong", reason)
            .help("get a new token from the issuer, or see `[[serve.oidc]]` in the node's configuration")
    }

    pub(crate) fn no_keys(reason: impl Display) -> Self {
        let title = "the issuer of the token does not answer";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "issuer-unavailable", title, reason)
            .help("try again in a moment, or use a token of the node")
    }

    pub(crate) fn unknown_certificate(identity: &ClientIdentity) -> Self {
        let detail =
            format!("the certificate of {identity} gives no rights, expected a token or one that does");
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "a token is needed", detail)
            .help("see `[[serve.admin_tls.clients]]` in the node's configuration")
    }

    pub(crate) fn too_many_failures(wait_s: u64) -> Self {
        let detail =
            format!("too many wrong tokens came from this address, expected the next after {wait_s} s");
        let title = "too many wrong tokens";
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-failures", title, detail);
        Self { retry_after_s: Some(wait_s), ..problem }
    }

    pub(crate) fn forbidden(detail: impl Display) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", "the token does not have the right", detail)
    }

    pub(crate) fn no_such_path() -> Self {
        let detail = "there is no such path, expected one of those in /openapi.json";
        Self::new(StatusCode::NOT_FOUND, "not-found", "the path does not exist", detail)
    }

    pub(crate) fn method_not_allowed() -> Self {
        let detail = "the path does not allow this method, expected one of those in the `allow` header";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "the method is not allowed", detail)
    }

    /// `known` are the buckets that versions of the function have.
    pub(crate) fn no_such_bucket<'a>(
        function: &FunctionName,
        bucket: &BucketName,
        known: impl Iterator<Item = &'a BucketName>,
    ) -> Self {
        let known = known.map(BucketName::as_str).collect::<BTreeSet<_>>();
        let expected = match known.len() {
            0 => "one in its configuration, and it has none".to_owned(),
            _ => format!("one of {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        };
        let detail = format!("no version of `{function}` has a bucket `{bucket}`, expected {expected}");
        Self::new(StatusCode::NOT_FOUND, "no-such-bucket", "there is no such bucket", detail)
            .help(format!("name it in wasm-fn.toml, in [function.{function}.bucket.{bucket}], and deploy"))
    }

    pub(crate) fn no_such_key(detail: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "no-such-key", "there is no such key", detail)
    }

    pub(crate) fn no_component(detail: impl Display) -> Self {
        Self::new(StatusCode::NOT_FOUND, "component-missing", "the component is not on this node", detail)
    }

    pub(crate) fn internal(error: impl Display) -> Self {
        tracing::error!(%error, "admin request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the node failed", error)
    }

    /// The problem, as it is sent to clients.
    pub(crate) fn into_problem(self) -> Problem {
        *self.problem
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let json = serde_json::to_vec(&self.problem).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(refused) = self.refused {
            response.extensions_mut().insert(refused);
        }
        response
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-name", "the name is malformed", error)
    }
}

impl From<SecretNameError> for ApiError {
    fn from(error: SecretNameError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-name", "the name is malformed", error)
    }
}

impl From<SecretValueError> for ApiError {
    fn from(error: SecretValueError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-secret", "the value of the secret is refused", error)
    }
}

impl From<DigestError> for ApiError {
    fn from(error: DigestError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-digest", "the digest is malformed", error)
    }
}

impl From<VersionRefError> for ApiError {
    fn from(error: VersionRefError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-version", "the version is malformed", error)
    }
}

impl From<WeightError> for ApiError {
    fn from(error: WeightError) -> Self {
        Self::invalid_split(error)
    }
}

impl From<InvalidConfig> for ApiError {
    fn from(error: InvalidConfig) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-config", "the configuration is refused", error)
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        use ChangeError as E;
        let (status, code, title) = match &error {
            E::Split(_) => (StatusCode::BAD_REQUEST, "invalid-split", "the traffic split is malformed"),
            E::NoSuchFunction(_) => (StatusCode::NOT_FOUND, "no-such-function", "there is no such function"),
            E::NoSuchStage { .. } => (StatusCode::NOT_FOUND, "no-such-stage", "there is no such stage"),
            E::NoSuchVersion { .. } => (StatusCode::NOT_FOUND, "no-such-version", "there is no such version"),
            E::NoRollout { .. } => (StatusCode::CONFLICT, "no-rollout", "no rollout is under way"),
            E::Command { .. } => {
                (StatusCode::CONFLICT, "wrong-phase", "the command does not fit the rollout's phase")
            }
            E::Moved { .. } => (StatusCode::CONFLICT, "rollout-moved", "the rollout has moved on"),
            E::AlreadyStable { .. } => {
                (StatusCode::CONFLICT, "already-stable", "the version is already stable")
            }
            E::RolloutInProgress { .. } => {
                (StatusCode::CONFLICT, "rollout-in-progress", "a rollout is under way")
            }
            E::Cohort(_) => (
                StatusCode::CONFLICT,
                "no-such-cohort",
                "the stable version does not send a step's cohort to the canary",
            ),
            E::Grows(_) => {
                (StatusCode::CONFLICT, "capabilities-grow", "the version could do more than the stable one")
            }
            E::Secrets(problem) => of_secrets(&problem.problem),
            E::StageConfig { .. } => {
                (StatusCode::BAD_REQUEST, "invalid-config", "the configuration is invalid")
            }
            E::NotDeployedThere(_) => {
                (StatusCode::CONFLICT, "not-deployed-there", "the version has no configuration of this stage")
            }
            E::NoPreviousVersion { .. } => {
                (StatusCode::CONFLICT, "no-previous-version", "there is no earlier version")
            }
            E::Clash(_) => (StatusCode::CONFLICT, "route-clash", "a route is taken"),
            E::TooManyStages { .. } => (StatusCode::CONFLICT, "too-many-stages", "there are too many stages"),
            E::LiveStage(_) => {
                (StatusCode::CONFLICT, "live-stage", "the live stage is deleted with its function")
            }
            E::Protected { .. } => (StatusCode::FORBIDDEN, "forbidden", "the stage is protected"),
            E::Approval { .. } => (StatusCode::CONFLICT, "approval", "the approval does not count"),
            E::NeedsApproval { .. } => {
                (StatusCode::CONFLICT, "approval-needed", "others have to approve the version")
            }
            E::NoSuchToken(_) => (StatusCode::NOT_FOUND, "no-such-token", "there is no such token"),
            E::TokenOfNode(_) => (StatusCode::CONFLICT, "token-of-node", "the token belongs to the node"),
            E::TokenExists(_) => (StatusCode::CONFLICT, "token-exists", "the name is taken"),
            E::ReservedName(_) => (StatusCode::BAD_REQUEST, "invalid-name", "the name is reserved"),
            E::Expired => (StatusCode::BAD_REQUEST, "invalid-request", "the request is malformed"),
            E::TooManyTokens { .. } => (StatusCode::CONFLICT, "too-many-tokens", "there are too many tokens"),
            E::NoSuchTrigger(_) => (StatusCode::NOT_FOUND, "no-such-trigger", "there is no such trigger"),
            E::TriggerExists(_) => (StatusCode::CONFLICT, "trigger-exists", "the name is taken"),
            E::TooManyTriggers { .. } => {
                (StatusCode::CONFLICT, "too-many-triggers", "there are too many triggers")
            }
            E::VersionsUsedUp(_) => {
                (StatusCode::CONFLICT, "versions-used-up", "the version numbers are used up")
            }
        };
        let problem = Self::new(status, code, title, &error);
        match &error {
            E::RolloutInProgress { function, stage, .. } => problem.help(format!(
                "run `wasm-fn promote {function} -s {stage} --full` or `wasm-fn abort {function} -s {stage}` first, or \
                 deploy with --replace"
            )),
            E::Moved { function, .. } => problem.help(format!(
                "another client or the node was faster; run `wasm-fn status {function}`, then repeat the command if it \
                 is still right"
            )),
            E::NoSuchVersion { function, .. } => {
                problem.help(format!("run `wasm-fn versions {function}` to list its versions"))
            }
            E::NotDeployedThere(found) => problem.help(format!(
                "deploy it to {stage}, or promote it there, to give it what the stage has",
                stage = found.stage
            )),
            E::NoPreviousVersion { function, .. } => {
                problem.help(format!("name a version with `--to`; `wasm-fn versions {function}` lists them"))
            }
            E::Cohort(_) => problem.help(
                "deploy a version with the rule first, by shares: cohort rules follow the stable version's configuration",
            ),
            E::Secrets(secrets) => match secrets_help(secrets) {
                Some(help) => problem.help(help),
                None => problem,
            },
            E::Grows(_) => problem.help("if all of this is intended, deploy again with --allow-new"),
            E::LiveStage(function) => {
                problem.help(format!("run `wasm-fn delete {function}` to delete the function and all its stages"))
            }
            E::Protected { function, stage } => problem.help(format!(
                "deploy with --no-traffic; somebody who may move traffic then runs `wasm-fn traffic {function} -s \
                 {stage}`"
            )),
            E::NeedsApproval { function, stage, .. } => problem.help(format!(
                "deploy it, or promote it from another stage to {stage}; then others run `wasm-fn approve {function} -s \
                 {stage}`"
            )),
            E::NoSuchToken(_) => problem.help("run `wasm-fn tokens list` to list the tokens"),
            E::TokenOfNode(_) => problem.help("run `wasm-fn tokens rotate` to replace its secret at once"),
            E::TokenExists(name) => {
                problem.help(format!("run `wasm-fn tokens rotate {name}` to give it a new secret"))
            }
            E::NoSuchTrigger(TriggerId { function, .. }) => {
                problem.help(format!("run `wasm-fn triggers list {function}` to list its triggers"))
            }
            E::TriggerExists(TriggerId { function, stage, name }) => {
                problem.help(format!("run `wasm-fn triggers remove {function} {name} -s {stage}` to remove it first"))
            }
            E::NoSuchFunction(_) => problem.help("run `wasm-fn functions` to list the functions"),
            E::Clash(_) => problem.help("change `routes` of one of the two"),
            _ => problem,
        }
    }
}

fn of_secrets(problem: &SecretsProblemKind) -> (StatusCode, &'static str, &'static str) {
    use SecretsProblemKind as K;
    match problem {
        K::NotSet { .. } => (StatusCode::CONFLICT, "secret-not-set", "a secret is not set"),
        K::Missing { .. } => {
            (StatusCode::CONFLICT, "secret-missing", "the version does not have its secrets in this stage")
        }
        K::NoSuch { .. } => (StatusCode::NOT_FOUND, "no-such-secret", "there is no such secret"),
        K::InUse { .. } => (StatusCode::CONFLICT, "secret-in-use", "versions in use have the secret"),
        K::OfWebhook { .. } => {
            (StatusCode::CONFLICT, "secret-in-use", "a webhook is verified with the secret")
        }
        K::OfQueue { .. } => {
            (StatusCode::CONFLICT, "secret-in-use", "the broker of a queue is shown the secret")
        }
        K::OfDeployments { .. } => {
            (StatusCode::CONFLICT, "secret-in-use", "a trigger gets what it deploys with the secret")
        }
        K::Stages { .. } | K::Secrets { .. } | K::Bytes { .. } | K::RevisionsUsedUp { .. } => {
            (StatusCode::CONFLICT, "too-many-secrets", "there are too many secrets")
        }
    }
}

fn secrets_help(SecretsProblem { function, stage, problem }: &SecretsProblem) -> Option<String> {
    use SecretsProblemKind as K;
    match problem {
        K::NotSet { names } => {
            let command = |name| format!("`wasm-fn secrets set {name} -f {function} -s {stage}`");
            Some(format!("run {}", names.iter().map(command).collect::<Vec<_>>().join(" and ")))
        }
        K::Missing { .. } => Some(format!("deploy it to {stage}, or promote it there, to give it secrets")),
        K::NoSuch { .. } => Some(format!("run `wasm-fn secrets list -f {function} -s {stage}` to list them")),
        K::OfWebhook { trigger, .. } | K::OfQueue { trigger, .. } | K::OfDeployments { trigger, .. } => {
            Some(format!(
                "run `wasm-fn triggers remove {function} {trigger} -s {stage}` first, or set the secret anew"
            ))
        }
        K::InUse { .. } => Some(format!(
            "deploy a version without it to {stage} first; the version that a rollback goes to counts too"
        )),
        _ => None,
    }
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Plan(error) => error.into(),
            ControlError::Conflict { found, .. } => {
                let title = "the function has changed meanwhile";
                let mut problem = Self::new(StatusCode::CONFLICT, "revision-conflict", title, error)
                    .help("read the function again, then repeat the change if it is still right");
                problem.problem.revision = Some(found.0);
                problem
            }
            ControlError::ComponentMissing(_) => {
                let title = "the component is not on this node";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "component-missing", title, error)
                    .help("upload it to /v1/components/{digest} first")
            }
            ControlError::Rejected(Rejection { code, message, help }) => {
                // These reasons are no faults of the component.
                let problem = match code {
                    "busy" => Self::busy(message),
                    "cluster-not-prepared" => Self::cluster_not_prepared(message),
                    code => {
                        let title = "the component is refused";
                        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, title, message)
                    }
                };
                match help {
                    Some(help) => problem.help(help),
                    None => problem,
                }
            }
            ControlError::Busy { .. } => Self::busy(error),
            ControlError::Interrupted | ControlError::HandedOver => Self::not_ready(error),
            ControlError::OfCluster(_) => {
                Self::new(StatusCode::CONFLICT, "of-cluster", "the nodes of the cluster share it", error)
            }
            ControlError::Store(error) => error.into(),
            ControlError::Suspended { token, cause } => Self::suspended(&token, cause),
            ControlError::Secrets(SecretsError::Set(_)) => {
                let title = "the secrets of the version are too long";
                Self::new(StatusCode::CONFLICT, "secrets-too-large", title, error)
            }
            ControlError::Secrets(SecretsError::Unseal(_))
            | ControlError::Key(_)
            | ControlError::Table(_)
            | ControlError::Disk(_)
            | ControlError::Token(_) => Self::internal(error),
        }
    }
}

impl From<InvalidRights> for ApiError {
    fn from(error: InvalidRights) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid-rights", "the rights are malformed", error)
    }
}

impl From<VerifyError> for ApiError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Store(error) => error.into(),
            VerifyError::Chain(_) | VerifyError::Head(_) => Self::new(
                StatusCode::CONFLICT,
                "broken-journal",
                "the journal is not as it was written",
                error,
            )
            .help("keep a copy of the data directory, and compare it with a backup"),
        }
    }
}

impl From<EventsError> for ApiError {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::NoSuchTrigger(id) => ChangeError::NoSuchTrigger(id).into(),
            EventsError::NotSchedule { .. } => {
                Self::new(StatusCode::CONFLICT, "not-a-schedule", "the trigger is not a schedule", error)
            }
            EventsError::NoTicks { .. } => {
                Self::new(StatusCode::CONFLICT, "no-ticks", "the schedule has no ticks there", error)
            }
            EventsError::NoSuchEvent(_) => {
                Self::new(StatusCode::NOT_FOUND, "no-such-event", "there is no such event", error)
                    .help("an event that is done is remembered for a day")
            }
            EventsError::Inbox(InboxError::Full { .. }) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "inbox-full", "the inbox is full", error)
                    .help("wait until events are delivered; redrive or discard dead letters")
            }
            EventsError::Inbox(InboxError::TooLarge { .. }) => Self::too_large(error),
            EventsError::Inbox(InboxError::Store(error)) => error.into(),
            EventsError::Malformed(_) | EventsError::Inbox(_) => Self::internal(error),
        }
    }
}

impl From<BucketError> for ApiError {
    fn from(error: BucketError) -> Self {
        use BucketError as E;
        match error {
            E::KeyTooLong { .. } | E::NameTooLong { .. } => {
                Self::new(StatusCode::BAD_REQUEST, "invalid-key", "the key is refused", error)
            }
            E::ValueTooLarge { .. } | E::TooManyBytes { .. } => Self::too_large(error),
            E::Bytes { .. } | E::Keys { .. } => {
                Self::new(StatusCode::CONFLICT, "bucket-full", "the bucket is full", error)
                    .help("delete keys, or deploy a version whose configuration allows more")
            }
            E::Deleted => {
                Self::new(StatusCode::NOT_FOUND, "no-such-bucket", "there is no such bucket", error)
            }
            E::TooManyKeys { .. } | E::NoNumber { .. } | E::Overflow { .. } => Self::invalid_request(error),
            E::Store(StoreError::Released(_)) => Self::not_ready(error),
            E::Store(error) => error.into(),
        }
    }
}

impl From<PutError> for ApiError {
    fn from(error: PutError) -> Self {
        match error {
            PutError::TooLarge { .. } => Self::too_large(error),
            PutError::Digest { .. } => {
                let title = "the component does not match its digest";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "digest-mismatch", title, error)
            }
            PutError::Broken(_) => {
                Self::new(StatusCode::BAD_REQUEST, "upload-incomplete", "the upload ended early", error)
            }
            PutError::Disk(_) => Self::internal(error),
        }
    }
}
