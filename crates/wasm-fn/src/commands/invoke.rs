//! `wasm-fn invoke`: sends one request to a function, as any client would.

use std::{collections::BTreeMap, io::Read as _, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use serde::Serialize;
use wasm_fn_api as api;
use wasm_fn_core::Route;

use super::{
    DONE,
    address::{self, DataAddress},
    connect,
    traffic::unknown_stage,
};
use crate::{
    args,
    client::{self, Body, Client, innermost},
    config::Connection,
    fault::{ERROR, Fault},
    output::{Output, stdout_is_terminal, time, visible},
};

/// In requests, the version that is to answer; in answers, the one that did.
const VERSION: HeaderName = HeaderName::from_static("wasm-fn-version");

/// The token that allows the client to choose the version.
const TOKEN: HeaderName = HeaderName::from_static("wasm-fn-token");

/// The request's id in answers and logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("wasm-fn-request-id");

/// Maximum size of a body that is printed as part of an object. Other bodies are streamed.
const BODY_BYTES_MAX: usize = 64 << 20;

/// An answer as an object.
#[derive(Serialize)]
struct Answer {
    status: u16,
    /// The version that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    /// Time until the head of the answer arrived.
    latency_ms: f64,
    /// Values by name, in the order in which they arrived.
    headers: BTreeMap<String, Vec<String>>,
    /// The body; absent if it is not text.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    body_bytes: usize,
}

pub(super) async fn run(args: args::Invoke, output: Output) -> Result<u8, Fault> {
    let failed = || format!("`{}` was not invoked", args.function);
    let connection = Connection::resolve(&args.connection)?;
    let (data, route) = find(&args).await?;
    let path = address::path_and_query(&route, &args.path)
        .map_err(|cause| Fault::new("invalid-path", failed(), cause))?;
    let body = body(args.data.as_deref()).map_err(|cause| Fault::new("unreadable-body", failed(), cause))?;
    let request = request(&args, &connection, &data, &route, &path, body)
        .map_err(|cause| Fault::new("invalid-path", failed(), cause))?;
    let started = started();
    let response = client::http(connection.tls.clone()).request(request).await.map_err(|error| {
        let (data, cause) = (&data.authority, innermost(&error));
        let cause = format!("the functions of the node cannot be reached at {data}: {cause}");
        Fault::new("unreachable", failed(), cause)
    })?;
    let latency = started.elapsed();
    let failure = response.status().is_client_error() || response.status().is_server_error();
    if output.is_json() {
        output.data(&answer(response, latency).await?, |_| String::new())?;
    } else {
        print(&args, response, latency, output).await?;
    }
    Ok(if failure { ERROR } else { DONE })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the command line is an edge: it shows how long the answer took"
)]
fn started() -> std::time::Instant {
    std::time::Instant::now()
}

/// Where the stage can be called, and its first route.
async fn find(args: &args::Invoke) -> Result<(DataAddress, Route), Fault> {
    let failed = || format!("`{}` was not invoked", args.function);
    let client: Client = connect(&args.connection)?;
    let node = client.get::<api::NodeView>("/v1/node").await.map_err(|error| error.fault(failed()))?;
    let path = format!("/v1/functions/{}", args.function);
    let status = client.get::<api::FunctionStatus>(&path).await.map_err(|error| error.fault(failed()))?;
    let stage = status.stages.iter().find(|stage| stage.stage == args.stage.as_str());
    let stage = stage.ok_or_else(|| unknown_stage(failed(), &status, args.stage.as_str()))?;
    let route = stage.routes.first().and_then(|route| route.parse().ok()).ok_or_else(|| {
        Fault::new(
            "unexpected-answer",
            failed(),
            format!("stage {} has no route that can be read", args.stage),
        )
    })?;
    Ok((DataAddress::of(&node, client.address()), route))
}

/// `TEXT`, `@FILE` or `@-`. Blocks.
fn body(data: Option<&str>) -> Result<Option<Bytes>, String> {
    let Some(data) = data else { return Ok(None) };
    let Some(file) = data.strip_prefix('@') else { return Ok(Some(Bytes::from(data.to_owned()))) };
    let read = if file == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    read.map(|bytes| Some(Bytes::from(bytes))).map_err(|error| format!("{file}: {error}"))
}

fn request(
    args: &args::Invoke,
    connection: &Connection,
    data: &DataAddress,
    route: &Route,
    path: &str,
    body: Option<Bytes>,
) -> Result<Request<Body>, String> {
    let method = args.method.clone().unwrap_or(if body.is_some() { Method::POST } else { Method::GET });
    let DataAddress { scheme, authority } = data;
    let uri = format!("{}://{authority}{path}", scheme.as_str());
    let uri: Uri = uri.parse().map_err(|error| format!("{path:?}: {error}"))?;
    let mut request = Request::new(client::full(body.unwrap_or_default()));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    if let Some(host) = route.host() {
        headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|error| error.to_string())?);
    }
    if let Some(version) = args.version {
        let version = HeaderValue::from_str(&version.to_string()).map_err(|error| error.to_string())?;
        headers.insert(VERSION, version);
        // Only with a version: a request that does not need the token does not carry it.
        if let Some(token) = &connection.token {
            headers.insert(TOKEN, token.bare());
        }
    }
    for (index, (name, value)) in args.headers.iter().enumerate() {
        // The first header of a name replaces ours; further ones are added.
        if args.headers[..index].iter().any(|(earlier, _)| earlier == name) {
            headers.append(name, value.clone());
        } else {
            headers.insert(name, value.clone());
        }
    }
    Ok(request)
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

fn cut_off(error: &(dyn std::error::Error + 'static)) -> Fault {
    Fault::new("connection-ended", "the answer is incomplete", innermost(error))
}

async fn answer(response: Response<Incoming>, latency: Duration) -> Result<Answer, Fault> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let cause = format!("its body is larger than {BODY_BYTES_MAX} bytes, which is the maximum");
            return Fault::new("too-large", "the answer cannot be shown as an object", cause)
                .help("leave out -o json to stream the body");
        }
        cut_off(error.as_ref())
    })?;
    let body = body.to_bytes();
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers.entry(name.to_string()).or_default().push(value);
    }
    Ok(Answer {
        status: head.status.as_u16(),
        version: text(&head.headers, &VERSION),
        request_id: text(&head.headers, &REQUEST_ID),
        latency_ms: latency.as_secs_f64() * 1e3,
        headers,
        body: std::str::from_utf8(&body).ok().map(str::to_owned),
        body_bytes: body.len(),
    })
}

async fn print(
    args: &args::Invoke,
    response: Response<Incoming>,
    latency: Duration,
    output: Output,
) -> Result<(), Fault> {
    let (head, mut body) = response.into_parts();
    if args.include {
        let mut lines = format!("{:?} {}\n", head.version, head.status);
        for (name, value) in &head.headers {
            lines += &format!("{name}: {}\n", visible(&String::from_utf8_lossy(value.as_bytes())));
        }
        output.bytes(format!("{lines}\n").as_bytes())?;
    } else {
        let version = text(&head.headers, &VERSION).map(|version| format!(" {}", visible(&version)));
        let took = time::latency(Some(latency.as_secs_f64() * 1e3));
        let version = version.unwrap_or_default();
        output.talk(&format!("{}{version} answered {} after {took}", args.function, head.status));
    }
    let mut last = b'\n';
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| cut_off(&error))?;
        if let Ok(bytes) = frame.into_data() {
            last = bytes.last().copied().unwrap_or(last);
            output.bytes(&bytes)?;
        }
    }
    // The shell's next prompt starts on a new line; programs get the body unchanged.
    if last != b'\n' && stdout_is_terminal() {
        output.bytes(b"\n")?;
    }
    if let Some(id) = text(&head.headers, &REQUEST_ID).filter(|_| head.status.is_server_error()) {
        let logs = format!("wasm-fn logs {} --request {}", args.function, visible(&id));
        output.next(&[(logs, "what the log says of it")]);
    }
    Ok(())
}
