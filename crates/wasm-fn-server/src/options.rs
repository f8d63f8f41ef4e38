//! Every bound of the data plane, and whom it believes.

use std::time::Duration;

use rand::RngExt as _;
use wasm_fn_core::{Point, PreviewDomain};

use crate::Network;

/// What clients may use of the data plane, for how long, and which proxies name them.
///
/// The number after each field is a sensible default for a public listener.
#[derive(Clone, Debug)]
pub struct Options {
    /// Connections open at once; further ones wait in the kernel's backlog. 10,000.
    pub connections_max: usize,
    /// Header fields of one request. 100; HTTP/1 parses more than that on the heap.
    pub headers_max: usize,
    /// Bytes of one request's head; at least 8,192. Also bounds what is buffered of an answer. 65,536.
    pub head_bytes_max: u32,
    /// Bytes of one request's body. 10 MiB.
    pub body_bytes_max: u64,
    /// From the first byte of a request's head to the last, and from accepting a connection to its
    /// first request, with the PROXY header before that. 10 s.
    pub head_timeout: Duration,
    /// From the end of one request to the next one's first byte. 60 s.
    pub idle_timeout: Duration,
    /// How long a client may refuse to read what is being sent to it. 30 s.
    pub stall_timeout: Duration,
    /// How long, once a drain began, a connection without a request in flight may still send one
    /// before it is closed. 500 ms.
    pub drain_grace: Duration,
    /// How long a request may wait for a thread; one that waited longer is refused with 503. 5 s.
    pub turn_wait_max: Duration,
    /// Bytes of a request's body that are kept while a canary reads it, so that the request can run again on the
    /// version that the canary was to replace; a request of which the canary read more runs once. 64 KiB.
    pub shield_body_bytes_max: usize,
    /// Whether answers of such a second run say so, by `wasm-fn-shielded: 1`. `false`.
    pub show_shielded: bool,
    /// Where the proxies are that say whose requests they pass on, by `Forwarded` or `X-Forwarded-For`. What others say
    /// of that is removed. None.
    pub trusted_proxies: Vec<Network>,
    /// Whether the connections of trusted proxies begin with a PROXY header, version 1 or 2; one that does not is
    /// closed. Connections of others never do. `false`.
    pub proxy_protocol: bool,
    /// The domain below which each version has a host name; without one versions have their paths alone. `None`.
    pub preview_domain: Option<PreviewDomain>,
    /// Where requests that nothing places get their point: [`draw_at_random`].
    pub draw: fn() -> Point,
}

/// A uniform point.
pub fn draw_at_random() -> Point {
    Point::from_bits(rand::rng().random())
}
