//! A client of the admin API.
//!
//! Answers and lines of streams are limited in size. Answers also have a deadline, except those to uploads
//! and streams.

mod error;
mod lines;
mod pieces;
mod session;
mod upload;

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::ClientConfig;
use serde::{Serialize, de::DeserializeOwned};
use wasm_fn_access::Permission;
use wasm_fn_api::{AT_LEAST_REVISION, EVENT_STREAM, PUBLISHED_REVISION, Problem};
use wasm_fn_core::Digest;

use self::session::Session;
use crate::config::{Connection, NodeAddress, Token};

pub(crate) use error::{ClientError, innermost};
pub(crate) use lines::Lines;
pub(crate) use session::SessionError;
pub(crate) use upload::Upload;

/// Maximum time to connect.
const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// Maximum time for an answer that needs no work on the node.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Maximum size of a JSON answer: the status of a node with many thousand functions fits.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The newest revision that a node has said it has published. A process is one command.
static NEWEST_REVISION: AtomicU64 = AtomicU64::new(0);

/// The newest revision that a node has told this command of.
pub(crate) fn newest_revision() -> u64 {
    NEWEST_REVISION.load(Relaxed)
}

/// A request's body.
pub(crate) type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A client of one node's admin API.
pub(crate) struct Client {
    http: HttpClient,
    connection: Connection,
    /// The user's login, where no token is given.
    session: Option<Session>,
}

/// A client of HTTP/1.1, over TLS where the URI says so.
pub(crate) type HttpClient = legacy::Client<HttpsConnector<HttpConnector>, Body>;

/// A client with a connect timeout, which trusts whom `tls` trusts.
pub(crate) fn http(tls: ClientConfig) -> HttpClient {
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_WAIT));
    connector.set_nodelay(true);
    connector.enforce_http(false);
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let connector = builder.wrap_connector(connector);
    legacy::Client::builder(TokioExecutor::new()).build(connector)
}

/// A body that is complete in memory.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

impl Client {
    /// Creates a client of the node at `connection`. It connects with its first request.
    pub(crate) fn new(connection: Connection) -> Self {
        let session = connection.login.clone().map(|login| Session::new(login, connection.address.clone()));
        Self { http: http(connection.tls.clone()), connection, session }
    }

    /// What sends its requests.
    pub(crate) fn http(&self) -> &HttpClient {
        &self.http
    }

    /// Where the node is.
    pub(crate) fn address(&self) -> &NodeAddress {
        &self.connection.address
    }

    /// Sends a GET request for `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Sends a request for `path` with `query`.
    pub(crate) async fn query<Q: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &Q,
    ) -> Result<T, ClientError> {
        self.call(method, &with_query(path, query)?, None::<&()>).await
    }

    /// Sends `body` to `path`.
    pub(crate) async fn call<B: Serialize, T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<T, ClientError> {
        let request = self.json(method, path, body, "application/json")?;
        let exchange = async {
            let response = self.send(request).await?;
            self.read(response).await
        };
        let bytes = tokio::time::timeout(ANSWER_WAIT, exchange).await.map_err(|_| self.slow())??;
        serde_json::from_slice(&bytes).map_err(|error| self.unexpected(error))
    }

    /// Sends `body` to `path`; the answer is a stream of JSON lines.
    pub(crate) async fn lines<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
    ) -> Result<Lines, ClientError> {
        let request = self.json(method, path, body, "application/x-ndjson")?;
        let response = self.send(request).await?;
        let status = response.status();
        if !status.is_success() {
            let bytes = self.read(response).await?;
            return Err(self.refusal(status, &bytes));
        }
        Ok(Lines::new(response.into_body(), self.address().clone()))
    }

    /// Sends a GET request for `path`; the answer is a stream of server-sent events.
    pub(crate) async fn events(&self, path: &str) -> Result<Lines, ClientError> {
        let request = self.json(Method::GET, path, None::<&()>, EVENT_STREAM)?;
        let response = tokio::time::timeout(ANSWER_WAIT, self.send(request)).await;
        let response = response.map_err(|_| self.slow())??;
        let status = response.status();
        if !status.is_success() {
            let bytes = self.read(response).await?;
            return Err(self.refusal(status, &bytes));
        }
        Ok(Lines::of_events(response.into_body(), self.address().clone()))
    }

    /// Sends a GET request for `path` with `query`; the answer is a stream of JSON lines.
    pub(crate) async fn query_lines<Q: Serialize>(
        &self,
        path: &str,
        query: &Q,
    ) -> Result<Lines, ClientError> {
        self.lines(Method::GET, &with_query(path, query)?, None::<&()>).await
    }

    /// Replaces `path`, with `query`, by `value`.
    pub(crate) async fn put<Q: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        query: &Q,
        value: Bytes,
    ) -> Result<T, ClientError> {
        let body = full(value);
        let mut request = self.request(Method::PUT, &with_query(path, query)?, body)?;
        let octets = HeaderValue::from_static("application/octet-stream");
        request.headers_mut().insert(header::CONTENT_TYPE, octets);
        let exchange = async { self.read(self.send(request).await?).await };
        let bytes = tokio::time::timeout(ANSWER_WAIT, exchange).await.map_err(|_| self.slow())??;
        serde_json::from_slice(&bytes).map_err(|error| self.unexpected(error))
    }

    /// Asks the node whether it already has the component.
    pub(crate) async fn has(&self, component: Digest) -> Result<bool, ClientError> {
        let request =
            self.json(Method::HEAD, &format!("/v1/components/{component}"), None::<&()>, "application/json")?;
        let answer = tokio::time::timeout(ANSWER_WAIT, self.send(request)).await;
        let status = answer.map_err(|_| self.slow())??.status();
        match status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            // An answer to HEAD has no body with details.
            StatusCode::FORBIDDEN => Err(ClientError::Refused(Box::new(no_uploads()))),
            other => Err(self.refusal(other, b"")),
        }
    }

    /// Sends a component. There is no deadline: the network may be slow.
    pub(crate) async fn upload(&self, upload: Upload) -> Result<(), ClientError> {
        let (component, bytes) = (upload.component, upload.bytes);
        let body = upload.into_body().await.map_err(ClientError::File)?;
        let mut request = self.request(Method::PUT, &format!("/v1/components/{component}"), body)?;
        let headers = request.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/wasm"));
        let response = self.send(request).await?;
        let status = response.status();
        let answer = self.read(response).await?;
        if status.is_success() { Ok(()) } else { Err(self.refusal(status, &answer)) }
    }

    fn json<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        body: Option<&B>,
        accept: &'static str,
    ) -> Result<Request<Body>, ClientError> {
        let bytes = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| self.unexpected(error))?,
            None => Vec::new(),
        };
        let mut request = self.request(method, path, full(bytes))?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        if body.is_some() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        Ok(request)
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, ClientError> {
        let NodeAddress { scheme, authority } = self.address();
        let uri = Uri::builder().scheme(scheme.as_str()).authority(authority.clone()).path_and_query(path);
        let uri = uri.build().map_err(|error| self.unexpected(error))?;
        let mut request = Request::builder().method(method).uri(uri);
        if let Some(revision) = self.connection.at_least_revision {
            request = request.header(AT_LEAST_REVISION, revision);
        }
        request.body(body).map_err(|error| self.unexpected(error))
    }

    /// Sends `request` with the token. A login is renewed first if it is about to expire.
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, ClientError> {
        let token = match &self.session {
            Some(session) => Some(session.token().await?.bearer()),
            None => self.connection.token.as_ref().map(Token::bearer),
        };
        if let Some(token) = token {
            request.headers_mut().insert(header::AUTHORIZATION, token);
        }
        let response = self.http.request(request).await;
        let response = response.map_err(|error| ClientError::transport(self.address(), &error))?;
        let published = response.headers().get(PUBLISHED_REVISION);
        if let Some(revision) = published.and_then(|value| value.to_str().ok()?.parse().ok()) {
            NEWEST_REVISION.fetch_max(revision, Relaxed);
        }
        // Only answers of the data plane have it, those of functions and its own refusals alike.
        if response.headers().contains_key("wasm-fn-request-id") {
            return Err(ClientError::DataPlane { node: self.address().clone() });
        }
        Ok(response)
    }

    /// Returns the body of a successful answer, or the refusal.
    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, ClientError> {
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let bytes = body.map_err(|error| match error.downcast_ref::<LengthLimitError>() {
            Some(_) => self.unexpected(format!("it is larger than {ANSWER_BYTES_MAX} bytes")),
            None => ClientError::ended_early(self.address(), error.as_ref()),
        })?;
        let bytes = bytes.to_bytes();
        if status.is_success() { Ok(bytes) } else { Err(self.refusal(status, &bytes)) }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> ClientError {
        match serde_json::from_slice::<Problem>(body) {
            Ok(problem) => ClientError::Refused(Box::new(problem)),
            Err(_) => self.unexpected(format!("it has status {status} and gives no reason")),
        }
    }

    /// The error of an answer that broke off.
    pub(crate) fn ended(&self, cause: &str) -> ClientError {
        ClientError::Ended { node: self.address().clone(), cause: cause.to_owned() }
    }

    fn slow(&self) -> ClientError {
        ClientError::Slow { node: self.address().clone(), wait: ANSWER_WAIT }
    }

    fn unexpected(&self, what: impl ToString) -> ClientError {
        ClientError::Unexpected { node: self.address().clone(), what: what.to_string() }
    }
}

/// What the node says of a token that may not upload components.
fn no_uploads() -> Problem {
    let permission = Permission::UploadComponents;
    Problem {
        title: "the token does not have the right".to_owned(),
        status: StatusCode::FORBIDDEN.as_u16(),
        detail: format!(
            "the token may not upload components, expected one with the permission `{}`: {}",
            permission.as_str(),
            permission.roles()
        ),
        code: "forbidden".to_owned(),
        help: Some("run `wasm-fn whoami` to see what the token may do".to_owned()),
        revision: None,
    }
}

fn with_query<Q: Serialize>(path: &str, query: &Q) -> Result<String, ClientError> {
    let query = serde_urlencoded::to_string(query).map_err(|error| ClientError::Query(error.to_string()))?;
    Ok(if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") })
}

#[cfg(test)]
mod tests;
