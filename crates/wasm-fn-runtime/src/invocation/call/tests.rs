//! Facts about requests as guests get them.

use bytes::Bytes;
use http::{HeaderValue, Version};
use http_body_util::Empty;
use wasm_fn_core::{Limits, VersionNo};

use super::*;
use crate::{
    BodyError,
    guest_host::{
        egress::{
            Egress,
            policy::{EgressOptions, EgressPolicy},
        },
        logs::LogRing,
    },
    invocation::request::{end_to_end, with_host},
};

fn request(target: &str, host: Option<&'static str>) -> Request<WasiBody> {
    let mut request = Request::new(Empty::<Bytes>::new().map_err(|never| -> BodyError { match never {} }));
    *request.uri_mut() = target.parse().unwrap();
    *request.version_mut() = if host.is_some() { Version::HTTP_11 } else { Version::HTTP_2 };
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static(host));
    }
    with_host(end_to_end(request))
}

/// A function that may send nothing.
fn egress() -> Egress {
    let log = Arc::new(LogRing::new(tokio::sync::watch::channel(0).0, None));
    let node = Arc::new(EgressOptions::public());
    let policy = EgressPolicy::new(Vec::new(), &Limits::default(), node, VersionNo::FIRST, log);
    Egress::new(Arc::new(policy))
}

#[test]
fn guests_of_0_3_get_scheme_and_authority_in_every_protocol() {
    for (target, host, authority) in [
        ("/a?b", Some("a.test:8080"), "a.test:8080"),
        ("/a?b", Some("[::1]:80"), "[::1]:80"),
        ("http://b.test/a?b", Some("b.test"), "b.test"),
        ("http://b.test/a?b", None, "b.test"),
        // HTTP/1.0 may leave it out.
        ("/a?b", None, "localhost"),
    ] {
        for (scheme, expected) in [(Scheme::Http, uri::Scheme::HTTP), (Scheme::Https, uri::Scheme::HTTPS)] {
            let (request, _) = request_03(&mut egress(), scheme, request(target, host));
            assert_eq!(request.scheme, Some(expected), "{target} at {host:?}");
            assert_eq!(request.authority.unwrap(), authority, "{target} at {host:?}");
            assert_eq!(request.path_with_query.unwrap(), "/a?b");
        }
    }
}
