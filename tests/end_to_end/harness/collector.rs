//! A collector of telemetry: takes OTLP over gRPC and HTTP, by the published messages, and keeps what came.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Frame, Incoming},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::{
    collector::{logs::v1::ExportLogsServiceRequest, trace::v1::ExportTraceServiceRequest},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::LogRecord,
    trace::v1::Span,
};
use prost::Message;
use tokio::{net::TcpListener, sync::watch};

use super::patiently;

/// Attributes as texts, by name.
pub(crate) type Attributes = BTreeMap<String, String>;

/// A collector.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    received: watch::Receiver<Received>,
    refuses: Arc<AtomicBool>,
}

/// What it got.
#[derive(Default)]
pub(crate) struct Received {
    pub(crate) spans: Vec<ReceivedSpan>,
    pub(crate) logs: Vec<ReceivedLog>,
    /// Who sent the last of it.
    pub(crate) resource: Attributes,
    /// The paths of all requests.
    pub(crate) paths: Vec<String>,
}

/// A span.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedSpan {
    pub(crate) span: Span,
    pub(crate) attributes: Attributes,
}

/// A log record.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedLog {
    pub(crate) record: LogRecord,
    pub(crate) scope: String,
    pub(crate) body: String,
    pub(crate) attributes: Attributes,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let (sender, received) = watch::channel(Received::default());
        let (sender, refuses) = (Arc::new(sender), Arc::new(AtomicBool::new(false)));
        let refusing = refuses.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, refusing) = (sender.clone(), refusing.clone());
                let service = service_fn(move |request| {
                    let (sender, refusing) = (sender.clone(), refusing.clone());
                    async move { Ok::<_, Infallible>(take(request, &sender, &refusing).await) }
                });
                tokio::spawn(async move {
                    // A sender that leaves is none of a collector's concern.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { address, received, refuses }
    }

    /// Answers with errors from now on, or no more.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// What `wanted` makes of what came, as soon as it makes something of it.
    pub(crate) async fn wait<T>(&self, what: &str, wanted: impl Fn(&Received) -> Option<T>) -> T {
        let mut received = self.received.clone();
        let came = patiently(what, received.wait_for(|received| wanted(received).is_some())).await;
        let came = came.expect("the collector runs as long as its test");
        wanted(&came).expect("it was there just now")
    }

    /// The first span with this name, once it is there.
    pub(crate) async fn span(&self, name: &str) -> ReceivedSpan {
        self.wait(name, |received| received.spans.iter().find(|span| span.span.name == name).cloned()).await
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        self.received.borrow().spans.clone()
    }
}

impl ReceivedSpan {
    /// The attribute `name`; an empty text if it is not there.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

async fn take(
    request: Request<Incoming>,
    sender: &watch::Sender<Received>,
    refuses: &AtomicBool,
) -> Response<BoxBody<Bytes, Infallible>> {
    let path = request.uri().path().to_owned();
    let is_grpc = request.headers().get("content-type").is_some_and(|kind| kind == "application/grpc");
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    // A message of gRPC begins with a flag and its length.
    let message = if is_grpc { body.slice(5.min(body.len())..) } else { body };
    let fails = refuses.load(Ordering::Relaxed);
    sender.send_modify(|received| {
        received.paths.push(path.clone());
        if fails {
            return;
        }
        if path.ends_with("/v1/traces") || path.ends_with("TraceService/Export") {
            add_spans(received, message);
        } else {
            add_logs(received, message);
        }
    });
    answer(is_grpc, fails)
}

fn answer(is_grpc: bool, fails: bool) -> Response<BoxBody<Bytes, Infallible>> {
    let mut frames = Vec::new();
    let mut response = Response::builder();
    if is_grpc {
        response = response.header("content-type", "application/grpc");
        if !fails {
            let mut empty = BytesMut::new();
            empty.put_bytes(0, 5);
            frames.push(Frame::data(empty.freeze()));
        }
        let mut trailers = HeaderMap::new();
        // 3 is INVALID_ARGUMENT, which nobody repeats.
        trailers.insert("grpc-status", if fails { "3" } else { "0" }.parse().expect("a digit"));
        frames.push(Frame::trailers(trailers));
    } else {
        response = response.header("content-type", "application/x-protobuf");
        response = response.status(if fails { 400 } else { 200 });
    }
    let body = StreamBody::new(stream::iter(frames.into_iter().map(Ok)));
    response.body(body.boxed()).expect("the head is well formed")
}

fn add_spans(received: &mut Received, message: Bytes) {
    let export = ExportTraceServiceRequest::decode(message).expect("the node sends what OTLP describes");
    for group in export.resource_spans {
        received.resource = attributes(group.resource.unwrap_or_default().attributes);
        for span in group.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let attributes = attributes(span.attributes.clone());
            received.spans.push(ReceivedSpan { span, attributes });
        }
    }
}

fn add_logs(received: &mut Received, message: Bytes) {
    let export = ExportLogsServiceRequest::decode(message).expect("the node sends what OTLP describes");
    for group in export.resource_logs {
        for scope in group.scope_logs {
            let name = scope.scope.unwrap_or_default().name;
            for record in scope.log_records {
                let body = record.body.clone().map(text).unwrap_or_default();
                let attributes = attributes(record.attributes.clone());
                received.logs.push(ReceivedLog { record, scope: name.clone(), body, attributes });
            }
        }
    }
}

fn attributes(attributes: Vec<KeyValue>) -> Attributes {
    let pairs = attributes.into_iter().map(|pair| (pair.key, pair.value.map(text).unwrap_or_default()));
    pairs.collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// The id as people write it.
pub(crate) fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}
