//! One order of a certificate (RFC 8555, section 7.4), from the account to the file.

use std::{pin::Pin, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, Error,
    HttpClient, Identifier, NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::{Acme, AcmeOptions};
use crate::{
    client::{self, innermost},
    tls,
};

/// How long the server may take to check a challenge, and to issue.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(120));

/// How long one answer of the server may take.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// Largest answer of the server, bytes.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What an ACME server says of an account that it does not have (RFC 8555, section 6.7).
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// Gets a certificate, and keeps it.
pub(super) async fn obtain(acme: &Acme) -> anyhow::Result<()> {
    let AcmeOptions { domains, .. } = &acme.options;
    let account = account(acme).await.context("no account")?;
    let identifiers: Vec<_> = domains.iter().cloned().map(Identifier::Dns).collect();
    let order = account.new_order(&NewOrder::new(&identifiers)).await;
    let mut order = match order {
        Ok(order) => order,
        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
            acme.storage.forget_account(&acme.options.directory)?;
            bail!("the server does not know the account: it is made anew");
        }
        Err(error) => return Err(error).context("no order"),
    };
    authorize(acme, &mut order).await?;
    let key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(domains.clone())?;
    parameters.distinguished_name = DistinguishedName::new();
    let request = parameters.serialize_request(&key)?;
    order.finalize_csr(request.der()).await.context("no certificate")?;
    let chain = order.poll_certificate(&PATIENCE).await.context("no certificate")?;
    let (storage, domains) = (acme.storage.clone(), domains.clone());
    let kept = tokio::task::spawn_blocking(move || {
        storage.put_certificate(&chain, &key.serialize_pem(), &domains, tls::system_time())
    });
    kept.await?
}

/// Shows the server that this node answers at all names of `order`.
async fn authorize(acme: &Acme, order: &mut Order) -> anyhow::Result<()> {
    // They are answered until the server has looked.
    let mut answered = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.context("no authorization")?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => bail!("an authorization is {status:?}, expected one that is pending"),
        }
        let mut challenge = authorization
            .challenge(ChallengeType::TlsAlpn01)
            .ok_or_else(|| anyhow!("the server offers no challenge of the type tls-alpn-01"))?;
        let name = challenge.identifier().to_string();
        let digest = challenge.key_authorization().digest();
        let sha256 = <[u8; 32]>::try_from(digest.as_ref()).context("a SHA-256 has 32 bytes")?;
        answered.push(acme.challenges.answer(&name, sha256)?);
        challenge.set_ready().await.with_context(|| format!("the challenge for {name}"))?;
    }
    let status = order.poll_ready(&PATIENCE).await;
    drop(answered);
    match status {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(status) => bail!("the order is {status:?}, expected Ready{}", reasons(order).await),
        Err(error) => bail!("the order did not become ready: {error}{}", reasons(order).await),
    }
}

/// What the server found at the names that it refuses.
async fn reasons(order: &mut Order) -> String {
    let mut reasons = String::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let name = state.identifier().to_string();
        for Problem { detail, .. } in state.challenges.iter().filter_map(|challenge| challenge.error.as_ref())
        {
            reasons += &format!("; {name}: {}", detail.as_deref().unwrap_or("no reason was given"));
        }
    }
    reasons
}

/// The account at the server, which is made if there is none.
async fn account(acme: &Acme) -> anyhow::Result<Account> {
    let AcmeOptions { contact, directory, .. } = &acme.options;
    let http = client::http((*acme.tls).clone());
    let builder = Account::builder_with_http(Box::new(ServerClient(http)));
    if let Some(kept) = acme.storage.read_account(directory)? {
        let credentials: AccountCredentials =
            serde_json::from_slice(&kept).context("the account in the data directory is malformed")?;
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<_> = contact.iter().map(String::as_str).collect();
    let account =
        NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials) = builder.create(&account, directory.clone(), None).await?;
    acme.storage.put_account(directory, &serde_json::to_string(&credentials)?)?;
    Ok(account)
}

/// Sends requests to the server. Answers are limited in size and time.
struct ServerClient(client::HttpClient);

impl HttpClient for ServerClient {
    fn request(
        &self,
        request: http::Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.0.clone();
        Box::pin(async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_or_else(|never| match never {}, |body| body.to_bytes());
            let exchange = async {
                let response = http.request(http::Request::from_parts(head, client::full(body))).await;
                let response = response.map_err(|error| Error::Other(innermost(&error).into()))?;
                let (parts, body) = response.into_parts();
                let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Error::Other)?;
                Ok(BytesResponse { parts, body: Box::new(body.to_bytes()) })
            };
            let late = Error::Other("the server did not answer within 30 s".into());
            tokio::time::timeout(ANSWER_WAIT, exchange).await.unwrap_or(Err(late))
        })
    }
}
