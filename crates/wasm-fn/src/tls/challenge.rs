//! Answers challenges of ACME in handshakes (RFC 8737): a client that speaks only `acme-tls/1` gets the
//! certificate of the challenge for the name that it asks for, or none.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{provider, sni::BySni};

/// The protocol of challenges.
pub(crate) const PROTOCOL: &str = "acme-tls/1";

/// The challenges that a listener answers now, by name in lower case.
#[derive(Clone, Debug, Default)]
pub(crate) struct Challenges(Arc<Mutex<HashMap<String, Arc<CertifiedKey>>>>);

/// A challenge that is answered for as long as this is there.
#[derive(Debug)]
pub(crate) struct AnsweredChallenge {
    name: String,
    challenges: Challenges,
}

/// Chooses between challenges and everybody else.
#[derive(Debug)]
pub(super) struct WithChallenges {
    pub(super) challenges: Challenges,
    pub(super) others: BySni,
}

impl Challenges {
    fn by_name(&self) -> MutexGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers the challenge for `name` whose key authorization has this SHA-256.
    ///
    /// # Errors
    /// The name is none.
    pub(crate) fn answer(&self, name: &str, sha256: [u8; 32]) -> Result<AnsweredChallenge, rcgen::Error> {
        let mut parameters = CertificateParams::new(vec![name.to_owned()])?;
        parameters.custom_extensions.push(CustomExtension::new_acme_identifier(&sha256));
        let key = KeyPair::generate()?;
        let certificate = parameters.self_signed(&key)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key =
            provider().key_provider.load_private_key(key).map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
        let name = name.to_ascii_lowercase();
        self.by_name()
            .insert(name.clone(), Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)));
        Ok(AnsweredChallenge { name, challenges: self.clone() })
    }

    fn find(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.by_name().get(&name.to_ascii_lowercase()).cloned()
    }
}

impl Drop for AnsweredChallenge {
    fn drop(&mut self) {
        self.challenges.by_name().remove(&self.name);
    }
}

impl ResolvesServerCert for WithChallenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_challenge = hello.alpn().is_some_and(|mut protocols| {
            protocols.next() == Some(PROTOCOL.as_bytes()) && protocols.next().is_none()
        });
        if is_challenge {
            return self.challenges.find(hello.server_name()?);
        }
        self.others.resolve(hello)
    }
}

#[cfg(test)]
mod tests;
