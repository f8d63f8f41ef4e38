//! The OpenAPI description of the admin API, generated from its operations and types.

mod buckets;
mod cluster;
mod parts;
mod triggers;
mod watching;

use std::collections::BTreeMap;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, Content, InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, PathsBuilder, RefOr,
        Required, Response, ResponseBuilder, Schema,
        path::{HttpMethod, OperationBuilder, Parameter},
        request_body::{RequestBody, RequestBodyBuilder},
        security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme},
    },
};

use wasm_fn_access::Permission;

use crate::{
    AbortRequest, AccessRule, ApprovalRequest, ApprovalResult, AuditHead, AuditHeadQuery, AuditPage,
    AuditQuery, BackupManifest, CallerView, DeleteQuery, Deleted, DeployEvent, DeployRequest, DeployResult,
    FunctionList, FunctionStatus, FunctionsQuery, HistoryPage, HistoryQuery, HoldRequest, LogEvent,
    LoginView, LogsQuery, Method, NodeQuery, NodeView, Operation, PreviewKeyRotated, PreviewQuery,
    PreviewView, Problem, PromoteRequest, PromoteStageRequest, RollbackRequest, SecretChanged, SecretDeleted,
    SecretList, SecretQuery, SecretsChanged, SecretsKeyRequest, SecretsKeyRotated, SecretsRequest,
    StageChanged, StageDeleted, TokenChange, TokenCreated, TokenList, TokenRequest, TokenRevoked, TraceList,
    TracesQuery, TrafficRequest, Uploaded, VersionList, VersionsQuery,
    words::{DigestText, StageText, VersionRefText, VersionText},
};
use parts::{query, text};

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// The OpenAPI description of the admin API.
pub fn openapi() -> OpenApi {
    let mut describer = Describer::default();
    let paths = Operation::ALL.into_iter().fold(PathsBuilder::new(), |paths, operation| {
        let (method, path) = operation.route();
        let item = utoipa::openapi::PathItem::new(http_method(method), describer.describe(operation));
        paths.path(path, item)
    });
    // Parameters refer to these and do not bring them.
    describer.content::<StageText>();
    describer.content::<VersionText>();
    describer.content::<VersionRefText>();
    let mut components = Components::new();
    components.schemas = describer.schemas;
    components.add_security_scheme("token", SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)));
    let info = InfoBuilder::new()
        .title("wasm-fn admin API")
        .version(env!("CARGO_PKG_VERSION"))
        .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build()))
        .description(Some(
            "Deploys functions and moves traffic between their versions. Everything under /v1 but \
             /v1/login needs a bearer token whose roles have the permission that the operation names.",
        ));
    OpenApiBuilder::new().info(info.build()).paths(paths).components(Some(components)).build()
}

fn http_method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::Get,
        Method::Head => HttpMethod::Head,
        Method::Put => HttpMethod::Put,
        Method::Post => HttpMethod::Post,
        Method::Delete => HttpMethod::Delete,
    }
}

/// The description of one operation.
struct Description {
    tag: &'static str,
    summary: &'static str,
    parameters: Vec<Parameter>,
    body: Option<RequestBody>,
    success: Response,
    /// Statuses of refusals, each with its codes.
    refusals: &'static [(&'static str, &'static str)],
}

impl Description {
    /// An operation that asks for nothing and refuses nothing of its own.
    fn plain(tag: &'static str, summary: &'static str, success: Response) -> Self {
        Self { tag, summary, parameters: Vec::new(), body: None, success, refusals: &[] }
    }
}

/// Describes operations, and collects the schemas that they refer to.
#[derive(Default)]
struct Describer {
    schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Describer {
    fn describe(&mut self, operation: Operation) -> utoipa::openapi::path::Operation {
        let Description { tag, summary, parameters, body, success, refusals } = self.description(operation);
        let mut responses = BTreeMap::from([("200".to_owned(), success)]);
        // An answer to HEAD has no body that could say why.
        let has_body = operation.route().0 != Method::Head;
        let any: &[_] = match operation.permission() {
            Some(_) => &[
                ("401", "`unauthorized`"),
                ("403", "`forbidden`: the token does not have the permission, or not for this"),
                ("429", "`too-many-failures`: too many wrong tokens came from this address"),
                ("4XX", "Refused"),
                ("5XX", "The node cannot answer now, or failed: `not-ready`, `internal`"),
            ],
            None => &[],
        };
        for (status, codes) in refusals.iter().chain(any).copied() {
            let response = ResponseBuilder::new().description(codes);
            let response = if has_body {
                response.content(Problem::MEDIA_TYPE, self.content::<Problem>())
            } else {
                response
            };
            responses.insert(status.to_owned(), response.build());
        }
        let builder = OperationBuilder::new()
            .tag(tag)
            .operation_id(Some(operation.name()))
            .summary(Some(summary))
            .request_body(body);
        let builder = parameters.into_iter().fold(builder, OperationBuilder::parameter);
        let builder = responses
            .into_iter()
            .fold(builder, |builder, (status, response)| builder.response(status, response));
        // The roles of OAuth's kind of security are scopes, here permissions.
        let token =
            |permission: Permission| SecurityRequirement::new("token", [permission.as_str().to_owned()]);
        match operation.access() {
            AccessRule::Open => builder.build(),
            AccessRule::OpenLocally(permission) => {
                builder.security(token(permission)).security(SecurityRequirement::default()).build()
            }
            AccessRule::Permission(permission) => {
                let roles = format!("Roles: {}.", permission.roles());
                builder.description(Some(roles)).security(token(permission)).build()
            }
        }
    }

    fn description(&mut self, operation: Operation) -> Description {
        match operation {
            Operation::Healthz => Description {
                tag: "node",
                summary: "Checks whether the process answers.",
                parameters: Vec::new(),
                body: None,
                success: text("The process answers", "text/plain"),
                refusals: &[],
            },
            Operation::Readyz => Description {
                tag: "node",
                summary: "Checks that a route table is published, that every version with traffic can be called, \
                          and that the node is not stopping.",
                parameters: Vec::new(),
                body: None,
                success: text("Functions can be called", "text/plain"),
                refusals: &[("503", "Not yet, or no longer: `not-ready`")],
            },
            Operation::Metrics => Description {
                tag: "node",
                summary: "Reads requests, latencies and memory of every version, the rollouts, the triggers and the buckets.",
                parameters: Vec::new(),
                body: None,
                success: ResponseBuilder::new()
                    .description("The text format of Prometheus, or OpenMetrics for who prefers it in `accept`")
                    .content("text/plain", Content::new(Some(String::schema())))
                    .content("application/openmetrics-text", Content::new(Some(String::schema())))
                    .build(),
                refusals: &[],
            },
            Operation::Describe => Description {
                tag: "node",
                summary: "Reads this document.",
                parameters: Vec::new(),
                body: None,
                success: ResponseBuilder::new()
                    .description("The OpenAPI description of this API")
                    .content(JSON, Content::new(Some(serde_json::Value::schema())))
                    .build(),
                refusals: &[],
            },
            Operation::GetLogin => Description::plain(
                "access",
                "Tells without a token how people log in: the issuers that give them one for this node.",
                self.json::<LoginView>("The issuers; none if nobody can log in"),
            ),
            Operation::GetNode => Description::plain(
                "node",
                "Describes this node.",
                self.json::<NodeView>("The node"),
            ),
            Operation::GetRevision
            | Operation::GetCluster
            | Operation::DrainNode => self.of_cluster(operation),
            Operation::GetBackup => Description {
                tag: "node",
                summary: "Reads a backup of the state and the components, as they are now.",
                parameters: Vec::new(),
                body: None,
                success: ResponseBuilder::new()
                    .description("A tar archive; `content-length` is its size")
                    .content(BackupManifest::MEDIA_TYPE, Content::new(Some(Vec::<u8>::schema())))
                    .build(),
                refusals: &[("503", "`busy`, `not-ready`")],
            },
            Operation::RotatePreviewKey => Description {
                tag: "node",
                summary: "Replaces the key of preview tokens, which makes every preview token of this node invalid.",
                parameters: Vec::new(),
                body: None,
                success: self.json::<PreviewKeyRotated>("The key is replaced"),
                refusals: &[],
            },
            Operation::GetCaller => Description::plain(
                "access",
                "Tells the client who it is, and what it may do.",
                self.json::<CallerView>("The client"),
            ),
            Operation::ListTokens => Description::plain(
                "access",
                "Lists tokens, sorted by name, without their secrets.",
                self.json::<TokenList>("The tokens"),
            ),
            Operation::CreateToken => Description {
                tag: "access",
                summary: "Creates a token.",
                parameters: Vec::new(),
                body: Some(self.body::<TokenRequest>()),
                success: self.json::<TokenCreated>("The token, with its secret"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-rights`, `invalid-request`"),
                    ("409", "`token-exists`, `too-many-tokens`"),
                ],
            },
            Operation::RotateToken => Description {
                tag: "access",
                summary: "Gives a token a new secret. The old one is refused at once.",
                parameters: vec![self.token()],
                body: Some(self.body::<TokenChange>()),
                success: self.json::<TokenCreated>("The token, with its new secret"),
                refusals: &[("404", "`no-such-token`")],
            },
            Operation::RevokeToken => Description {
                tag: "access",
                summary: "Revokes a token. It is refused at once.",
                parameters: std::iter::once(self.token()).chain(query::<TokenChange>()).collect(),
                body: None,
                success: self.json::<TokenRevoked>("The token is revoked"),
                refusals: &[("404", "`no-such-token`")],
            },
            Operation::GetAudit => Description {
                tag: "access",
                summary: "Reads who changed what, when, from where and why, and who was refused; newest first.",
                parameters: query::<AuditQuery>(),
                body: None,
                success: self.json::<AuditPage>("Entries of the journal"),
                refusals: &[("400", "`invalid-name`, `invalid-request`")],
            },
            Operation::GetAuditHead => Description {
                tag: "access",
                summary: "Reads the hash of the last entry, which covers all entries, and verifies them.",
                parameters: query::<AuditHeadQuery>(),
                body: None,
                success: self.json::<AuditHead>("The end of the journal"),
                refusals: &[("400", "`invalid-request`"), ("409", "`broken-journal`")],
            },
            Operation::PutComponent => Description {
                tag: "components",
                summary: "Stores a component. It is not an error if the component is already stored.",
                parameters: vec![
                    self.segment::<DigestText>("digest", "SHA-256 of the body, 64 lower-case hexadecimal digits"),
                ],
                body: Some(
                    RequestBodyBuilder::new()
                        .description(Some("The component's bytes"))
                        .content("application/wasm", Content::new(Some(Vec::<u8>::schema())))
                        .required(Some(Required::True))
                        .build(),
                ),
                success: self.json::<Uploaded>("The component is stored"),
                refusals: &[("413", "`too-large`"), ("422", "`digest-mismatch`"), ("503", "`busy`")],
            },
            Operation::HeadComponent => Description {
                tag: "components",
                summary: "Checks whether a component is stored, so that a client need not send it.",
                parameters: vec![self.segment::<DigestText>("digest", "SHA-256 of the component")],
                body: None,
                success: ResponseBuilder::new()
                    .description("The component is stored; `content-length` is its size")
                    .build(),
                refusals: &[("404", "The component is not stored")],
            },
            Operation::ListFunctions => Description {
                tag: "functions",
                summary: "Lists functions, sorted by name.",
                parameters: query::<FunctionsQuery>(),
                body: None,
                success: self.json::<FunctionList>("Functions"),
                refusals: &[("400", "`invalid-name`, `invalid-request`")],
            },
            Operation::GetFunction => Description {
                tag: "functions",
                summary: "Shows one function: its stages, their splits, and the numbers of every version.",
                parameters: self.with_query::<NodeQuery>(),
                body: None,
                success: self.json::<FunctionStatus>("The function"),
                refusals: &[("404", "`no-such-function`, `no-such-node`")],
            },
            Operation::ListSeries
            | Operation::GetSeries
            | Operation::WatchFunctions
            | Operation::WatchFunction => self.of_watching(operation),
            Operation::DeleteFunction => Description {
                tag: "functions",
                summary: "Deletes a function, with what it keeps. Its version numbers are never used again.",
                parameters: self.with_query::<DeleteQuery>(),
                body: None,
                success: self.json::<Deleted>("The function is deleted"),
                refusals: &[("404", "`no-such-function`"), ("409", "`revision-conflict`")],
            },
            Operation::DeleteStage => Description {
                tag: "functions",
                summary: "Deletes a stage: its split, its routes, its secrets and what is kept in it. The function's versions \
                          stay.",
                parameters: {
                    let stage = self.segment::<StageText>("stage", "Name of the stage");
                    let mut parameters = self.with_query::<DeleteQuery>();
                    parameters.insert(1, stage);
                    parameters
                },
                body: None,
                success: self.json::<StageDeleted>("The stage is deleted"),
                refusals: &[
                    ("404", "`no-such-function`, `no-such-stage`"),
                    ("409", "`live-stage`, `rollout-in-progress`, `revision-conflict`"),
                ],
            },
            Operation::ListSecrets => Description {
                tag: "secrets",
                summary: "Lists the secrets of a stage, without their values. The function need not have versions.",
                parameters: vec![self.function(), self.stage()],
                body: None,
                success: self.json::<SecretList>("The secrets"),
                refusals: &[("400", "`invalid-name`")],
            },
            Operation::SetSecret => Description {
                tag: "secrets",
                summary: "Gives a secret a new value, which the next deployment gets. The function need not have \
                          versions.",
                parameters: self.secret().into_iter().chain(query::<SecretQuery>()).collect(),
                body: Some(
                    RequestBodyBuilder::new()
                        .description(Some("The value: 1 byte to 64 KiB of UTF-8 without NUL"))
                        .content("application/octet-stream", Content::new(Some(Vec::<u8>::schema())))
                        .required(Some(Required::True))
                        .build(),
                ),
                success: self.json::<SecretChanged>("The secret is set"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-secret`, `invalid-request`"),
                    ("409", "`too-many-secrets`, `revision-conflict`"),
                    ("413", "`too-large`"),
                ],
            },
            Operation::SetSecrets => Description {
                tag: "secrets",
                summary: "Gives several secrets new values in one step, or none of them. The function need not have \
                          versions.",
                parameters: vec![self.function(), self.stage()],
                body: Some(self.body::<SecretsRequest>()),
                success: self.json::<SecretsChanged>("The secrets are set"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-secret`, `invalid-request`"),
                    ("409", "`too-many-secrets`, `revision-conflict`"),
                    ("413", "`too-large`"),
                ],
            },
            Operation::DeleteSecret => Description {
                tag: "secrets",
                summary: "Deletes a secret, unless a version has it that has traffic or that a rollback goes to.",
                parameters: self.secret().into_iter().chain(query::<SecretQuery>()).collect(),
                body: None,
                success: self.json::<SecretDeleted>("The secret is deleted"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-request`"),
                    ("404", "`no-such-secret`"),
                    ("409", "`secret-in-use`, `revision-conflict`"),
                ],
            },
            Operation::RotateSecretsKey => Description {
                tag: "secrets",
                summary: "Seals every secret under a new key, and drops the keys so far.",
                parameters: Vec::new(),
                body: Some(self.body::<SecretsKeyRequest>()),
                success: self.json::<SecretsKeyRotated>("Every secret is sealed under the new key"),
                refusals: &[],
            },
            Operation::ListKeys
            | Operation::GetValue
            | Operation::PutValue
            | Operation::DeleteValue => self.of_buckets(operation),
            Operation::ListTriggers
            | Operation::ListAllTriggers
            | Operation::GetTrigger
            | Operation::AddTrigger
            | Operation::RemoveTrigger
            | Operation::PauseTrigger
            | Operation::ResumeTrigger
            | Operation::RunTrigger
            | Operation::BackfillTrigger => self.of_triggers(operation),
            Operation::ListEvents
            | Operation::GetEvent
            | Operation::RedriveEvents
            | Operation::DiscardEvents => self.of_events(operation),
            Operation::ListVersions => Description {
                tag: "functions",
                summary: "Lists the versions of a function, newest first.",
                parameters: self.with_query::<VersionsQuery>(),
                body: None,
                success: self.json::<VersionList>("Its versions"),
                refusals: &[("400", "`invalid-version`, `invalid-request`"), ("404", "`no-such-function`")],
            },
            Operation::GetHistory => Description {
                tag: "functions",
                summary: "Shows the journal of a function, newest first. The journal of a deleted function is kept.",
                parameters: self.with_query::<HistoryQuery>(),
                body: None,
                success: self.json::<HistoryPage>("Who changed what, when, from where and why"),
                refusals: &[("404", "`no-such-function`")],
            },
            Operation::GetPreview => Description {
                tag: "functions",
                summary: "Shows the addresses of a function's versions, with the token for them.",
                parameters: self.with_query::<PreviewQuery>(),
                body: None,
                success: self.json::<PreviewView>("The addresses"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-version`"),
                    ("404", "`no-such-function`, `no-such-stage`, `no-such-version`"),
                ],
            },
            Operation::GetLogs => Description {
                tag: "functions",
                summary: "Reads the log of a function, as lines of JSON.",
                parameters: self.with_query::<LogsQuery>(),
                body: None,
                success: ResponseBuilder::new()
                    .description("Lines, oldest first; with `follow`, the answer does not end")
                    .content(LINES, self.content::<LogEvent>())
                    .build(),
                refusals: &[("404", "`no-such-function`, `no-such-stage`, `no-such-version`")],
            },
            Operation::GetTraces => Description {
                tag: "functions",
                summary: "Reads the traces that the node keeps of a function: of requests that failed, and of the \
                          slowest ones.",
                parameters: self.with_query::<TracesQuery>(),
                body: None,
                success: self.json::<TraceList>("The traces"),
                refusals: &[("404", "`no-such-function`, `no-such-stage`")],
            },
            Operation::Deploy => Description {
                tag: "functions",
                summary: "Creates a version of a function and gives it traffic.",
                parameters: vec![self.function()],
                body: Some(self.body::<DeployRequest>()),
                success: ResponseBuilder::new()
                    .description(
                        "The deployment is committed and published; with `accept: application/x-ndjson`, lines of \
                         progress and then the result or the problem",
                    )
                    .content(JSON, self.content::<DeployResult>())
                    .content(LINES, self.content::<DeployEvent>())
                    .build(),
                refusals: &[
                    (
                        "400",
                        "`invalid-name`, `invalid-config`, `invalid-strategy`, `invalid-gate`, `invalid-check`, \
                         `invalid-digest`, `invalid-request`",
                    ),
                    (
                        "409",
                        "`rollout-in-progress`, `already-stable`, `no-such-cohort`, `route-clash`, `revision-conflict`, \
                         `rollout-moved`, `too-many-stages`, `capabilities-grow`, `secret-not-set`, `secrets-too-large`",
                    ),
                    ("422", "`component-missing`, or why the component is refused"),
                    ("503", "`busy`"),
                ],
            },
            Operation::PromoteStage => Description {
                tag: "traffic",
                summary: "Takes the version that is stable in one stage to another, as it is.",
                parameters: vec![self.function(), self.segment::<StageText>("stage", "The stage to release to")],
                body: Some(self.body::<PromoteStageRequest>()),
                success: ResponseBuilder::new()
                    .description(
                        "The promotion is committed and published; with `accept: application/x-ndjson`, lines as of a \
                         deployment",
                    )
                    .content(JSON, self.content::<DeployResult>())
                    .content(LINES, self.content::<DeployEvent>())
                    .build(),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-strategy`, `invalid-gate`, `invalid-check`, `invalid-request`"),
                    ("404", "`no-such-function`, `no-such-stage`"),
                    (
                        "409",
                        "`rollout-in-progress`, `already-stable`, `no-such-cohort`, `route-clash`, `revision-conflict`, \
                         `rollout-moved`, `too-many-stages`, `capabilities-grow`, `secret-not-set`, `secrets-too-large`",
                    ),
                    ("503", "`busy`"),
                ],
            },
            Operation::Approve => Description {
                success: self.json::<ApprovalResult>("The release after the approval"),
                refusals: &[("404", "`no-such-function`"), ("409", "`approval`, `revision-conflict`")],
                ..self.moves_traffic::<ApprovalRequest>(
                    "Approves the release that waits in a stage; with the last approval that it needs, it begins.",
                )
            },
            Operation::Reject => Description {
                success: self.json::<ApprovalResult>("The release after the rejection"),
                refusals: &[("404", "`no-such-function`"), ("409", "`approval`, `revision-conflict`")],
                ..self.moves_traffic::<ApprovalRequest>(
                    "Withdraws the release that waits in a stage; its version stays.",
                )
            },
            Operation::SetTraffic => Description {
                refusals: &[
                    ("400", "`invalid-split`, `invalid-version`"),
                    ("404", "`no-such-function`, `no-such-stage`, `no-such-version`"),
                    ("409", "`rollout-in-progress`, `route-clash`, `revision-conflict`, `secret-missing`"),
                ],
                ..self.moves_traffic::<TrafficRequest>("Sets the weights of a stage.")
            },
            Operation::Promote => Description {
                refusals: &[
                    ("404", "`no-such-function`, `no-such-stage`"),
                    ("409", "`no-rollout`, `wrong-phase`, `rollout-moved`, `revision-conflict`"),
                ],
                ..self.moves_traffic::<PromoteRequest>(
                    "Takes the rollout to its next step, or with `full`, to its end.",
                )
            },
            Operation::Pause => self.moves_traffic::<HoldRequest>("Pauses the rollout where it is."),
            Operation::Resume => {
                self.moves_traffic::<HoldRequest>("Resumes a paused rollout, under a new gate.")
            }
            Operation::Abort => self.moves_traffic::<AbortRequest>(
                "Ends a rollout. All traffic goes to stable, or back to the split that was set by hand before it.",
            ),
            Operation::RollBack => Description {
                refusals: &[
                    ("404", "`no-such-function`, `no-such-stage`, `no-such-version`"),
                    ("409", "`no-previous-version`, `route-clash`, `revision-conflict`, `secret-missing`"),
                ],
                ..self.moves_traffic::<RollbackRequest>(
                    "Sends all traffic to an earlier version; during a rollout, aborts it.",
                )
            },
        }
    }

    /// Describes a command to a rollout.
    fn moves_traffic<B: ToSchema>(&mut self, summary: &'static str) -> Description {
        Description {
            tag: "traffic",
            summary,
            parameters: vec![self.function()],
            body: Some(self.body::<B>()),
            success: self.json::<StageChanged>("The stage after the command"),
            refusals: &[
                ("404", "`no-such-function`, `no-such-stage`"),
                ("409", "`no-rollout`, `wrong-phase`, `revision-conflict`"),
            ],
        }
    }
}
