//! The limits of the data plane, and the proxies that it trusts.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use rand::RngExt as _;
use wasm_fn_core::{Network, Point, PreviewDomain, RequestSink, Sampler};

use crate::receiver::EventReceiver;

/// Limits for clients, and the proxies that may name them.
///
/// The value at the end of each description is a sensible default for a public listener.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Connections open at once; more wait in the kernel's backlog. 10,000.
    pub connections_max: usize,
    /// Connections that one address may have open at once, or one /64 network of IPv6; others are closed at
    /// once. Addresses of [`trusted_proxies`](Self::trusted_proxies) may have any number. 2,500.
    pub connections_per_address: usize,
    /// Header fields of one request. 100; HTTP/1 parses more than that on the heap.
    pub headers_max: usize,
    /// Bytes of one request's head; at least 8,192. Also limits the buffer for a response. 65,536.
    pub head_bytes_max: u32,
    /// Bytes of one request's body. 10 MiB.
    pub body_bytes_max: u64,
    /// From the first byte of a request's head to the last, and from accepting a connection to its first
    /// request, including a PROXY header and the handshake of TLS. 10 s.
    pub head_timeout: Duration,
    /// From the end of one request to the first byte of the next. 60 s.
    pub idle_timeout: Duration,
    /// How long a client may stop reading a response, and how long it may take after the response to send the
    /// rest of a body that the guest did not read. 30 s.
    pub stall_timeout: Duration,
    /// How long after the start of a drain an idle connection may still send a request before it is closed.
    /// 500 ms.
    pub drain_grace: Duration,
    /// How long a request may wait for a thread. One that waited longer is refused with status 503. 5 s.
    pub schedule_delay_max: Duration,
    /// Bytes of a request's body that are kept while a canary reads it, so that the request can run again on
    /// the version that the canary is to replace. If the canary reads more, the request runs only once. 64
    /// KiB.
    pub shield_body_bytes_max: usize,
    /// Whether responses of a second run carry `wasm-fn-shielded: 1`. `false`.
    pub show_shielded: bool,
    /// Networks of proxies that name their clients by `Forwarded` or `X-Forwarded-For`, and the scheme by
    /// `Forwarded` or `X-Forwarded-Proto`. Such headers of others are removed. None.
    pub trusted_proxies: Vec<Network>,
    /// How connections are secured; plain HTTP if absent. A connection takes the configuration that is
    /// current when its handshake begins, after a PROXY header. It should offer `h2` and `http/1.1` by ALPN.
    /// `None`.
    pub tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// Whether connections of trusted proxies begin with a PROXY header, version 1 or 2. One that does not is
    /// closed. Connections of others never have one. `false`.
    pub proxy_protocol: bool,
    /// The domain below which each version has a host name. Without it, versions have only their paths.
    /// `None`.
    pub preview_domain: Option<PreviewDomain>,
    /// Answers webhooks. `None`.
    pub receiver: Option<Arc<dyn EventReceiver>>,
    /// Which requests are recorded, for traces and the access log. `None`: none costs anything.
    pub recording: Option<RequestRecording>,
    /// Draws the point of a request that nothing else places: [`draw_at_random`].
    pub draw: fn() -> Point,
}

/// Which requests are recorded, and who gets them.
#[derive(Clone, Debug)]
pub struct RequestRecording {
    /// Which requests are traced; none without it. Those whose canary fails are traced in any case.
    pub traces: Option<Sampler>,
    /// Which requests the access log has; none without it.
    pub access_log: Option<Sampler>,
    /// Gets them when they are over.
    pub sink: Arc<dyn RequestSink>,
}

/// Draws a uniform point.
pub fn draw_at_random() -> Point {
    Point::from_bits(rand::rng().random())
}
