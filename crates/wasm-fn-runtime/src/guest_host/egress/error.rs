//! What a guest is told about an outgoing request that failed.

use std::{error::Error as StdError, io};

use wasmtime_wasi_http::Error;

/// A name that cannot be resolved.
pub(super) fn of_lookup(error: &io::Error) -> Error {
    tracing::debug!(%error, "name of an outgoing request not found");
    Error::DnsError { rcode: Some("address not available".to_owned()), info_code: None }
}

/// A name without an address.
pub(super) fn no_address() -> Error {
    of_lookup(&io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
}

/// A host that cannot be connected to.
pub(super) fn of_connect(error: &io::Error) -> Error {
    use io::ErrorKind;
    tracing::debug!(%error, "outgoing request not connected");
    match error.kind() {
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted => Error::ConnectionTerminated,
        _ => Error::ConnectionRefused,
    }
}

/// A handshake of TLS that failed, or a connection that ended with an alert.
pub(super) fn of_tls(error: &io::Error) -> Error {
    tracing::debug!(%error, "outgoing request not trusted");
    match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Error::TlsCertificateError
        }
        Some(rustls::Error::AlertReceived(alert)) => Error::TlsAlertReceived {
            alert_id: Some((*alert).into()),
            alert_message: Some(format!("{alert:?}")),
        },
        Some(_) => Error::TlsProtocolError,
        None if error.kind() == io::ErrorKind::UnexpectedEof => Error::ConnectionTerminated,
        None => Error::TlsProtocolError,
    }
}

/// An exchange that failed after the connection was made.
pub(super) fn of_hyper(error: hyper::Error) -> Error {
    tracing::debug!(%error, "outgoing request failed");
    let source = error.source();
    if let Some(io) = source.and_then(|source| source.downcast_ref::<io::Error>()) {
        return match io.kind() {
            _ if io.get_ref().is_some_and(|error| error.is::<rustls::Error>()) => of_tls(io),
            io::ErrorKind::UnexpectedEof => Error::HttpResponseIncomplete,
            _ => Error::ConnectionTerminated,
        };
    }
    match source.and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::HttpRequestBodySize(bytes)) => Error::HttpRequestBodySize(*bytes),
        // The guest's own body failed; `wasi:http` knows how.
        Some(_) => Error::Hyper(error),
        None if error.is_timeout() => Error::HttpResponseTimeout,
        None if error.is_incomplete_message() => Error::HttpResponseIncomplete,
        None if error.is_parse_too_large() => Error::HttpResponseHeaderSectionSize(None),
        None if error.is_closed() || error.is_canceled() => Error::ConnectionTerminated,
        None => Error::HttpProtocolError,
    }
}
