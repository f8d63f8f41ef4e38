//! A small real issuer: it publishes its discovery document and keys over HTTP, and signs tokens.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use ring::{
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, PublicKeyComponents},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    },
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// A key of an issuer.
pub(crate) struct SigningKey {
    pub(crate) id: String,
    kind: Kind,
}

enum Kind {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

/// An issuer that listens on this machine until it is dropped.
pub(crate) struct TestIssuer {
    pub(crate) url: String,
    published: Arc<Mutex<Published>>,
    /// How often its keys were fetched.
    fetches: Arc<AtomicU32>,
    served: JoinHandle<()>,
}

/// What it answers.
struct Published {
    status: u16,
    discovery: String,
    keys: String,
    /// Status and body for forms, by path.
    endpoints: BTreeMap<String, (u16, String)>,
    /// The forms that came, each with its path.
    forms: Vec<String>,
}

pub(crate) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn now_s() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a real issuer has a real clock")]
    let now = SystemTime::now();
    now.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

impl SigningKey {
    pub(crate) fn es256(id: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("keys can be made");
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random);
        Self { id: id.to_owned(), kind: Kind::Es256(pair.expect("it was just made")) }
    }

    pub(crate) fn ed_dsa(id: &str) -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("keys can be made");
        let pair = Ed25519KeyPair::from_pkcs8(document.as_ref());
        Self { id: id.to_owned(), kind: Kind::EdDsa(pair.expect("it was just made")) }
    }

    /// Always the same key: ring makes none.
    pub(crate) fn rs256(id: &str) -> Self {
        let pair = RsaKeyPair::from_pkcs8(include_bytes!("rsa.pk8"));
        Self { id: id.to_owned(), kind: Kind::Rs256(pair.expect("the file is a key")) }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.kind {
            Kind::Rs256(_) => "RS256",
            Kind::Es256(_) => "ES256",
            Kind::EdDsa(_) => "EdDSA",
        }
    }

    /// As it is published.
    pub(crate) fn jwk(&self) -> Value {
        let id = &self.id;
        match &self.kind {
            Kind::Rs256(pair) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                let (n, e) = (b64(n), b64(e));
                json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": n, "e": e })
            }
            Kind::Es256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": id, "x": b64(x), "y": b64(y) })
            }
            Kind::EdDsa(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": b64(pair.public_key()) })
            }
        }
    }

    fn signature(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.kind {
            Kind::Rs256(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("it fits");
                signature
            }
            Kind::Es256(pair) => pair.sign(&random, message).expect("it signs").as_ref().to_vec(),
            Kind::EdDsa(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// A token of this key with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "typ": "JWT", "alg": self.algorithm(), "kid": self.id }), claims)
    }

    /// A token with any header.
    pub(crate) fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = b64(self.signature(message.as_bytes()));
        format!("{message}.{signature}")
    }
}

impl TestIssuer {
    /// Publishes `keys`.
    pub(crate) async fn start(keys: &[&SigningKey]) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there is a port");
        let url = format!("http://{}", listener.local_addr().expect("it is bound"));
        let published = Published {
            status: 200,
            discovery: String::new(),
            keys: String::new(),
            endpoints: BTreeMap::new(),
            forms: Vec::new(),
        };
        let published = Arc::new(Mutex::new(published));
        let fetches = Arc::new(AtomicU32::new(0));
        let state = (Arc::clone(&published), Arc::clone(&fetches));
        let served = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                let service = service_fn(move |request: Request<Incoming>| {
                    let state = state.clone();
                    async move {
                        let (head, body) = request.into_parts();
                        let body = body.collect().await.expect("a test sends its whole form").to_bytes();
                        let form = String::from_utf8_lossy(&body);
                        Ok::<_, Infallible>(answer(&state.0, &state.1, head.uri.path(), &form))
                    }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        let issuer = Self { url, published, fetches, served };
        issuer.publish(keys);
        issuer.discovery(&json!({ "issuer": issuer.url, "jwks_uri": format!("{}/keys", issuer.url) }));
        issuer
    }

    fn published(&self) -> std::sync::MutexGuard<'_, Published> {
        self.published.lock().expect("nothing panics with it")
    }

    /// From now on these are its keys.
    pub(crate) fn publish(&self, keys: &[&SigningKey]) {
        let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
        self.keys(json!({ "keys": keys }).to_string());
    }

    /// From now on this is what it says of its keys.
    pub(crate) fn keys(&self, document: String) {
        self.published().keys = document;
    }

    pub(crate) fn discovery(&self, document: &Value) {
        self.published().discovery = document.to_string();
    }

    pub(crate) fn status(&self, status: u16) {
        self.published().status = status;
    }

    /// From now on this is what it answers to forms for `path`.
    pub(crate) fn endpoint(&self, path: &str, status: u16, body: impl ToString) {
        self.published().endpoints.insert(path.to_owned(), (status, body.to_string()));
    }

    /// The forms that came, each after its path and a space.
    pub(crate) fn forms(&self) -> Vec<String> {
        self.published().forms.clone()
    }

    /// How often its keys were fetched.
    pub(crate) fn fetches(&self) -> u32 {
        self.fetches.load(SeqCst)
    }

    /// Claims of `subject` for the audience `node`, for five minutes from now on.
    pub(crate) fn claims(&self, subject: &str) -> Value {
        let now = now_s();
        json!({
            "iss": self.url, "sub": subject, "aud": "node", "iat": now - 5, "nbf": now - 5, "exp": now + 300
        })
    }
}

impl Drop for TestIssuer {
    fn drop(&mut self) {
        self.served.abort();
    }
}

fn answer(
    published: &Mutex<Published>,
    fetches: &AtomicU32,
    path: &str,
    form: &str,
) -> Response<Full<Bytes>> {
    let mut published = published.lock().expect("nothing panics with it");
    let (status, body) = match path {
        "/.well-known/openid-configuration" => (published.status, published.discovery.clone()),
        "/keys" => {
            fetches.fetch_add(1, SeqCst);
            (published.status, published.keys.clone())
        }
        _ => {
            if !form.is_empty() {
                published.forms.push(format!("{path} {form}"));
            }
            published.endpoints.get(path).cloned().unwrap_or((404, String::new()))
        }
    };
    let response = Response::builder().status(status).body(Full::new(Bytes::from(body)));
    response.expect("the status is one")
}
