//! Attempts to reach other machines in every way, and what became of each, one line each.
//!
//! - `?tcp=IPV4:PORT` connects a socket there, and opens one that listens;
//! - `?udp=IPV4:PORT` sends a datagram there;
//! - `?name=HOST` looks up the addresses of a name;
//! - `?url=URL&times=N&bytes=M` sends N requests with bodies of M bytes, and reads the answers to their ends.

use std::net::SocketAddrV4;

use support::Target;
use wasip2::http::outgoing_handler;
use wasip2::http::types::{ErrorCode, Method, OutgoingBody};
use wasip2::io::streams::StreamError;
use wasip2::sockets::instance_network::instance_network;
use wasip2::sockets::ip_name_lookup::resolve_addresses;
use wasip2::sockets::network::{
    ErrorCode as SocketError, IpAddressFamily, IpSocketAddress, Ipv4SocketAddress,
};
use wasip2::sockets::tcp_create_socket::create_tcp_socket;
use wasip2::sockets::udp::OutgoingDatagram;
use wasip2::sockets::udp_create_socket::create_udp_socket;

use crate::{name, request};

/// The most bytes that a stream takes at once.
const CHUNK_BYTES_MAX: usize = 4096;

/// Makes the attempts that the query asks for; `None` if it asks for none.
pub fn made(target: &Target) -> Option<String> {
    let mut lines = Vec::new();
    if let Some(address) = address(target, "tcp") {
        lines.push(format!("connect: {}", outcome(connect(address))));
        lines.push(format!("listen: {}", outcome(listen())));
    }
    if let Some(address) = address(target, "udp") {
        lines.push(format!("send: {}", outcome(send(address))));
    }
    if let Some(name) = target.value("name") {
        lines.push(format!("look up: {}", outcome(look_up(&name))));
    }
    if let (Some(url), Some(times)) = (target.value("url"), target.number("times")) {
        let bytes = usize::try_from(target.number("bytes").unwrap_or(0)).unwrap_or(0);
        for _ in 0..times {
            lines.push(match call(&url, bytes) {
                Ok(bytes) => format!("{bytes} bytes"),
                Err(code) => variant(&code),
            });
        }
    }
    (!lines.is_empty()).then(|| lines.iter().map(|line| format!("{line}\n")).collect())
}

fn address(target: &Target, key: &str) -> Option<IpSocketAddress> {
    let address: SocketAddrV4 = target.value(key)?.parse().ok()?;
    let [a, b, c, d] = address.ip().octets();
    Some(IpSocketAddress::Ipv4(Ipv4SocketAddress { port: address.port(), address: (a, b, c, d) }))
}

/// Any port of any address of this machine.
fn any() -> IpSocketAddress {
    IpSocketAddress::Ipv4(Ipv4SocketAddress { port: 0, address: (0, 0, 0, 0) })
}

fn connect(address: IpSocketAddress) -> Result<(), SocketError> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_connect(&instance_network(), address)?;
    socket.subscribe().block();
    socket.finish_connect().map(drop)
}

fn listen() -> Result<(), SocketError> {
    let socket = create_tcp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&instance_network(), any())?;
    socket.subscribe().block();
    socket.finish_bind()?;
    socket.start_listen()?;
    socket.finish_listen()
}

fn send(address: IpSocketAddress) -> Result<(), SocketError> {
    let socket = create_udp_socket(IpAddressFamily::Ipv4)?;
    socket.start_bind(&instance_network(), any())?;
    socket.subscribe().block();
    socket.finish_bind()?;
    let (_incoming, outgoing) = socket.stream(None)?;
    outgoing.check_send()?;
    outgoing.send(&[OutgoingDatagram { data: b"hello".to_vec(), remote_address: Some(address) }]).map(drop)
}

fn look_up(name: &str) -> Result<(), SocketError> {
    let addresses = resolve_addresses(&instance_network(), name)?;
    addresses.subscribe().block();
    addresses.resolve_next_address().map(drop)
}

fn outcome(result: Result<(), SocketError>) -> String {
    match result {
        Ok(()) => "done".into(),
        Err(code) => code.name().into(),
    }
}

/// Sends a request, and returns the length of the answer's body.
fn call(url: &str, bytes: usize) -> Result<u64, ErrorCode> {
    let request = request(url).ok_or(ErrorCode::HttpRequestUriInvalid)?;
    if bytes > 0 {
        request.set_method(&Method::Post).expect("it is a method");
    }
    let body = request.body().expect("a new request has its body");
    let pending = outgoing_handler::handle(request, None)?;
    // The host ends the body of a request that failed. The error comes with the answer.
    if write(&body, bytes).is_ok() {
        let _ended = OutgoingBody::finish(body, None);
    }
    let response = loop {
        match pending.get() {
            Some(response) => break response.expect("the response is taken once")?,
            None => pending.subscribe().block(),
        }
    };
    let body = response.consume().expect("a new response has its body");
    let stream = body.stream().expect("a new body has its stream");
    let mut read = 0;
    loop {
        match stream.blocking_read(65_536) {
            Ok(chunk) => read += chunk.len() as u64,
            Err(StreamError::Closed) => return Ok(read),
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(code.unwrap_or(ErrorCode::InternalError(None)));
            }
        }
    }
}

fn write(body: &OutgoingBody, bytes: usize) -> Result<(), StreamError> {
    let stream = body.write().expect("a new body has its stream");
    let mut left = bytes;
    while left > 0 {
        let now = left.min(CHUNK_BYTES_MAX);
        stream.blocking_write_and_flush(&vec![b'x'; now])?;
        left -= now;
    }
    Ok(())
}

/// The variant's name, without its payload.
fn variant(code: &ErrorCode) -> String {
    let name = name(code);
    name.split('(').next().unwrap_or(&name).into()
}
