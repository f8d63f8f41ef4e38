//! Gets artifacts, and stores their components.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::stream;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use wasm_fn_control::state::Provenance;
use wasm_fn_core::Digest;
use wasm_fn_oci::Annotations;
use wasm_fn_runtime::{Listeners, TrustedRoots};
use wasm_fn_secrets::SecretValue;
use wasm_fn_store::{Blobs, PutError};

use super::{https, registry, source::ArtifactSource};

pub(super) use registry::Found;

/// Time for all of one artifact.
pub(super) const FETCH_WAIT: Duration = Duration::from_secs(300);

/// Time to find the addresses of a host.
const LOOKUP_WAIT: Duration = Duration::from_secs(10);

/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 8;

/// Bytes that are read from a file at a time.
const CHUNK_BYTES: usize = 64 << 10;

/// Longest annotation that is shown, bytes.
const ANNOTATION_BYTES_MAX: usize = 1024;

/// From where a node fetches, and how.
#[derive(Clone, Debug)]
pub(crate) struct FetcherOptions {
    /// Where artifacts may come from; none for anywhere.
    pub(crate) sources: Vec<ArtifactSource>,
    /// The node's own sockets, which nothing is fetched from.
    pub(crate) listeners: Listeners,
    /// Whom https URLs trust. Registries are trusted by what this machine trusts, and by what was added.
    pub(crate) roots: TrustedRoots,
}

/// Gets artifacts.
pub(super) struct Fetcher {
    options: FetcherOptions,
    registries: registry::Registries,
}

/// Why an artifact cannot be had. The texts are for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FetchError {
    /// It may be there later.
    NotYet(String),
    /// It can never be had.
    Refused(String),
    /// The node is to blame.
    OfNode(String),
}

/// An artifact whose component is stored.
pub(super) struct Fetched {
    /// The digest of its component.
    pub(super) digest: Digest,
    /// Where it is, with its digest.
    pub(super) place: String,
    /// What it says of itself.
    pub(super) annotations: Annotations,
    /// Keeps the component until the deployment does.
    pub(super) _pin: wasm_fn_store::Pin,
}

impl Fetched {
    /// Adds what is known of the artifact by now. What the event says counts more.
    pub(super) fn describe(&self, provenance: &mut Provenance) {
        provenance.artifact.clone_from(&self.place);
        let said = |name: &str| {
            let text = self.annotations.get(&format!("org.opencontainers.image.{name}"))?;
            let fits =
                (1..=ANNOTATION_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
            fits.then(|| text.clone())
        };
        provenance.commit = provenance.commit.take().or_else(|| said("revision"));
        provenance.author = provenance.author.take().or_else(|| said("authors"));
        provenance.url = provenance.url.take().or_else(|| said("url")).or_else(|| said("source"));
    }
}

impl Fetcher {
    pub(super) fn new(options: FetcherOptions) -> Self {
        let (listeners, authorities) = (options.listeners.clone(), options.roots.added().cloned());
        Self { options, registries: registry::Registries::new(listeners, authorities) }
    }

    /// The digest of the manifest of the artifact in a registry.
    pub(super) async fn resolve(
        &self,
        reference: &str,
        credentials: Option<&SecretValue>,
    ) -> Result<Digest, FetchError> {
        let reference = self.reference(reference)?;
        self.registries.resolve(&reference, credentials).await
    }

    /// Finds an artifact in a registry.
    pub(super) async fn find(
        &self,
        reference: &str,
        credentials: Option<&SecretValue>,
    ) -> Result<Found, FetchError> {
        let reference = self.reference(reference)?;
        self.registries.find(&reference, credentials).await
    }

    /// Stores the component of an artifact that was found.
    pub(super) async fn pull(
        &self,
        found: Found,
        credentials: Option<&SecretValue>,
        blobs: &Arc<Blobs>,
    ) -> Result<Fetched, FetchError> {
        let digest = found.digest();
        let pin = blobs.pin(digest);
        if blobs.find(digest).await.map_err(FetchError::of_node)?.is_none() {
            let scratch = blobs.scratch().map_err(FetchError::of_node)?;
            let path = scratch.path().join("component");
            let mut file = tokio::fs::File::create(&path).await.map_err(FetchError::of_node)?;
            self.registries.pull(&found, credentials, blobs.bytes_max(), &mut file).await?;
            store(blobs, digest, &path).await?;
        }
        let (place, annotations) = found.describe();
        Ok(Fetched { digest, place, annotations, _pin: pin })
    }

    /// Stores the component at an https URL.
    pub(super) async fn download(
        &self,
        url: &str,
        credentials: Option<&SecretValue>,
        blobs: &Arc<Blobs>,
    ) -> Result<Fetched, FetchError> {
        self.check_source(url)?;
        let scratch = blobs.scratch().map_err(FetchError::of_node)?;
        let path = scratch.path().join("component");
        let network = https::Network { listeners: &self.options.listeners, roots: &self.options.roots };
        let download = https::download(url, credentials, network, blobs.bytes_max(), &path);
        let slow = |_| FetchError::NotYet(format!("{url} was not here within {} s", FETCH_WAIT.as_secs()));
        tokio::time::timeout(FETCH_WAIT, download).await.map_err(slow)??;
        let digest = digest_of(&path).await?;
        let pin = blobs.pin(digest);
        store(blobs, digest, &path).await?;
        let place = format!("{url}#sha256={digest}");
        Ok(Fetched { digest, place, annotations: Annotations::new(), _pin: pin })
    }

    /// Reads a reference, and checks that it is one of the node's sources. Where its registry is, is judged
    /// when it is connected to.
    fn reference(&self, text: &str) -> Result<wasm_fn_oci::Reference, FetchError> {
        self.check_source(text)?;
        text.parse().map_err(|error: wasm_fn_oci::ReferenceError| FetchError::Refused(error.to_string()))
    }

    fn check_source(&self, url: &str) -> Result<(), FetchError> {
        let sources = &self.options.sources;
        if sources.is_empty() || sources.iter().any(|source| source.has(url)) {
            return Ok(());
        }
        let expected: Vec<_> = sources.iter().map(ToString::to_string).collect();
        let expected = expected.join(", ");
        Err(FetchError::Refused(format!(
            "{url} is not of the node's artifact_sources, expected one of {expected}"
        )))
    }
}

impl FetchError {
    /// What is wrong with the node's disk.
    pub(super) fn of_node(error: impl fmt::Display) -> Self {
        Self::OfNode(format!("the artifact cannot be stored: {error}"))
    }
}

/// `host:port`, or `host` with the usual port.
pub(super) fn host_and_port(authority: &str, usual: u16) -> Option<(String, u16)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => Some((host.to_owned(), port.parse().ok()?)),
        _ => Some((authority.to_owned(), usual)),
    }
}

/// The addresses of `host`, at most [`ADDRESSES_MAX`].
pub(super) async fn lookup(host: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    let not_yet = |why: &dyn fmt::Display| FetchError::NotYet(format!("{host} has no address: {why}"));
    let found = tokio::time::timeout(LOOKUP_WAIT, tokio::net::lookup_host((name, port))).await;
    let found = found.map_err(|error| not_yet(&error))?.map_err(|error| not_yet(&error))?;
    let found: Vec<_> = found.take(ADDRESSES_MAX).collect();
    if found.is_empty() { Err(not_yet(&"there is none")) } else { Ok(found) }
}

/// The digest of the file at `path`.
async fn digest_of(path: &std::path::Path) -> Result<Digest, FetchError> {
    let mut file = tokio::fs::File::open(path).await.map_err(FetchError::of_node)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; CHUNK_BYTES]);
    loop {
        match file.read(&mut buffer).await.map_err(FetchError::of_node)? {
            0 => return Ok(Digest(hash.finalize().into())),
            bytes => hash.update(&buffer[..bytes]),
        }
    }
}

/// Stores the file at `path` as `digest`.
async fn store(blobs: &Blobs, digest: Digest, path: &std::path::Path) -> Result<(), FetchError> {
    let file = tokio::fs::File::open(path).await.map_err(FetchError::of_node)?;
    match blobs.put(digest, chunks(file)).await {
        Ok(_) => Ok(()),
        Err(error @ (PutError::TooLarge { .. } | PutError::Digest { .. })) => {
            Err(FetchError::Refused(error.to_string()))
        }
        Err(error) => Err(FetchError::of_node(error)),
    }
}

fn chunks(
    reader: impl AsyncRead + Unpin,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::io::Error>> {
    stream::unfold(reader, |mut reader| async {
        let mut buffer = vec![0; CHUNK_BYTES];
        match reader.read(&mut buffer).await {
            Ok(0) => None,
            Ok(bytes) => {
                buffer.truncate(bytes);
                Some((Ok(buffer.into()), reader))
            }
            Err(error) => Some((Err(error), reader)),
        }
    })
}
