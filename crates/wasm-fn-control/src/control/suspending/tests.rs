//! Tests of tokens that are refused before it is committed that they are.

use std::{sync::atomic::Ordering::SeqCst, task};

use wasm_fn_access::{AccessRole, Rights, Roles, Scope, TokenSecret};

use super::{super::Note, *};
use crate::{
    CreateToken,
    access::Unproven,
    fake::{FakePeers, Node},
};

fn note() -> Note {
    Note {
        actor: "admin".to_owned(),
        token: None,
        origin: "127.0.0.1:1".to_owned(),
        message: None,
        expected_revision: None,
    }
}

/// A node of a cluster with the token `ci`, and its secret.
async fn node() -> (Node, std::sync::Arc<FakePeers>, String) {
    let peers = FakePeers::of("first");
    let node = Node::founding(std::sync::Arc::clone(&peers)).await;
    let rights = Rights { roles: Roles::of(&[AccessRole::Viewer]), scope: Scope::everything() };
    let create = CreateToken { name: "ci".parse().unwrap(), rights, ttl: None };
    let secret = node.control.create_token(create, note()).await.unwrap().1;
    (node, peers, secret)
}

fn told(peers: &FakePeers) -> Vec<Bytes> {
    let told = peers.told.lock().unwrap();
    told.iter().filter(|body| body.first() == Some(&KIND)).cloned().collect()
}

fn from_second(body: Bytes) -> PeerMessage {
    PeerMessage { from: "second".parse().unwrap(), body }
}

#[tokio::test(start_paused = true)]
async fn token_whose_revocation_cannot_be_committed_is_refused_for_a_while() {
    let (node, peers, secret) = node().await;
    let actor = node.control.authenticate(&secret).unwrap();
    let mut unknown = Box::pin(node.control.until_unknown(&actor));
    let waker = task::Waker::noop();
    assert!(unknown.as_mut().poll(&mut task::Context::from_waker(waker)).is_pending());
    node.store.fails.store(true, SeqCst);
    let name: TokenName = "ci".parse().unwrap();
    let error = node.control.revoke_token(name.clone(), note()).await.unwrap_err();
    assert!(matches!(&error, ControlError::Suspended { token, .. } if *token == name), "{error:?}");
    unknown.await;
    let refused = Unproven::Suspended { name: "ci".to_owned() };
    assert_eq!(node.control.authenticate(&secret), Err(refused));
    // Others hear of it, and again if they did not.
    let before = told(&peers);
    assert!(!before.is_empty());
    tokio::time::sleep(2 * AGAIN).await;
    let later = told(&peers);
    assert!(later.len() > before.len(), "{later:?}");
    assert!(later.iter().all(|body| *body == before[0]));
    tokio::time::sleep(SUSPENDED_FOR).await;
    assert!(node.control.authenticate(&secret).is_ok(), "nothing of it was committed");
    node.store.fails.store(false, SeqCst);
    node.control.revoke_token(name, note()).await.unwrap();
    assert!(matches!(node.control.authenticate(&secret), Err(Unproven::Denied(_))));
    let at_last = told(&peers).len();
    tokio::time::sleep(10 * AGAIN).await;
    assert_eq!(told(&peers).len(), at_last, "the state says it from now on");
}

#[tokio::test(start_paused = true)]
async fn token_of_which_another_node_tells_is_refused_at_once() {
    let (node, _, secret) = node().await;
    let key = node.control.access.token_key();
    let hash = key.hash(&secret.parse::<TokenSecret>().unwrap());
    let body = encode(key, hash);
    // From somebody without the key, of another token, cut off, or of a newer release.
    let mut forged = body.to_vec();
    let last = forged.len() - 1;
    forged[last] = if forged[last] == b'0' { b'1' } else { b'0' };
    let newer = [&[KIND, VERSION + 1], &body[2..]].concat();
    let foreign = encode(&TokenKey::new([1; 32]), hash);
    for body in [forged.into(), newer.into(), foreign, body.slice(..20), body.slice(..1)] {
        node.control.hear_of_token(&from_second(body));
        assert!(node.control.authenticate(&secret).is_ok());
    }
    node.control.hear_of_token(&from_second(body));
    assert!(matches!(node.control.authenticate(&secret), Err(Unproven::Suspended { .. })));
}

#[test]
fn suspended_tokens_are_bounded() {
    let (suspended, key, now) = (SuspendedTokens::default(), TokenKey::new([1; 32]), clock::instant());
    let hash = |number: u64| {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&number.to_le_bytes());
        key.hash(&TokenSecret::new(random))
    };
    for number in 0..=SUSPENDED_MAX as u64 {
        suspended.add(hash(number), false, now + Duration::from_millis(number));
    }
    assert!(!suspended.has(hash(0), now) && suspended.has(hash(1), now));
    assert_eq!(suspended.suspended().len(), SUSPENDED_MAX);
}

/// A node of another release has to understand it.
#[test]
fn word_is_as_it_was() {
    let (key, hash) = (TokenKey::new([1; 32]), TokenHash::from_hex(&"ab".repeat(32)).unwrap());
    let body = encode(&key, hash);
    assert_eq!(decode(&key, &body), Some(hash));
    let proof = "6eae2642282a58eead815a9be58bf88fae233c3b8b88fdbb6481e66e487b47e0";
    assert_eq!(body, [b"r\x01", "ab".repeat(32).as_bytes(), proof.as_bytes()].concat());
}
