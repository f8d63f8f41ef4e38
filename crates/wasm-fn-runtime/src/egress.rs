//! Outgoing requests: denied unless the configuration allows the origin.

use std::{future::Future, sync::Arc};

use wasm_fn_core::{EgressRule, Scheme};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks, default_send_request};

/// What `wasi:http` asks the host: which outgoing requests may leave.
pub(crate) struct Egress {
    pub(crate) allowed: Arc<[EgressRule]>,
}

type ResponseIo = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl Egress {
    fn allows(&self, request: &http::Request<WasiBody>) -> bool {
        let uri = request.uri();
        let scheme = match uri.scheme_str() {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            _ => return false,
        };
        let Some(authority) = uri.authority() else { return false };
        let port = authority.port_u16().unwrap_or(scheme.port());
        self.allowed.iter().any(|rule| rule.allows(scheme, authority.host(), port))
    }
}

impl WasiHttpHooks for Egress {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_errors: ResponseIo,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, ResponseIo), Error>> + Send> {
        if !self.allows(&request) {
            tracing::debug!(uri = %request.uri(), "egress denied");
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        }
        Box::new(async move {
            let (response, io) = default_send_request(request, options).await?;
            Ok((response.map(http_body_util::BodyExt::boxed_unsync), Box::new(io) as ResponseIo))
        })
    }

    /// A proxy that cannot be reached is the guest's news, not the node's.
    fn p2_error_from_connect(
        &mut self,
        error: &std::io::Error,
    ) -> wasmtime_wasi_http::p2::bindings::http::types::ErrorCode {
        use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
        tracing::debug!(%error, "egress connection refused");
        ErrorCode::ConnectionRefused
    }
}
