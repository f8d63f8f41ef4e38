//! `wasm-fn test`: serves a function on a node of its own, and checks how it answers.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use serde::Serialize;
use wasm_fn_api as api;
use wasm_fn_control::state::{Check, CheckText};
use wasm_fn_core::{Route, StageName};

use super::{build, serving};
use crate::{
    args,
    client::{self, Client, HttpClient},
    commands::DONE,
    config::Buildable,
    fault::{self, Fault},
    node::Node,
    output::{Look, Output, visible},
};

/// Longest time for an answer: a function's own limit is at most an hour, and no test should take that.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// How a check ended.
#[derive(Serialize)]
struct Checked {
    method: String,
    path: String,
    passed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) async fn run(args: args::Test, output: Output) -> Result<u8, Fault> {
    let failed = "nothing was tested";
    let stage = StageName::live();
    let of = Buildable::read(&args.of, &stage, failed)?;
    let checks = of.checks(&args.checks, failed)?.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let of = if args.no_build {
        of
    } else {
        let built = tokio::task::spawn_blocking(move || build::build(&of, false).map(|_| of)).await;
        built.map_err(|error| Fault::new("build-not-run", failed, error))??
    };
    let data_dir = tempfile::Builder::new().prefix("wasm-fn-test-").tempdir();
    let data_dir = data_dir.map_err(|error| Fault::new("system", failed, error))?;
    let any = std::net::SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    let node = serving::start(any, any, data_dir.path()).await?;
    let tested = test(&node, data_dir.path(), &of, &checks, output).await;
    // All answers are there: nothing is cut.
    let _ = node.drain(serving::DRAIN_TIMEOUT).await;
    let failures = tested?;
    output.talk(&format!("{} of {} checks passed", checks.len() - failures, checks.len()));
    Ok(if failures == 0 { DONE } else { fault::ERROR })
}

fn parse(spec: &api::CheckSpec) -> Result<Check, Fault> {
    let api::CheckSpec { method, path, headers, body, expect } = spec;
    let text = CheckText {
        method: method.as_deref(),
        path,
        headers,
        body: body.as_deref(),
        status: expect.status,
        expected_headers: &expect.headers,
        pattern: expect.body.as_deref(),
        json: &expect.json,
    };
    Check::parse(text).map_err(|error| Fault::new("invalid-checks", "nothing was tested", error))
}

/// Deploys `of` to `node` and makes the checks. Gives how many failed.
async fn test(
    node: &Node,
    data_dir: &std::path::Path,
    of: &Buildable,
    checks: &[Check],
    output: Output,
) -> Result<usize, Fault> {
    let connection = serving::connection(node, data_dir)?;
    let http = client::http(connection.tls.clone());
    let client = Client::new(connection);
    let deployed = serving::deploy(&client, of, "live", of.stage_config.clone()).await?;
    let route = deployed.routes.first().and_then(|route| route.parse::<Route>().ok());
    let host = route.as_ref().and_then(Route::host).and_then(|host| HeaderValue::from_str(host).ok());
    let look = Look::of_stdout();
    let mut failures = 0;
    for check in checks {
        let reason = match ask(&http, node, host.as_ref(), check).await {
            Ok(answer) => check.compare(&answer).err().map(|mismatch| mismatch.to_string()),
            Err(reason) => Some(reason),
        };
        failures += usize::from(reason.is_some());
        let (method, path) = (check.method.to_string(), check.path.to_string());
        let checked = Checked { method, path, passed: reason.is_none(), reason };
        output.record(&checked, |checked| line(checked, look))?;
    }
    Ok(failures)
}

fn line(checked: &Checked, look: Look) -> String {
    let Checked { method, path, reason, .. } = checked;
    match reason {
        None => visible(&format!("ok      {method} {path}")),
        Some(reason) => look.failed(&visible(&format!("failed  {method} {path}: {reason}"))),
    }
}

/// The answer to the request of `check`.
async fn ask(
    http: &HttpClient,
    node: &Node,
    host: Option<&HeaderValue>,
    check: &Check,
) -> Result<Response<Bytes>, String> {
    let uri: Uri =
        format!("http://{}{}", node.listen(), check.path).parse().map_err(|_| "path is no path")?;
    let mut request = Request::new(client::full(check.body.clone()));
    (*request.method_mut(), *request.uri_mut()) = (check.method.clone(), uri);
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host.clone());
    }
    for (name, value) in &check.headers {
        request.headers_mut().append(name, value.clone());
    }
    let exchange = async {
        let (head, body) = http.request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok::<_, String>(Response::from_parts(head, body.to_bytes()))
    };
    let waited = tokio::time::timeout(ANSWER_WAIT, exchange).await;
    waited.unwrap_or_else(|_| Err(format!("found no answer after {ANSWER_WAIT:?}")))
}
