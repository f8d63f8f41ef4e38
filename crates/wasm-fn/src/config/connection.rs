//! The node's address, how to connect to it securely, and the token for it.

mod credentials;

use std::{fmt, io};

use http::{HeaderValue, Uri, uri::Authority};
use rustls::ClientConfig;
use wasm_fn_core::Scheme;

use crate::{
    args,
    fault::Fault,
    tls::{self, ClientFiles, KeyPairFiles},
};

pub(crate) use credentials::{CredentialsError, CredentialsFile, StoredLogin};

/// Name of the token file in a data directory.
const TOKEN_FILE: &str = "token";

/// A node, as clients reach it.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    /// Where the admin API is.
    pub(crate) address: NodeAddress,
    /// How to connect to a node with https.
    pub(crate) tls: ClientConfig,
    /// The token for it; `None` for a client that shows only its certificate, or has none yet.
    pub(crate) token: Option<Token>,
    /// The user's login to it, where no token is given.
    pub(crate) login: Option<Login>,
    /// The revision that it has to have published before it answers.
    pub(crate) at_least_revision: Option<u64>,
}

/// A login to a node, as it was stored.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) stored: StoredLogin,
    /// Where it is kept.
    pub(crate) file: CredentialsFile,
    /// How to connect to its issuer.
    pub(crate) issuer_tls: ClientConfig,
}

/// Where the admin API of a node is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    pub(crate) scheme: Scheme,
    /// Host and port.
    pub(crate) authority: Authority,
}

impl fmt::Display for NodeAddress {
    /// `http://127.0.0.1:8081`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority)
    }
}

/// A bearer token. It is never printed.
#[derive(Clone)]
pub(crate) struct Token(String);

impl Connection {
    /// Resolves `args`. If no token is given, reads the user's credentials, else the token file. Blocks.
    ///
    /// A login comes before the data directory: whoever logged in wants to act under their own name, also
    /// next to a node whose token may do everything.
    ///
    /// # Errors
    /// The address is invalid, no valid token is found, or a file cannot be used.
    pub(crate) fn resolve(args: &args::Connection) -> Result<Self, Fault> {
        let connection = Self::anonymous(args)?;
        if args.token.is_some() {
            return connection.with_token_of(args);
        }
        let Some(file) = CredentialsFile::of_user() else { return connection.with_token_of(args) };
        let stored = file.find(&connection.address).map_err(|error| error.fault("no token was found"))?;
        match stored {
            Some(stored) => {
                let login = Login { stored, file, issuer_tls: issuer_tls(args)? };
                Ok(Self { login: Some(login), ..connection })
            }
            None => connection.with_token_of(args),
        }
    }

    /// Resolves `args` for a client that belongs to a data directory. No login of the user counts. Blocks.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn of_data_dir(args: &args::Connection) -> Result<Self, Fault> {
        Self::anonymous(args)?.with_token_of(args)
    }

    /// Resolves `args` without a token. Reads the files for TLS. Blocks.
    ///
    /// # Errors
    /// The address is invalid, or a file cannot be used.
    pub(crate) fn anonymous(args: &args::Connection) -> Result<Self, Fault> {
        let address = address(&args.server)
            .map_err(|cause| Fault::new("invalid-server", "the node's address is invalid", cause))?;
        let certificate = args.cert.clone().zip(args.key.clone());
        let certificate = certificate.map(|(cert, key)| KeyPairFiles { cert, key });
        let tls = tls::client_config(&ClientFiles { ca: args.ca.clone(), certificate }, tls::system_time());
        let (tls, at_least_revision) = (tls.map_err(invalid_certificate)?, args.at_least_revision);
        Ok(Self { address, tls, token: None, login: None, at_least_revision })
    }

    /// The same with the token in `args`, or in the data directory.
    fn with_token_of(self, args: &args::Connection) -> Result<Self, Fault> {
        let text = match &args.token {
            Some(token) => Some(token.clone()),
            None => {
                let path = args.data_dir.join(TOKEN_FILE);
                match std::fs::read_to_string(&path) {
                    Ok(text) => Some(text),
                    Err(_) if args.cert.is_some() => None,
                    Err(error) => return Err(no_token(&path, &error)),
                }
            }
        };
        let token = text.map(|text| Token::new(&text)).transpose();
        let token = token.map_err(|cause| Fault::new("invalid-token", "the token is invalid", cause))?;
        Ok(Self { token, ..self })
    }

    /// The same with `token`.
    ///
    /// # Errors
    /// It is no token.
    pub(crate) fn with_token(self, token: &str) -> Result<Self, &'static str> {
        Ok(Self { token: Some(Token::new(token)?), ..self })
    }
}

/// How to connect to an issuer: its server may be vouched for by public authorities, and by those in `args`.
/// Blocks.
///
/// # Errors
/// The file with authorities cannot be used.
pub(crate) fn issuer_tls(args: &args::Connection) -> Result<ClientConfig, Fault> {
    tls::public_or(args.ca.as_deref(), None, tls::system_time()).map_err(invalid_certificate)
}

fn invalid_certificate(cause: impl fmt::Display) -> Fault {
    Fault::new("invalid-certificate", "a file with certificates cannot be used", cause.to_string())
}

fn no_token(path: &std::path::Path, error: &io::Error) -> Fault {
    let cause = format!(
        "neither --token nor WASM_FN_TOKEN is set, you are not logged in, and {} cannot be read: {error}",
        path.display()
    );
    Fault::new("no-token", "no token for the node was found", cause).help(
        "run `wasm-fn login`, or pass --data-dir; `wasm-fn serve` writes the token to its data directory",
    )
}

/// Reads `http://host:port`, `https://host:port` or `host:port`.
fn address(server: &str) -> Result<NodeAddress, String> {
    let expected = "expected http://HOST:PORT or https://HOST:PORT";
    let (scheme, rest) = match server.strip_prefix("https://") {
        Some(rest) => (Scheme::Https, rest),
        None => (Scheme::Http, server.strip_prefix("http://").unwrap_or(server)),
    };
    let uri = rest.trim_end_matches('/');
    let uri: Uri = format!("http://{uri}/").parse().map_err(|_| format!("found {server:?}, {expected}"))?;
    // A host with or without a port number, and without a user.
    let plain = |authority: &&Authority| {
        authority.as_str() == authority.host()
            || (authority.port_u16().is_some() && !authority.as_str().contains('@'))
    };
    match (uri.path(), uri.query(), uri.authority().filter(plain)) {
        ("/", None, Some(authority)) => Ok(NodeAddress { scheme, authority: authority.clone() }),
        _ => Err(format!("found {server:?}, {expected} and nothing else")),
    }
}

impl Token {
    pub(crate) fn new(text: &str) -> Result<Self, &'static str> {
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
