//! Chooses the certificate of a connection by the name that its client asks for (SNI; RFC 6066, section 3).

use std::{collections::HashMap, sync::Arc};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::key_pair::KeyPair;

/// Several certificates, of which each connection gets one.
#[derive(Debug)]
pub(super) struct BySni {
    /// At least one. Clients that ask for no known name get the first one.
    certified: Vec<Arc<CertifiedKey>>,
    /// Indices in `certified` by DNS name, as the certificates write it. There may be several, with keys of
    /// different kinds.
    names: HashMap<String, Vec<usize>>,
}

impl BySni {
    /// Chooses among `pairs`, of which there must be one.
    pub(super) fn new(pairs: Vec<KeyPair>) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        let mut certified = Vec::new();
        for (index, pair) in pairs.into_iter().enumerate() {
            for name in pair.certificate.dns_names {
                names.entry(name).or_default().push(index);
            }
            certified.push(Arc::new(pair.certified));
        }
        Self { certified, names }
    }

    /// The index of the certificate for `name`: one that has it, else one with a wildcard for it (RFC 9525,
    /// section 6.3), else the first one, each time only if it is `usable`.
    fn choose(&self, name: Option<&str>, usable: impl Fn(usize) -> bool) -> Option<usize> {
        let name = name.map(str::to_ascii_lowercase);
        let by_name = |name: &str| self.names.get(name)?.iter().copied().find(|&index| usable(index));
        let named = name
            .as_deref()
            .and_then(|name| by_name(name).or_else(|| by_name(&format!("*.{}", name.split_once('.')?.1))));
        named.or_else(|| (0..self.certified.len()).find(|&index| usable(index)))
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let usable = |index: usize| self.certified[index].key.choose_scheme(schemes).is_some();
        self.choose(hello.server_name(), usable).map(|index| Arc::clone(&self.certified[index]))
    }
}

#[cfg(test)]
mod tests;
