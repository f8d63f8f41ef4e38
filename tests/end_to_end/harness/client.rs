//! Clients of the data plane.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{
    BodyExt as _, Full,
    channel::{Channel, Sender},
    combinators::BoxBody,
};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::patiently;

/// A client of one address, with a pool of connections.
#[derive(Clone)]
pub(crate) struct Client {
    inner: legacy::Client<HttpConnector, BoxBody<Bytes, Infallible>>,
    address: SocketAddr,
}

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

/// A request whose body is still being written, and the answer to it so far.
pub(crate) struct Exchange {
    sender: Option<Sender<Bytes>>,
    pub(crate) response: Response<Incoming>,
}

/// Why there is no complete answer.
pub(crate) type Broken = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    pub(crate) fn http1(address: SocketAddr) -> Self {
        Self::new(address, false)
    }

    /// HTTP/2 with prior knowledge.
    pub(crate) fn http2(address: SocketAddr) -> Self {
        Self::new(address, true)
    }

    fn new(address: SocketAddr, http2_only: bool) -> Self {
        let inner = legacy::Client::builder(TokioExecutor::new()).http2_only(http2_only).build_http();
        Self { inner, address }
    }

    /// The beginning of a request to `path`.
    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(format!("http://{}{path}", self.address))
    }

    /// Sends `request`; gives the head of the answer.
    pub(crate) async fn open(
        &self,
        request: Request<BoxBody<Bytes, Infallible>>,
    ) -> Result<Response<Incoming>, Broken> {
        Ok(patiently("the head of an answer", self.inner.request(request)).await?)
    }

    /// Sends a request with a body that is known; gives the complete answer.
    pub(crate) async fn send(&self, request: Request<impl Into<Bytes>>) -> Result<Answer, Broken> {
        let request = request.map(|body| Full::new(body.into()).boxed());
        Answer::read(self.open(request).await?).await
    }

    async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, Broken> {
        let request = headers
            .iter()
            .fold(self.request(Method::GET, path), |request, &(name, value)| request.header(name, value));
        self.send(request.body("")?).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.get_as(path, &[]).await
    }

    /// A request with headers.
    pub(crate) async fn get_as(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        match self.get_with(path, headers).await {
            Ok(answer) => answer,
            Err(error) => panic!("GET {path} was not answered: {error:?}"),
        }
    }

    pub(crate) async fn post(&self, path: &str, body: impl Into<Bytes>) -> Answer {
        let request = self.request(Method::POST, path).body(body).expect("the request is well formed");
        self.send(request).await.expect("the request is answered")
    }

    /// Posts a body of which `first` is written now and the rest later.
    ///
    /// Returns once a guest has begun to answer, which for `echo` means that it runs.
    pub(crate) async fn begin(
        &self,
        path: &str,
        first: &'static str,
        headers: &[(&str, &str)],
    ) -> Result<Exchange, Broken> {
        let (mut sender, body) = Channel::<Bytes>::new(1);
        sender.send_data(Bytes::from_static(first.as_bytes())).await?;
        let request = headers
            .iter()
            .fold(self.request(Method::POST, path), |request, &(name, value)| request.header(name, value));
        let response = self.open(request.body(body.boxed())?).await?;
        Ok(Exchange { sender: Some(sender), response })
    }
}

impl Exchange {
    /// Writes more of the request's body.
    pub(crate) async fn write(&mut self, data: &'static str) {
        let sender = self.sender.as_mut().expect("the body has not ended");
        let sent = sender.send_data(Bytes::from_static(data.as_bytes()));
        patiently("writing a body", sent).await.expect("the request is still being read");
    }

    /// Ends the request's body with trailers.
    pub(crate) async fn end(&mut self, trailers: HeaderMap) {
        let mut sender = self.sender.take().expect("the body has not ended");
        let sent = sender.send(Frame::trailers(trailers));
        patiently("writing trailers", sent).await.expect("the request is still being read");
    }

    /// Ends the request's body and reads the rest of the answer.
    pub(crate) async fn finish(mut self) -> Result<Answer, Broken> {
        drop(self.sender.take());
        Answer::read(self.response).await
    }

    /// Reads until the answer's body has given `wanted`, which must be what comes next.
    pub(crate) async fn read(&mut self, wanted: &str) {
        let mut read = Vec::new();
        while read.len() < wanted.len() {
            let frame = patiently("the next bytes of an answer", self.response.body_mut().frame()).await;
            let frame = frame.expect("the answer goes on").expect("the answer is not cut");
            read.extend_from_slice(&frame.into_data().expect("trailers come last"));
        }
        assert_eq!(String::from_utf8_lossy(&read), wanted);
    }
}

impl Answer {
    pub(crate) async fn read(response: Response<Incoming>) -> Result<Self, Broken> {
        let (head, body) = response.into_parts();
        let body = patiently("the rest of an answer", body.collect()).await?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Self { status: head.status, headers: head.headers, body: body.to_bytes(), trailers })
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("the header is text"))
    }

    /// The version that answered; empty when none did.
    pub(crate) fn version(&self) -> &str {
        self.header("wasm-fn-version")
    }

    /// The answer, which must be 200.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text());
        self
    }

    /// Checks that this is an error answer of the data plane, and gives its JSON.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem: Value = serde_json::from_slice(&self.body).expect("a problem is JSON");
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert_eq!(problem["request_id"], self.header("wasm-fn-request-id"), "{problem}");
        problem
    }
}

/// Sends bytes as they are and reads until the peer closes, or until `enough` says so.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8], enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut stream = connect(address).await;
    // A peer that refuses early may close before everything is written.
    let _ = patiently("writing raw bytes", stream.write_all(bytes)).await;
    read_until(&mut stream, enough).await
}

pub(crate) async fn connect(address: SocketAddr) -> TcpStream {
    patiently("a connection", TcpStream::connect(address)).await.expect("the node accepts connections")
}

/// Reads until the peer closes or cuts, or until `enough` says so.
pub(crate) async fn read_until(stream: &mut TcpStream, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut read = Vec::new();
    let mut chunk = vec![0; 4096];
    while !enough(&read) {
        match patiently("raw bytes", stream.read(&mut chunk)).await {
            Ok(0) | Err(_) => break,
            Ok(bytes) => read.extend_from_slice(&chunk[..bytes]),
        }
    }
    read
}

/// An origin of our own, for guests that call out: answers everything with 200 and `text`, and counts.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicU64>,
    targets: Arc<Mutex<BTreeSet<String>>>,
}

impl Origin {
    pub(crate) async fn start(text: &'static str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (calls, targets) = (Arc::new(AtomicU64::new(0)), Arc::<Mutex<BTreeSet<String>>>::default());
        let (counted, heard) = (Arc::clone(&calls), Arc::clone(&targets));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let head = read_until(&mut stream, |read| read.ends_with(b"\r\n\r\n")).await;
                let target = String::from_utf8_lossy(&head).split(' ').nth(1).map(str::to_owned);
                heard.lock().expect("nothing panics with it").extend(target);
                let length = text.len();
                let answer =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}");
                // A caller that has left gets nothing.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, calls, targets }
    }

    /// Connections so far.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Whether it was asked for `target`.
    pub(crate) fn heard(&self, target: &str) -> bool {
        self.targets.lock().expect("nothing panics with it").contains(target)
    }
}
