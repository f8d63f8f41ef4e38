//! Who may do what: every operation, by every role, in and out of scope, against the running node. What is
//! expected is computed from the table of permissions.

use http::Method;
use serde_json::{Value, json};
use wasm_fn_access::{AccessRole, Permission, Reach};
use wasm_fn_api::{self as api, Operation};

use crate::harness::{Node, client::Answer};

/// Whom a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum For {
    Everything,
    /// `hello` in all stages.
    Hello,
    /// `hello` in `staging`.
    Staging,
    /// Another function.
    Other,
}

const SCOPES: [For; 4] = [For::Everything, For::Hello, For::Staging, For::Other];

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// Anything but a refusal for want of rights. What is asked for may be wrong for other reasons.
    Passes,
    Forbidden,
    Hidden,
}

/// A request on `hello` in stage `staging`, wrong in a way that is noticed only after the check of rights, so
/// that nothing is changed for the next.
fn request(operation: Operation) -> (Method, String, Value) {
    let (method, path) = operation.route();
    let method = match method {
        api::Method::Get => Method::GET,
        api::Method::Head => Method::HEAD,
        api::Method::Put => Method::PUT,
        api::Method::Post => Method::POST,
        api::Method::Delete => Method::DELETE,
    };
    let path = path
        .replace("{function}", "hello")
        .replace("{stage}", "staging")
        .replace("{digest}", &"0".repeat(64))
        .replace("{token}", "nobody-has-this-name")
        .replace("{secret}", "NOBODY_HAS_THIS_NAME")
        .replace("{bucket}", "nobody-has-this-name")
        .replace("{trigger}", "nobody-has-this-name")
        .replace("{event}", "nobody-has-this-id");
    let path = match operation {
        Operation::DeleteFunction
        | Operation::DeleteStage
        | Operation::SetSecret
        | Operation::DeleteSecret
        | Operation::RemoveTrigger => format!("{path}?expected_revision=0"),
        Operation::ListSeries => format!("{path}?functions=hello"),
        Operation::WatchFunctions | Operation::WatchFunction => format!("{path}?once=true"),
        Operation::GetPreview | Operation::GetLogs => format!("{path}?stage=staging"),
        _ => path,
    };
    let body = match operation {
        Operation::CreateToken => json!({ "name": "admin", "rights": { "roles": ["viewer"] } }),
        Operation::Deploy => {
            json!({ "stage": "staging", "component": "0".repeat(64), "expected_revision": 0 })
        }
        Operation::SetTraffic => json!({
            "stage": "staging",
            "split": [{ "version": "v1", "weight": "100%" }],
            "expected_revision": 0,
        }),
        Operation::AddTrigger => json!({
            "source": { "schedule": { "every_ms": [60_000] } },
            "expected_revision": 0,
        }),
        Operation::BackfillTrigger => json!({ "from_ms": 0, "to_ms": 0 }),
        Operation::RedriveEvents | Operation::DiscardEvents => json!({ "all": true }),
        Operation::PromoteStage => json!({ "from": "staging", "expected_revision": 0 }),
        Operation::Approve | Operation::Reject => {
            json!({ "stage": "staging", "proposal": 1, "expected_revision": 0 })
        }
        Operation::Promote
        | Operation::Pause
        | Operation::Resume
        | Operation::Abort
        | Operation::RollBack => json!({ "stage": "staging", "expected_revision": 0 }),
        _ => json!({}),
    };
    (method, path, body)
}

/// What the table says of `operation` by somebody with `role` for `scope`.
fn expected(operation: Operation, permission: Permission, role: AccessRole, scope: For) -> Fate {
    let path = operation.route().1;
    let names_function = path.contains("{function}");
    let has_role = permission.roles().contains(role);
    // A deployment may make a function, so its refusal may say so.
    let hidden = if operation == Operation::Deploy { Fate::Forbidden } else { Fate::Hidden };
    let names_stage = path.contains("{stage}")
        || matches!(
            permission,
            Permission::Deploy
                | Permission::MoveTraffic
                | Permission::Approve
                | Permission::ReadLogs
                | Permission::PreviewVersions
        );
    if names_function && scope == For::Other {
        return hidden;
    }
    if !has_role {
        return Fate::Forbidden;
    }
    let reaches = match permission.reach() {
        Reach::Node | Reach::Function => true,
        Reach::Stage => names_stage || scope != For::Staging,
        Reach::Everything => scope == For::Everything,
    };
    if reaches { Fate::Passes } else { Fate::Forbidden }
}

fn fate(answer: &Answer) -> Fate {
    let problem: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let code = problem.as_ref().and_then(|problem| problem["code"].as_str());
    match (answer.status.as_u16(), code) {
        // An answer to HEAD has no body.
        (403, Some("forbidden") | None) => Fate::Forbidden,
        (404, Some("no-such-function")) => Fate::Hidden,
        (401 | 403 | 429, code) => panic!("found {code:?}, expected a token to be known: {answer:?}"),
        _ => Fate::Passes,
    }
}

async fn token(node: &Node, role: AccessRole, scope: For) -> String {
    token_for(node, role, scope, "").await
}

/// A token whose name ends in `more`.
async fn token_for(node: &Node, role: AccessRole, scope: For, more: &str) -> String {
    let (functions, stages): (&[&str], &[&str]) = match scope {
        For::Everything => (&[], &[]),
        For::Hello => (&["hel*"], &[]),
        For::Staging => (&["hello"], &["staging"]),
        For::Other => (&["other", "hell"], &[]),
    };
    let name = format!("{role}-{scope:?}{more}").to_lowercase();
    let rights = json!({ "roles": [role.as_str()], "functions": functions, "stages": stages });
    let created =
        node.api_ok(Method::POST, "/v1/tokens", Some(&json!({ "name": name, "rights": rights }))).await;
    created["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_operation_is_allowed_by_the_table_and_by_nothing_else() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let (mut passed, mut refused) = (0, 0);
    for role in AccessRole::ALL {
        for scope in SCOPES {
            let token = token(&node, role, scope).await;
            for operation in Operation::ALL {
                let Some(permission) = operation.permission() else { continue };
                let (method, path, body) = request(operation);
                let answer = node.api_as(Some(&token), method, &path, Some(&body)).await;
                let found = fate(&answer);
                let expected = expected(operation, permission, role, scope);
                assert_eq!(found, expected, "{operation:?} by {role} for {scope:?}: {answer:?}");
                if expected == Fate::Passes { passed += 1 } else { refused += 1 }
            }
        }
    }
    assert_eq!(
        passed + refused,
        16 * (Operation::ALL.len() - 4),
        "healthz, readyz, the description and how people log in are open"
    );
    assert!(passed > 150 && refused > 200, "{passed} passed, {refused} were refused");
}

#[tokio::test]
async fn triggers_that_do_not_exist_are_told_to_whom_may_know() {
    let node = Node::start().await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let of_triggers = Operation::ALL
        .into_iter()
        .filter(|operation| operation.route().1.contains("{trigger}") && *operation != Operation::AddTrigger);
    for operation in of_triggers {
        let permission = operation.permission().expect("it needs one");
        for role in AccessRole::ALL.into_iter().filter(|&role| permission.roles().contains(role)) {
            let token = token_for(&node, role, For::Hello, operation.name()).await;
            let (method, path, body) = request(operation);
            let path = path.replace("staging", "live").replace("?expected_revision=0", "");
            let answer = node.api_as(Some(&token), method, &path, Some(&body)).await;
            let problem: Value = serde_json::from_slice(&answer.body).unwrap();
            let found = (answer.status.as_u16(), problem["code"].as_str());
            assert_eq!(found, (404, Some("no-such-trigger")), "{operation:?} by {role}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn without_a_token_nothing_under_v1_is_answered_but_how_to_get_one() {
    let node = Node::start().await;
    for operation in Operation::ALL {
        let (method, path, body) = request(operation);
        let answer = node.api_as(None, method, &path, Some(&body)).await;
        let open = !path.starts_with("/v1/") || operation == Operation::GetLogin;
        assert_eq!(answer.status.as_u16() == 401, !open, "{operation:?}: {answer:?}");
    }
}
