//! Messages between processes that share a key: sealed, so that nobody else can read, make or change one.

use std::fmt;

use chacha20poly1305::{
    Key, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use zeroize::Zeroizing;

use crate::{NONCE_BYTES, Nonce, sealed::Context};

/// What the key of messages is derived for (BLAKE3's derive_key mode).
const MESSAGES: &str = "wasm-fn 2026 messages between the nodes of a cluster";

/// What a fingerprint is derived for.
const FINGERPRINT: &str = "wasm-fn 2026 fingerprint of the key of a cluster";

/// The key that seals messages.
pub struct MessageKey(Zeroizing<[u8; 32]>);

impl MessageKey {
    /// The key that everybody derives who has the same `material`, in this order.
    pub fn derive(material: &[&[u8]]) -> Self {
        Self(Zeroizing::new(derive(MESSAGES, material)))
    }

    /// Seals `plain` for `context`. `nonce` is random.
    pub fn seal(&self, plain: &[u8], context: &[&str], nonce: Nonce) -> Vec<u8> {
        let cipher = XChaCha20Poly1305::new(Key::from_slice(&*self.0));
        let payload = Payload { msg: plain, aad: &Context::new(context).0 };
        let sealed = cipher.encrypt(XNonce::from_slice(&nonce), payload);
        let sealed = sealed.expect("only gigabytes are too long to be sealed");
        [&nonce[..], &sealed].concat()
    }

    /// What was sealed for `context`; `None` if it was not sealed by somebody who has this key, or for
    /// something else.
    pub fn open(&self, sealed: &[u8], context: &[&str]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
        let cipher = XChaCha20Poly1305::new(Key::from_slice(&*self.0));
        let payload = Payload { msg: sealed, aad: &Context::new(context).0 };
        cipher.decrypt(XNonce::from_slice(nonce), payload).ok().map(Zeroizing::new)
    }
}

/// It does not print.
impl fmt::Debug for MessageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessageKey")
    }
}

/// What tells a key made of `material` from others: 64 hexadecimal digits, from which nobody finds the key.
pub fn fingerprint(material: &[&[u8]]) -> String {
    hex::encode(derive(FINGERPRINT, material))
}

fn derive(context: &str, material: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(context);
    for part in material {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests;
