//! Tokens through the control plane: created, used, rotated, revoked, expired, restarted.

use std::{sync::atomic::Ordering::SeqCst, task};

use wasm_fn_access::{AccessRole, Denied, Roles, Scope};

use super::*;
use crate::fake::{Node, TOKEN};

fn note() -> Note {
    Note {
        actor: "admin".to_owned(),
        token: None,
        origin: "127.0.0.1:1".to_owned(),
        message: None,
        expected_revision: None,
    }
}

fn name(text: &str) -> TokenName {
    text.parse().unwrap()
}

fn create(text: &str, ttl: Option<Duration>) -> CreateToken {
    let rights = Rights { roles: Roles::of(&[AccessRole::Viewer]), scope: Scope::everything() };
    CreateToken { name: name(text), rights, ttl }
}

async fn created(node: &Node, text: &str) -> String {
    node.control.create_token(create(text, None), note()).await.unwrap().1
}

#[tokio::test]
async fn created_token_is_known_until_it_is_revoked() {
    let node = Node::start().await;
    let secret = created(&node, "ci").await;
    let actor = node.control.authenticate(&secret).unwrap();
    assert_eq!((actor.name.as_str(), actor.rights.roles), ("ci", Roles::of(&[AccessRole::Viewer])));
    assert!(node.control.still_knows(&actor));
    node.control.revoke_token(name("ci"), note()).await.unwrap();
    assert_eq!(node.control.authenticate(&secret), Err(Unproven::Denied(Denied::Unknown)));
    assert!(!node.control.still_knows(&actor));
    let error = node.control.revoke_token(name("ci"), note()).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no token `ci`");
    assert_eq!(node.control.verify_journal(None).await.unwrap().revision.0, 2);
}

#[tokio::test]
async fn rotated_token_has_another_secret_and_the_same_rights() {
    let node = Node::start().await;
    let old = created(&node, "ci").await;
    let before = node.control.authenticate(&old).unwrap();
    let (_, new) = node.control.rotate_token(name("ci"), note()).await.unwrap();
    assert!(node.control.authenticate(&old).is_err());
    assert!(!node.control.still_knows(&before), "who uses the old secret is not known any more");
    let after = node.control.authenticate(&new).unwrap();
    assert_eq!((&before.name, &before.rights), (&after.name, &after.rights));
    assert_ne!(before.token, after.token);
}

#[tokio::test]
async fn rotated_admin_token_is_refused_at_once() {
    let node = Node::start().await;
    let (_, new) = node.control.rotate_admin_token(note()).await.unwrap();
    assert!(node.control.authenticate(TOKEN).is_err());
    assert_eq!(node.control.authenticate(&new).unwrap().rights, Rights::all());
}

#[tokio::test]
async fn names_are_taken_reserved_or_free() {
    let node = Node::start().await;
    created(&node, "ci").await;
    let refused = async |create| node.control.create_token(create, note()).await.unwrap_err().to_string();
    let taken = "there is already a token `ci`, expected another name";
    assert_eq!(refused(create("ci", None)).await, taken);
    for reserved in ["admin", "node", "rollout"] {
        let expected = format!("the name `{reserved}` belongs to the node, expected another name");
        assert_eq!(refused(create(reserved, None)).await, expected);
    }
    let expired = "the token would expire at once, expected a time to live of at least 1 s";
    assert_eq!(refused(create("b", Some(Duration::ZERO))).await, expired);
    assert_eq!(node.control.state().revision().0, 1, "nothing of it was committed");
}

#[tokio::test]
async fn tokens_and_their_last_use_survive_a_restart_and_secrets_are_nowhere() {
    let node = Node::start().await;
    created(&node, "ci").await;
    let secret = created(&node, "ann").await;
    let actor = node.control.authenticate(&secret).unwrap();
    let id = actor.token.unwrap();
    node.control.keep_token_uses().await;
    let again = node.restarted().await;
    let (state, minute) = (again.control.state(), node.control.now().0 / 60_000);
    assert_eq!(state.tokens(), node.control.state().tokens());
    assert_eq!(again.control.last_use(&id), Some(minute));
    let journal = wasm_fn_store::JournalRange { function: None, before: None, limit: 9 };
    let text = format!("{:?}", again.control.journal(journal).await.unwrap());
    assert!(!text.contains(&secret[4..40]), "{text}");
}

#[tokio::test]
async fn failed_commit_creates_no_token() {
    let node = Node::start().await;
    node.store.fails.store(true, SeqCst);
    assert!(node.control.create_token(create("ci", None), note()).await.is_err());
    assert_eq!(node.control.state().tokens().iter().len(), 0);
}

#[tokio::test]
async fn using_a_token_again_in_the_same_minute_is_no_news() {
    let node = Node::start().await;
    let secret = created(&node, "ci").await;
    node.control.authenticate(&secret).unwrap();
    node.control.keep_token_uses().await;
    for _ in 0..100 {
        node.control.authenticate(&secret).unwrap();
    }
    assert!(!node.control.token_uses.seen().new);
}

#[tokio::test]
async fn whom_another_party_vouches_for_is_known_until_it_ends() {
    let node = Node::start().await;
    let rights = Rights { roles: Roles::of(&[AccessRole::Viewer]), scope: Scope::everything() };
    let now_ms = node.control.now().0;
    let actor = |until_ms| Actor {
        name: "people/ann".to_owned(),
        token: Some("0badc0de".to_owned()),
        rights: rights.clone(),
        proof: Proof::Party { until_ms },
    };
    assert!(node.control.still_knows(&actor(Some(now_ms + 1))));
    assert!(!node.control.still_knows(&actor(Some(now_ms))));
    assert!(node.control.still_knows(&actor(None)), "a certificate lasts as long as its connection");
}

/// Whether the wait for `actor` is over.
fn is_unknown(node: &Node, actor: &Actor) -> bool {
    let mut waiting = std::pin::pin!(node.control.until_unknown(actor));
    waiting.as_mut().poll(&mut task::Context::from_waker(task::Waker::noop())).is_ready()
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_token_is_told_when_it_comes() {
    let node = Node::start().await;
    let ttl = Duration::from_secs(2 * 3600 + 1);
    let secret = node.control.create_token(create("ci", Some(ttl)), note()).await.unwrap().1;
    let actor = node.control.authenticate(&secret).unwrap();
    let expires_ms = node.control.state().tokens().get(&name("ci")).unwrap().expires_ms;
    assert!(!is_unknown(&node, &actor));
    node.control.until_unknown(&actor).await;
    assert_eq!(Some(node.control.now().0), expires_ms, "not later, by a clock that jumps where nobody works");

    // Others are changed meanwhile.
    let secret = created(&node, "ann").await;
    let ann = node.control.authenticate(&secret).unwrap();
    created(&node, "other").await;
    assert!(!is_unknown(&node, &ann));
    let (control, waiting) = (Arc::clone(&node.control), ann.clone());
    let waited = tokio::spawn(async move { control.until_unknown(&waiting).await });
    node.control.revoke_token(name("ann"), note()).await.unwrap();
    waited.await.unwrap();
    assert!(is_unknown(&node, &ann));

    let admin = node.control.authenticate(TOKEN).unwrap();
    let (control, waiting) = (Arc::clone(&node.control), admin.clone());
    let waited = tokio::spawn(async move { control.until_unknown(&waiting).await });
    let (_, new) = node.control.rotate_admin_token(note()).await.unwrap();
    waited.await.unwrap();
    assert!(!is_unknown(&node, &node.control.authenticate(&new).unwrap()));

    let party = |until_ms| Actor { proof: Proof::Party { until_ms }, ..ann.clone() };
    let until_ms = node.control.now().0 + 5000;
    node.control.until_unknown(&party(Some(until_ms))).await;
    assert_eq!(node.control.now().0, until_ms);
    assert!(!is_unknown(&node, &party(None)));
}
