//! A user's login while a command runs: it is renewed before its token expires.

use tokio::sync::Mutex;
use wasm_fn_oidc::{GrantError, IssuerClient, IssuerUrlError, LoginClient, TokenSet};

use crate::{
    config::{CredentialsError, CredentialsFile, Login, NodeAddress, StoredLogin, Token},
    fault::Fault,
    output::time,
};

/// How long before its end a token is renewed, milliseconds: a request and the clocks take some of it.
const RENEW_MS: u64 = 60_000;

/// How long a token is used on after it could not be renewed, before that is tried again, milliseconds.
const RETRY_MS: u64 = 10_000;

/// Why a login gives no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// It has expired, and cannot be renewed.
    #[error("your login to {node} expired at {}, and its issuer lets nobody renew it", time::second(*.expired_ms))]
    Expired { node: NodeAddress, expired_ms: u64 },
    /// Its issuer does not renew it.
    #[error("your login to {node} expired at {}, and was not renewed: {source}", time::second(*.expired_ms))]
    NotRenewed { node: NodeAddress, expired_ms: u64, source: GrantError },
    /// Somebody logged out.
    #[error("you are no longer logged in to {node}")]
    Ended { node: NodeAddress },
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] CredentialsError),
    /// The file names no issuer.
    #[error("the credentials for {node} are invalid: {source}")]
    Issuer { node: NodeAddress, source: IssuerUrlError },
    /// The file has no token.
    #[error("the token of your login to {node} is invalid: {reason}")]
    Token { node: NodeAddress, reason: &'static str },
}

impl SessionError {
    /// Whether the same may succeed later.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::NotRenewed { source, .. } if source.is_passing())
    }

    /// Turns this into a command's fault; `error` says what did not happen.
    pub(crate) fn fault(self, error: impl Into<String>) -> Fault {
        match self {
            Self::File(source) => source.fault(error),
            passing if passing.is_passing() => {
                Fault::new("issuer-unavailable", error, passing).help("try again in a moment")
            }
            ended => Fault::new("login-expired", error, ended).help("run `wasm-fn login`"),
        }
    }
}

/// A login that is in use.
pub(super) struct Session {
    node: NodeAddress,
    file: CredentialsFile,
    issuer: IssuerClient,
    current: Mutex<Current>,
}

struct Current {
    login: StoredLogin,
    /// When it could not be renewed, Unix milliseconds.
    failed_ms: Option<u64>,
}

/// What to do about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Use it.
    Nothing,
    /// Renew it; if that fails, use it.
    Renew,
    /// Renew it, or there is none.
    Replace,
    /// It has expired, and cannot be renewed.
    Over,
}

/// What to do at `now_ms` about the token of `login`, if it could not be renewed at `failed_ms`.
fn need(login: &StoredLogin, failed_ms: Option<u64>, now_ms: u64) -> Need {
    let expired = login.expires_ms <= now_ms;
    let failed_lately = failed_ms.is_some_and(|failed_ms| now_ms.saturating_sub(failed_ms) < RETRY_MS);
    match (expired, login.refresh_token.is_some()) {
        (true, false) => Need::Over,
        (true, true) => Need::Replace,
        (false, true) if !failed_lately && login.expires_ms - now_ms < RENEW_MS => Need::Renew,
        (false, _) => Need::Nothing,
    }
}

impl Session {
    pub(super) fn new(login: Login, node: NodeAddress) -> Self {
        let Login { stored, file, issuer_tls } = login;
        let current = Mutex::new(Current { login: stored, failed_ms: None });
        Self { node, file, issuer: IssuerClient::new(issuer_tls), current }
    }

    /// The token, renewed if it is about to expire.
    pub(super) async fn token(&self) -> Result<Token, Box<SessionError>> {
        let mut current = self.current.lock().await;
        let now_ms = time::now_ms();
        let expired_ms = current.login.expires_ms;
        match need(&current.login, current.failed_ms, now_ms) {
            Need::Nothing => {}
            Need::Over => {
                return Err(Box::new(SessionError::Expired { node: self.node.clone(), expired_ms }));
            }
            needed => match self.renew(now_ms).await {
                Ok(login) => *current = Current { login, failed_ms: None },
                Err(SessionError::NotRenewed { .. }) if needed == Need::Renew => {
                    current.failed_ms = Some(now_ms);
                }
                Err(error) => return Err(Box::new(error)),
            },
        }
        let invalid = |reason| Box::new(SessionError::Token { node: self.node.clone(), reason });
        Token::new(&current.login.token).map_err(invalid)
    }

    /// Renews the login, unless another command did meanwhile.
    async fn renew(&self, now_ms: u64) -> Result<StoredLogin, SessionError> {
        let file = self.file.clone();
        // Another command holds the lock while it waits for the issuer.
        let lock = tokio::task::spawn_blocking(move || file.lock()).await.expect("locking does not panic")?;
        let node = || self.node.clone();
        let login = self.file.find(&self.node)?.ok_or_else(|| SessionError::Ended { node: node() })?;
        let Some(refresh_token) = &login.refresh_token else {
            return Err(SessionError::Expired { node: node(), expired_ms: login.expires_ms });
        };
        if need(&login, None, now_ms) == Need::Nothing {
            return Ok(login);
        }
        let issuer = login.issuer.parse().map_err(|source| SessionError::Issuer { node: node(), source })?;
        let renewed = async {
            let client = LoginClient::discover(self.issuer.clone(), issuer, login.client_id.clone()).await?;
            let tokens = client.refresh(refresh_token).await?;
            let bearer = tokens.bearer(client.issuer(), &login.audience)?;
            Ok((tokens, bearer))
        };
        let expired_ms = login.expires_ms;
        let not_renewed = |source| SessionError::NotRenewed { node: node(), expired_ms, source };
        let (TokenSet { refresh_token: next, .. }, bearer) = renewed.await.map_err(not_renewed)?;
        let renewed = StoredLogin {
            token: bearer.token,
            expires_ms: bearer.expires_ms,
            // An issuer that sends none lets the old one be used again (RFC 6749, section 6).
            refresh_token: next.or_else(|| login.refresh_token.clone()),
            ..login
        };
        self.file.replace(&lock, &self.node, Some(renewed.clone()))?;
        Ok(renewed)
    }
}

#[cfg(test)]
mod tests;
