//! The PROXY protocol, versions 1 and 2: a proxy begins a connection with a header that names the client.
//!
//! See haproxy.org/download/3.0/doc/proxy-protocol.txt. The header is read to its last byte and no further,
//! since HTTP follows.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::{io::AsyncReadExt as _, net::TcpStream};

/// Start of a header of version 1.
const TEXT: &[u8] = b"PROXY ";
/// Longest header of version 1 with its end of line, bytes.
const TEXT_BYTES_MAX: usize = 107;
/// Shortest header: `PROXY UNKNOWN` and an end of line. One of version 2 is longer.
const SHORTEST: usize = 15;

/// Start of a header of version 2.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Length of its fixed part.
const FIXED_BYTES: usize = 16;
/// Longest header of version 2, bytes; the same as in nginx.
const BINARY_BYTES_MAX: usize = 4096;

/// The client of a connection, according to its PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxiedClient {
    /// The proxy itself, for example for a health check (`LOCAL`).
    Own,
    /// A client that the proxy cannot name (`UNKNOWN`, or a family other than TCP over IPv4 or IPv6).
    Unnamed,
    /// The client at this address.
    Named(SocketAddr),
}

/// Why a connection has no valid PROXY header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// The connection ended or failed.
    #[error("found an end within the PROXY header: {0}")]
    Cut(#[from] io::Error),
    /// The bytes are not a PROXY header.
    #[error("found \"{}\", expected a PROXY header of version 1 or 2", .0.escape_ascii())]
    Malformed(Vec<u8>),
    /// The header is too long.
    #[error("found a PROXY header of more than {bytes_max} bytes")]
    TooLong {
        /// The longest that is accepted.
        bytes_max: usize,
    },
}

/// Reads the PROXY header that `stream` begins with.
///
/// # Errors
/// The stream does not begin with a header, or ends within it. It must be closed then.
///
/// # Cancel safety
/// Not cancel safe: part of the header may have been read.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<ProxiedClient, HeaderError> {
    let mut start = [0; SHORTEST];
    stream.read_exact(&mut start).await?;
    if start.starts_with(BINARY) {
        read_binary(stream, &start).await
    } else if start.starts_with(TEXT) {
        read_text(stream, &start).await
    } else {
        Err(HeaderError::Malformed(start.to_vec()))
    }
}

async fn read_text(stream: &mut TcpStream, start: &[u8]) -> Result<ProxiedClient, HeaderError> {
    let mut line = [0; TEXT_BYTES_MAX];
    line[..start.len()].copy_from_slice(start);
    let mut length = start.len();
    while !line[..length].contains(&b'\n') {
        if length == line.len() {
            return Err(HeaderError::TooLong { bytes_max: TEXT_BYTES_MAX });
        }
        // Peeks first, so that nothing behind the line is consumed.
        let seen = stream.peek(&mut line[length..]).await?;
        if seen == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let end = line[length..length + seen].iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(seen, |at| at + 1);
        stream.read_exact(&mut line[length..length + taken]).await?;
        length += taken;
    }
    text(&line[..length]).ok_or_else(|| HeaderError::Malformed(line[..length].to_vec()))
}

async fn read_binary(stream: &mut TcpStream, start: &[u8]) -> Result<ProxiedClient, HeaderError> {
    let mut fixed = [0; FIXED_BYTES];
    fixed[..start.len()].copy_from_slice(start);
    stream.read_exact(&mut fixed[start.len()..]).await?;
    let length = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    if FIXED_BYTES + length > BINARY_BYTES_MAX {
        return Err(HeaderError::TooLong { bytes_max: BINARY_BYTES_MAX });
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    binary(fixed[12], fixed[13], &rest).ok_or_else(|| HeaderError::Malformed(fixed.to_vec()))
}

/// Parses a header of version 1, a line with its end.
fn text(line: &[u8]) -> Option<ProxiedClient> {
    let line = str::from_utf8(line).ok()?.strip_prefix("PROXY ")?.strip_suffix("\r\n")?;
    if line.contains('\r') {
        return None;
    }
    let mut words = line.split(' ');
    let family = words.next()?;
    if family == "UNKNOWN" {
        // The rest of the line must be ignored.
        return Some(ProxiedClient::Unnamed);
    }
    let address = |word: &str| match family {
        "TCP4" => word.parse().ok().map(IpAddr::V4),
        "TCP6" => word.parse().ok().map(IpAddr::V6),
        _ => None,
    };
    let port = |word: &str| -> Option<u16> {
        word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse().ok())?
    };
    let (source, _destination) = (address(words.next()?)?, address(words.next()?)?);
    let (source_port, _destination_port) = (port(words.next()?)?, port(words.next()?)?);
    words.next().is_none().then_some(ProxiedClient::Named(SocketAddr::new(source, source_port)))
}

/// Parses a header of version 2: its bytes 13 and 14, and `rest` after its length. TLVs after the addresses
/// are ignored.
fn binary(version_and_command: u8, family: u8, rest: &[u8]) -> Option<ProxiedClient> {
    match version_and_command {
        // The family must be ignored then.
        0x20 => return Some(ProxiedClient::Own),
        0x21 => {}
        _ => return None,
    }
    // The high bits are the address family, the low bits the transport: none, a stream or datagrams.
    match (family >> 4, family & 0x0f) {
        (1, 1) => {
            let (addresses, _) = rest.split_first_chunk::<12>()?;
            let [a, b, c, d, _, _, _, _, port @ .., _, _] = *addresses;
            Some(ProxiedClient::Named((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes(port)).into()))
        }
        (2, 1) => {
            let (source, rest) = rest.split_first_chunk::<16>()?;
            let (_destination, rest) = rest.split_first_chunk::<16>()?;
            let ([high, low, _, _], _) = rest.split_first_chunk::<4>()?;
            let port = u16::from_be_bytes([*high, *low]);
            Some(ProxiedClient::Named((Ipv6Addr::from(*source), port).into()))
        }
        (0..=3, 0..=2) => Some(ProxiedClient::Unnamed),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
