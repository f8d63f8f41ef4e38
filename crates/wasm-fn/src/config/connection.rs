//! The node's address and the token for it.

use std::io;

use http::{HeaderValue, Uri, uri::Authority};

use crate::{args, fault::Fault};

/// Name of the token file in a data directory.
const TOKEN_FILE: &str = "token";

/// A node, as clients reach it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Host and port of the admin API.
    pub(crate) authority: Authority,
    /// The token for it.
    pub(crate) token: Token,
}

/// A bearer token. It is never printed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Connection {
    /// Resolves `args`. Reads the token file if no token is given. Blocks.
    ///
    /// # Errors
    /// The address is invalid, or no valid token is found.
    pub(crate) fn resolve(args: &args::Connection) -> Result<Self, Fault> {
        let authority = authority(&args.server)
            .map_err(|cause| Fault::new("invalid-server", "the node's address is invalid", cause))?;
        let token = match &args.token {
            Some(token) => Token::new(token),
            None => {
                let path = args.data_dir.join(TOKEN_FILE);
                let text = std::fs::read_to_string(&path).map_err(|error| no_token(&path, &error))?;
                Token::new(&text)
            }
        };
        let token = token.map_err(|cause| Fault::new("invalid-token", "the token is invalid", cause))?;
        Ok(Self { authority, token })
    }
}

fn no_token(path: &std::path::Path, error: &io::Error) -> Fault {
    let cause =
        format!("neither --token nor WASM_FN_TOKEN is set, and {} cannot be read: {error}", path.display());
    Fault::new("no-token", "no token for the node was found", cause).help(
        "run this next to the node's data directory, or pass --data-dir; `wasm-fn serve` writes the token",
    )
}

/// Reads `http://host:port` or `host:port`.
fn authority(server: &str) -> Result<Authority, String> {
    let expected = "expected http://HOST:PORT";
    if server.starts_with("https://") {
        return Err(format!(
            "found {server:?}, {expected}: the admin API is plain HTTP, use a tunnel to reach it"
        ));
    }
    let uri = server.strip_prefix("http://").unwrap_or(server).trim_end_matches('/');
    let uri: Uri = format!("http://{uri}/").parse().map_err(|_| format!("found {server:?}, {expected}"))?;
    // A host with or without a port number, and without a user.
    let plain = |authority: &&Authority| {
        authority.as_str() == authority.host()
            || (authority.port_u16().is_some() && !authority.as_str().contains('@'))
    };
    match (uri.path(), uri.query(), uri.authority().filter(plain)) {
        ("/", None, Some(authority)) => Ok(authority.clone()),
        _ => Err(format!("found {server:?}, {expected} and nothing else")),
    }
}

impl Token {
    fn new(text: &str) -> Result<Self, &'static str> {
        let token = text.trim();
        if token.is_empty() {
            return Err("it is empty, expected the contents of a node's token file");
        }
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("it has characters that no token has, expected the contents of a node's token file");
        }
        Ok(Self(token.to_owned()))
    }

    /// The value of the `authorization` header.
    pub(crate) fn bearer(&self) -> HeaderValue {
        Self::value(format!("Bearer {}", self.0))
    }

    /// The value of the data plane's `wasm-fn-token` header.
    pub(crate) fn bare(&self) -> HeaderValue {
        Self::value(self.0.clone())
    }

    fn value(text: String) -> HeaderValue {
        let mut value = HeaderValue::try_from(text).expect("a token is visible ASCII");
        value.set_sensitive(true);
        value
    }
}

impl std::fmt::Debug for Token {
    /// Hides the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests;
