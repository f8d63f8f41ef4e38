//! The client of registries: what tags stand for, pulling and pushing.
//!
//! What comes from a registry is read here, by [`session`], since oci-client reads manifests, tokens and
//! error messages of any size. oci-client does the upload, with what it knows of registries that do not keep
//! to the specification.

mod addresses;
mod session;

use std::{
    sync::{Arc, Once},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use oci_client::{
    client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    secrets::RegistryAuth,
};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use wasm_fn_core::Digest;

use crate::{
    artifact::{Annotations, Artifact},
    credentials::Credentials,
    error::{RegistryError, innermost, shown},
    layout::{self, Manifest, Parts},
    reference::Reference,
    signature::{self, PublicKey, SignatureError},
};
use addresses::{Addresses, JudgingResolver};
use session::{Access, Authorization, Channel, Session};

pub use addresses::AddressJudge;

/// Largest manifest, bytes. Registries need not take more (OCI Distribution Specification, "Pushing
/// manifests").
const MANIFEST_BYTES_MAX: usize = 4 << 20;

/// How long a connection may take.
const CONNECT_WAIT: Duration = Duration::from_secs(10);

/// How long a registry may say nothing in the middle of an answer.
const READ_WAIT: Duration = Duration::from_secs(30);

/// Redirections at most. Registries send those who pull on to their storage.
const REDIRECTS_MAX: usize = 5;

/// How registries are spoken to.
#[derive(Clone, Debug)]
pub struct RegistryOptions {
    /// Use HTTP without TLS. On a registry of this machine, it is used in any case.
    pub plain_http: bool,
    /// How long one operation may take in all.
    pub timeout: Duration,
    /// Certificates of authorities in PEM that are trusted beside those of this machine.
    pub authorities: Option<Bytes>,
    /// Judges each address that is read from; none if any may be. Pushing asks nobody.
    pub judge: Option<Arc<dyn AddressJudge>>,
}

/// A client of registries. Cheap to clone; keeps connections open.
#[derive(Clone, Debug)]
pub struct RegistryClient {
    encrypted: Channel,
    plain: Channel,
    options: RegistryOptions,
}

impl RegistryClient {
    /// Makes a client that trusts the certificates that this machine trusts, and those of the options.
    ///
    /// # Errors
    /// [`RegistryError::Setup`] if this machine has none, if those of the options cannot be used, or if
    /// `HTTPS_PROXY` is no address.
    pub fn new(options: RegistryOptions) -> Result<Self, RegistryError> {
        install_provider();
        let setup = |error: reqwest::Error| RegistryError::Setup(innermost(&error));
        let authorities = match &options.authorities {
            Some(pem) => reqwest::Certificate::from_pem_bundle(pem).map_err(setup)?,
            None => Vec::new(),
        };
        if options.authorities.is_some() && authorities.is_empty() {
            let none = "found no certificate, expected PEM with -----BEGIN CERTIFICATE-----";
            return Err(RegistryError::Setup(none.to_owned()));
        }
        let addresses = options.judge.clone().map(|judge| Arc::new(Addresses::new(judge, options.timeout)));
        let channel = |is_plain: bool| {
            let judged = addresses.clone();
            let redirect = reqwest::redirect::Policy::custom(move |attempt| {
                if attempt.previous().len() > REDIRECTS_MAX {
                    attempt.error("too many redirections")
                } else if !is_plain && attempt.url().scheme() != "https" {
                    attempt.error("a redirection to an address that is not https")
                } else if let Some(Err(error)) = judged.as_ref().map(|judged| judged.admit(attempt.url())) {
                    attempt.error(error)
                } else {
                    attempt.follow()
                }
            });
            let mut builder = reqwest::Client::builder()
                .https_only(!is_plain)
                .redirect(redirect)
                .connect_timeout(CONNECT_WAIT)
                .read_timeout(READ_WAIT)
                .tls_certs_merge(authorities.clone())
                .user_agent(concat!("wasm-fn/", env!("CARGO_PKG_VERSION")));
            if let Some(addresses) = &addresses {
                builder = builder.dns_resolver(JudgingResolver(Arc::clone(addresses)));
            }
            Ok(Channel { client: builder.build().map_err(setup)?, addresses: addresses.clone(), is_plain })
        };
        Ok(Self { encrypted: channel(false)?, plain: channel(true)?, options })
    }

    /// The digest of the manifest that `reference` stands for now. Costs a HEAD request, so it suits to watch
    /// a tag.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] if there is no such tag any more, and others.
    pub async fn resolve(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Digest, RegistryError> {
        self.within(reference, async {
            let session = self.session(reference, credentials, Access::Pull).await?;
            let answer = session.manifest(Method::HEAD, reference).await?;
            match session::digest_header(&answer) {
                Some(found) => expected("manifest", reference, found, reference.digest()),
                // The specification does not demand the header of an answer to HEAD.
                None => Ok(self.read_manifest(&session, reference).await?.1),
            }
        })
        .await
    }

    /// Finds the module that `reference` stands for, without pulling it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`], [`RegistryError::NotWasm`] and others.
    pub async fn find(
        &self,
        reference: &Reference,
        credentials: &Credentials,
    ) -> Result<Artifact, RegistryError> {
        self.within(reference, async {
            let session = self.session(reference, credentials, Access::Pull).await?;
            let (manifest, digest, content_type) = self.read_manifest(&session, reference).await?;
            let not_wasm = |found| RegistryError::NotWasm { reference: reference.clone(), found };
            let manifest: Manifest = serde_json::from_slice(&manifest)
                .map_err(|error| session.malformed(format!("manifest of {reference}: {error}")))?;
            let module = manifest.module(content_type.as_deref()).map_err(not_wasm)?;
            Ok(Artifact {
                reference: reference.with_digest(digest),
                manifest: digest,
                module: module.digest,
                bytes: module.bytes,
                annotations: module.annotations,
            })
        })
        .await
    }

    /// Pulls the module of `artifact` into `out`. What is written there counts only if this succeeds.
    ///
    /// # Errors
    /// [`RegistryError::TooLarge`] before anything is read, if it has more than `bytes_max` bytes;
    /// [`RegistryError::DigestMismatch`] if what came is something else, and others.
    pub async fn pull(
        &self,
        artifact: &Artifact,
        credentials: &Credentials,
        bytes_max: u64,
        out: &mut (impl AsyncWrite + Unpin),
    ) -> Result<(), RegistryError> {
        let reference = &artifact.reference;
        if artifact.bytes > bytes_max {
            let (reference, found) = (reference.clone(), artifact.bytes);
            return Err(RegistryError::TooLarge { reference, found, max: bytes_max });
        }
        self.within(reference, async {
            let session = self.session(reference, credentials, Access::Pull).await?;
            let mut answer = session.blob(artifact.module).await?;
            if answer.status() == StatusCode::NOT_FOUND {
                let cause = session::refusal(&mut answer).await;
                return Err(RegistryError::ModuleGone(reference.clone(), cause));
            }
            session.check(&mut answer).await?;
            let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
            while let Some(piece) = answer.chunk().await.map_err(|error| session.unreachable(&error))? {
                bytes += piece.len() as u64;
                if bytes > artifact.bytes {
                    let max = artifact.bytes;
                    return Err(
                        session.malformed(format!("the module of {reference} goes on after its {max} bytes"))
                    );
                }
                hash.update(&piece);
                out.write_all(&piece).await.map_err(RegistryError::Write)?;
            }
            out.flush().await.map_err(RegistryError::Write)?;
            expected("module", reference, Digest(hash.finalize().into()), Some(artifact.module))?;
            if bytes != artifact.bytes {
                let claimed = artifact.bytes;
                return Err(session.malformed(format!(
                    "the module of {reference} has {bytes} bytes, and {claimed} by its manifest"
                )));
            }
            Ok(())
        })
        .await
    }

    /// Pushes `module`, made at `created`, to the tag of `reference`; without a tag, under its digest only.
    ///
    /// # Errors
    /// [`RegistryError::NotAModule`], [`RegistryError::Unauthorized`] and others. The tag is set last: it
    /// does not change if this fails.
    pub async fn push(
        &self,
        reference: &Reference,
        credentials: &Credentials,
        module: Bytes,
        annotations: &Annotations,
        created: SystemTime,
    ) -> Result<Artifact, RegistryError> {
        let parts = Parts::of(&module, annotations, created)?;
        self.within(reference, async {
            let session = self.session(reference, credentials, Access::Push).await?;
            let client = self.uploader(reference)?;
            let auth = match session.authorization() {
                Authorization::Basic { username, password } => {
                    RegistryAuth::Basic(username.clone(), password.to_string())
                }
                Authorization::Bearer(token) => RegistryAuth::Bearer(token.to_string()),
                Authorization::None => RegistryAuth::Anonymous,
            };
            client.store_auth_if_needed(reference.host(), &auth).await;
            let bytes = module.len() as u64;
            let name = reference.name();
            let refused = |error| session.upload_refused(error);
            for (digest, blob) in [(parts.module, module), (parts.config_digest, Bytes::from(parts.config))] {
                let digest = format!("sha256:{digest}");
                client.push_blob(name, blob, &digest).await.map_err(refused)?;
            }
            let content_type = HeaderValue::from_static(layout::MANIFEST);
            client.push_manifest_raw(name, parts.manifest, content_type).await.map_err(refused)?;
            Ok(Artifact {
                reference: reference.with_digest(parts.manifest_digest),
                manifest: parts.manifest_digest,
                module: parts.module,
                bytes,
                annotations: parts.annotations,
            })
        })
        .await
    }

    /// Checks that the holder of `key` signed `artifact`, as `cosign sign --key` does.
    ///
    /// # Errors
    /// [`RegistryError::Signature`], and those of reading.
    pub async fn verify(
        &self,
        artifact: &Artifact,
        credentials: &Credentials,
        key: &PublicKey,
    ) -> Result<(), RegistryError> {
        let reference = &artifact.reference;
        let unverified = |cause| RegistryError::Signature { reference: reference.clone(), cause };
        self.within(reference, async {
            let signatures = reference.with_tag(signature::tag(artifact.manifest));
            let session = self.session(reference, credentials, Access::Pull).await?;
            let manifest = match self.read_manifest(&session, &signatures).await {
                Ok((manifest, ..)) => manifest,
                Err(RegistryError::NotFound(..)) => return Err(unverified(SignatureError::None)),
                Err(error) => return Err(error),
            };
            let manifest: Manifest = serde_json::from_slice(&manifest)
                .map_err(|error| session.malformed(format!("manifest of {signatures}: {error}")))?;
            let mut cause = SignatureError::None;
            for layer in signature::candidates(&manifest.layers) {
                let payload = layout::digest(&layer.digest)
                    .ok_or_else(|| session.malformed(format!("digest {}", shown(&layer.digest))))?;
                let mut answer = session.blob(payload).await?;
                session.check(&mut answer).await?;
                let bytes = session.read(&mut answer, signature::PAYLOAD_BYTES_MAX).await?;
                expected("signature", &signatures, layout::sha256(&bytes), Some(payload))?;
                match key.check(&bytes, layer, artifact.manifest) {
                    Ok(()) => return Ok(()),
                    Err(error) => cause = error,
                }
            }
            Err(unverified(cause))
        })
        .await
    }

    /// Reads a manifest. Gives its bytes, their digest, and the type that the registry says.
    async fn read_manifest(
        &self,
        session: &Session<'_>,
        reference: &Reference,
    ) -> Result<(Bytes, Digest, Option<String>), RegistryError> {
        let mut answer = session.manifest(Method::GET, reference).await?;
        let claimed = session::digest_header(&answer);
        let content_type = answer.headers().get(http::header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let manifest = session.read(&mut answer, MANIFEST_BYTES_MAX).await?;
        let found = layout::sha256(&manifest);
        expected("manifest", reference, found, reference.digest().or(claimed))?;
        Ok((manifest, found, content_type))
    }

    async fn session<'a>(
        &'a self,
        reference: &'a Reference,
        credentials: &'a Credentials,
        access: Access,
    ) -> Result<Session<'a>, RegistryError> {
        let channel = if self.is_plain(reference) { &self.plain } else { &self.encrypted };
        Session::open(channel, reference, credentials, access).await
    }

    fn is_plain(&self, reference: &Reference) -> bool {
        self.options.plain_http || reference.is_loopback()
    }

    /// oci-client, for an upload.
    fn uploader(&self, reference: &Reference) -> Result<oci_client::Client, RegistryError> {
        let protocol = if self.is_plain(reference) { ClientProtocol::Http } else { ClientProtocol::Https };
        // One of oci-client's certificates may be several in PEM.
        let authorities = self
            .options
            .authorities
            .iter()
            .map(|pem| Certificate { encoding: CertificateEncoding::Pem, data: pem.to_vec() });
        let config = ClientConfig {
            protocol,
            connect_timeout: Some(CONNECT_WAIT),
            read_timeout: Some(READ_WAIT),
            user_agent: concat!("wasm-fn/", env!("CARGO_PKG_VERSION")),
            extra_root_certificates: authorities.collect(),
            ..ClientConfig::default()
        };
        config.try_into().map_err(|error: OciDistributionError| RegistryError::Setup(innermost(&error)))
    }

    /// Bounds an operation on the registry of `reference`.
    async fn within<T>(
        &self,
        reference: &Reference,
        operation: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let within = self.options.timeout;
        // On the heap: a caller's own future need not carry the whole exchange.
        match tokio::time::timeout(within, Box::pin(operation)).await {
            Ok(result) => result,
            Err(_) => Err(RegistryError::TimedOut { registry: reference.host().to_owned(), within }),
        }
    }
}

/// Checks a digest. `what` is for the message.
fn expected(
    what: &'static str,
    reference: &Reference,
    found: Digest,
    expected: Option<Digest>,
) -> Result<Digest, RegistryError> {
    match expected {
        Some(expected) if expected != found => Err(RegistryError::DigestMismatch {
            what,
            reference: Box::new(reference.clone()),
            found,
            expected,
        }),
        _ => Ok(found),
    }
}

/// Makes ring the provider of this process's TLS. reqwest and oci-client have none of their own, and would
/// panic. If the process has one already, that one stays.
fn install_provider() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests;
