//! Deployments of versions that could do more than stable.

use std::sync::atomic::AtomicUsize;

use super::*;
use crate::{
    host::Progress,
    state::{Action, ChangeError},
};

#[tokio::test]
async fn interfaces_are_compared_before_anything_is_compiled() {
    let node = Node::start().await;
    node.deploy("hello", b"imports wasi:io/streams", ReleaseStrategy::AllAtOnce).await.unwrap();
    let prepared = Arc::new(AtomicUsize::new(0));
    let counting = |prepared: &Arc<AtomicUsize>| {
        let prepared = Arc::clone(prepared);
        Arc::new(move |_: Progress| _ = prepared.fetch_add(1, SeqCst))
    };
    let component = node.upload(b"imports wasi:io/poll wasi:http/client wasi:keyvalue/store").await;
    let deploy = order("hello", component, canary());
    let refused = node.control.deploy(deploy.clone(), note(), counting(&prepared)).await.unwrap_err();
    let ControlError::Plan(ChangeError::Grows(grows)) = refused else { panic!("{refused}") };
    assert_eq!(grows.growth.texts(), ["import wasi:http/outgoing-handler", "import wasi:keyvalue/store"]);
    assert_eq!(prepared.load(SeqCst), 0);
    assert_eq!(node.control.state().revision(), Revision(1));
    assert!(node.stage("hello").versions().len() == 1);

    let deploy = Deploy { allow_new: true, ..deploy };
    let deployed = node.control.deploy(deploy, note(), counting(&prepared)).await.unwrap();
    assert_eq!(deployed.growth, grows.growth);
    assert!(prepared.load(SeqCst) > 0);
    let node = node.restarted().await;
    let range = JournalRange { function: Some(name("hello")), before: None, limit: 1 };
    let entries = node.control.journal(range).await.unwrap();
    let Some(Action::Deploy { growth, .. }) = entries[0].change.action() else { panic!("it was deployed") };
    assert_eq!(*growth, grows.growth.texts());
}

#[tokio::test]
async fn deployment_is_compared_with_what_is_stable_in_the_end() {
    let node = Node::start().await;
    node.deploy("hello", b"imports wasi:keyvalue/store", ReleaseStrategy::AllAtOnce).await.unwrap();
    // While it is being compiled, stable becomes a version whose imports it was not compared with.
    let component = node.upload(b"slow").await;
    let control = Arc::clone(&node.control);
    let deploy = order("hello", component, ReleaseStrategy::AllAtOnce);
    let slow = tokio::spawn(async move { control.deploy(deploy, note(), Arc::new(|_| {})).await });
    node.host.preparing.subscribe().wait_for(|&preparing| preparing == 1).await.unwrap();
    node.deploy("hello", b"another", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.host.go.notify_waiters();
    let refused = slow.await.unwrap().unwrap_err();
    assert!(matches!(refused, ControlError::Plan(ChangeError::Moved { .. })), "{refused}");
    assert_eq!(node.stage("hello").stable().no.number(), 2);
}
