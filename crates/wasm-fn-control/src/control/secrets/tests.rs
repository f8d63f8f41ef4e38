//! Secrets through the control plane: set, deployed, kept by versions, deleted, sealed again.

use std::{collections::BTreeSet, time::Duration};

use wasm_fn_core::{FunctionConfig, VersionNo, VersionRef, Weight};
use wasm_fn_rollout::{self as rollout, GateSpec, PlanSpec};
use wasm_fn_secrets::{NodeKey, SecretSetError};
use wasm_fn_store::{Blobs, JournalRange, MemoryStore, Store as _};
use zeroize::Zeroizing;

use super::*;
use crate::{
    Access, Clock, ControlOptions, Deploy, Deployed, OpenError, SecretsError,
    documents::{self, stored_state},
    fake::{FakeHost, Node},
    salt_at_random,
    secrets::SecretKeys,
    state::{ChangeError, ReleaseStrategy, RolloutSpec, SecretsProblemKind},
};

fn note() -> Note {
    Note {
        actor: "ann".to_owned(),
        token: None,
        origin: "127.0.0.1:1".to_owned(),
        message: None,
        expected_revision: None,
    }
}

fn hello() -> FunctionName {
    "hello".parse().unwrap()
}

fn stage(name: &str) -> StageName {
    name.parse().unwrap()
}

fn id(stage: &str, name: &str) -> SecretId {
    SecretId { function: hello(), stage: stage.parse().unwrap(), name: name.parse().unwrap() }
}

fn value(text: &str) -> SecretValue {
    SecretValue::new(Zeroizing::new(text.as_bytes().to_vec())).unwrap()
}

fn key() -> NodeKey {
    NodeKey::new(Zeroizing::new([7; 32]))
}

impl Node {
    async fn set(&self, stage: &str, name: &str, text: &str) -> u32 {
        let set = self.control.set_secret(id(stage, name), value(text), note()).await;
        set.unwrap().1.number()
    }

    /// Deploys `hello` with the secrets `names`.
    async fn release(
        &self,
        to: &str,
        names: &[&str],
        strategy: ReleaseStrategy,
    ) -> Result<Deployed, ControlError> {
        let component = self.upload(b"hello").await;
        let secrets: BTreeSet<SecretName> = names.iter().map(|name| name.parse().unwrap()).collect();
        let deploy = Deploy {
            provenance: None,
            may_move_traffic: true,
            function: hello(),
            stage: stage(to),
            component,
            config: Arc::new(FunctionConfig { secrets, ..FunctionConfig::default() }),
            stage_config: None,
            strategy,
            prepared: Weight::FULL,
            replace: false,
            allow_new: true,
        };
        self.control.deploy(deploy, note(), Arc::new(|_| {})).await
    }

    async fn released(&self, to: &str, names: &[&str]) -> u32 {
        self.release(to, names, ReleaseStrategy::AllAtOnce).await.unwrap().version.number()
    }

    /// The stable handle of a stage of `hello`, which tells its secrets.
    fn stable(&self, of: &str) -> Arc<str> {
        let table = self.control.tables().load_full();
        table.stage(&hello(), &stage(of)).unwrap().stable().target.clone()
    }
}

fn problem(error: ControlError) -> SecretsProblemKind {
    match error {
        ControlError::Plan(ChangeError::Secrets(problem)) => problem.problem,
        error => panic!("found {error:?}, expected a problem with secrets"),
    }
}

#[tokio::test]
async fn version_keeps_its_values_until_a_deployment_makes_another() {
    let node = Node::start().await;
    let unset = node.release("live", &["B", "A"], ReleaseStrategy::AllAtOnce).await.unwrap_err();
    assert_eq!(
        unset.to_string(),
        "secrets A, B are not set in stage `live` of `hello`, expected them to be set before the deployment"
    );
    assert_eq!(node.set("live", "A", "one").await, 1);
    assert_eq!(node.control.state().functions().count(), 0, "nothing is deployed yet");
    assert_eq!(node.released("live", &["A"]).await, 1);
    assert_eq!(&*node.stable("live"), "hello v1 A=one");
    let before = node.stable("live");

    assert_eq!(node.set("live", "A", "two").await, 2);
    assert_eq!(node.set("live", "A", "three").await, 3);
    assert!(Arc::ptr_eq(&before, &node.stable("live")), "a new value makes no new handle");
    let values = |node: &Node| {
        let state = node.control.state();
        let found = state.stored_function(&hello()).unwrap();
        found.secrets.values().map(|(.., revision, _)| revision.number()).collect::<Vec<_>>()
    };
    assert_eq!(values(&node), [1, 3], "nobody has the second value");

    assert_eq!(node.released("live", &["A"]).await, 2, "the same component with another value");
    assert_eq!(&*node.stable("live"), "hello v2 A=three");
    assert!(node.release("live", &["A"], ReleaseStrategy::AllAtOnce).await.unwrap().unchanged);
    node.control.rollback(hello(), stage("live"), None, note()).await.unwrap();
    assert_eq!(&*node.stable("live"), "hello v1 A=one");

    let again = node.restarted().await;
    assert_eq!(again.control.state(), node.control.state());
    assert_eq!(&*again.stable("live"), "hello v1 A=one");
}

#[tokio::test]
async fn each_stage_has_values_of_its_own() {
    let node = Node::start().await;
    node.set("live", "A", "of live").await;
    node.set("staging", "A", "of staging").await;
    assert_eq!(node.released("staging", &["A"]).await, 1);
    assert_eq!(node.released("live", &["A"]).await, 1, "a version keeps its number in another stage");
    assert_eq!(&*node.stable("staging"), "hello v1 A=of staging");
    assert_eq!(&*node.stable("live"), "hello v1 A=of live");

    // Only a deployment gives a version its secrets.
    let shares = vec![(VersionRef::No(VersionNo::FIRST), "100%".parse().unwrap())];
    let moved = node.control.set_traffic(hello(), stage("other"), shares, note()).await;
    assert!(matches!(problem(moved.unwrap_err()), SecretsProblemKind::Missing { .. }));

    // With its stage a secret is gone; a new one gets another revision.
    node.control.delete_stage(hello(), stage("staging"), note()).await.unwrap();
    assert_eq!(node.set("staging", "A", "again").await, 2);
    assert_eq!(&*node.stable("live"), "hello v1 A=of live");
}

#[tokio::test]
async fn version_without_traffic_gets_its_secrets_where_it_was_deployed() {
    let node = Node::start().await;
    node.set("live", "A", "one").await;
    node.released("live", &[]).await;
    let second = node.release("live", &["A"], ReleaseStrategy::NoTraffic).await.unwrap();
    assert_eq!(second.version.number(), 2);
    let table = node.control.tables().load_full();
    let entry = table.stage(&hello(), &stage("live")).unwrap().version(second.version).unwrap();
    assert_eq!(&*entry.target, "hello v2 A=one");
    node.set("staging", "A", "two").await;
    assert!(!node.release("staging", &["A"], ReleaseStrategy::NoTraffic).await.unwrap().unchanged);
    let state = node.control.state();
    let versions = &state.function(&hello()).unwrap().versions;
    assert_eq!(versions[&second.version].secrets.len(), 2);
}

#[tokio::test]
async fn baseline_has_the_secrets_of_stable() {
    let node = Node::start().await;
    node.set("live", "A", "one").await;
    node.released("live", &["A"]).await;
    node.set("live", "A", "two").await;
    let strategy = rollout::Strategy::Canary { steps: vec!["10%".parse().unwrap()] };
    let spec = RolloutSpec::new(
        PlanSpec::usual(strategy),
        GateSpec::default(),
        true,
        Duration::from_secs(60),
        Vec::new(),
    );
    node.release("live", &["A"], ReleaseStrategy::Rollout(Arc::new(spec.unwrap()))).await.unwrap();
    let fresh: Vec<_> = node.host.fresh.lock().unwrap().iter().filter_map(std::sync::Weak::upgrade).collect();
    assert_eq!(fresh.len(), 1);
    assert_eq!(&*fresh[0], "hello v1 fresh A=one");
    assert_eq!(&*node.stable("live"), "hello v1 A=one");
}

#[tokio::test]
async fn secret_in_use_stays_and_a_deleted_one_never_comes_back() {
    let node = Node::start().await;
    node.set("live", "A", "one").await;
    node.released("live", &["A"]).await;
    let delete = || node.control.delete_secret(id("live", "A"), note());
    let SecretsProblemKind::InUse { users, .. } = problem(delete().await.unwrap_err()) else {
        panic!("the secret is in use")
    };
    assert_eq!(users, [VersionNo::FIRST]);
    node.released("live", &[]).await;
    assert!(delete().await.is_err(), "a rollback goes to v1");
    let third = node.upload(b"third").await;
    let deploy = Deploy {
        provenance: None,
        may_move_traffic: true,
        function: hello(),
        stage: stage("live"),
        component: third,
        config: Arc::default(),
        stage_config: None,
        strategy: ReleaseStrategy::AllAtOnce,
        prepared: Weight::FULL,
        replace: false,
        allow_new: true,
    };
    node.control.deploy(deploy, note(), Arc::new(|_| {})).await.unwrap();
    delete().await.unwrap();
    assert!(matches!(problem(delete().await.unwrap_err()), SecretsProblemKind::NoSuch { .. }));
    assert_eq!(node.set("live", "A", "two").await, 2);
    // v1 had another value, which is gone.
    let to = Some(VersionRef::No(VersionNo::FIRST));
    let back = node.control.rollback(hello(), stage("live"), to, note()).await;
    assert!(matches!(problem(back.unwrap_err()), SecretsProblemKind::Missing { .. }));

    node.control.delete(hello(), note()).await.unwrap();
    assert_eq!(node.control.state().stored_function(&hello()).unwrap().secrets.values().count(), 0);
    assert_eq!(node.set("live", "A", "three").await, 3);
}

#[tokio::test]
async fn secrets_that_are_too_long_together_refuse_the_deployment() {
    let node = Node::start().await;
    let names = ["A", "B", "C", "D", "E"];
    for name in names {
        node.set("live", name, &"x".repeat(60 << 10)).await;
    }
    let error = node.release("live", &names, ReleaseStrategy::AllAtOnce).await.unwrap_err();
    assert!(
        matches!(error, ControlError::Secrets(SecretsError::Set(SecretSetError::TooLarge { .. }))),
        "{error:?}"
    );
}

#[tokio::test]
async fn every_moment_of_a_rotation_is_a_state_that_opens_every_value() {
    let node = Node::start().await;
    for function in ["hello", "other", "third"] {
        let secret = SecretId { function: function.parse().unwrap(), ..id("live", "A") };
        node.control.set_secret(secret, value("one"), note()).await.unwrap();
    }
    node.released("live", &["A"]).await;
    let (old, before) = (node.control.state().data_keys().clone(), node.stable("live"));
    let (state, resealed) = node.control.rotate_data_key(note()).await.unwrap();
    assert_eq!((resealed, state.data_keys().len()), (3, 1));
    assert_ne!(*state.data_keys(), old);
    assert!(Arc::ptr_eq(&before, &node.stable("live")), "the values are the same");

    // The journal, entry by entry, as if the node had been killed after each.
    let range = JournalRange { function: None, before: None, limit: 100 };
    let mut entries = node.control.journal(range).await.unwrap();
    entries.reverse();
    let (mut replayed, store) = (State::default(), MemoryStore::new());
    for entry in &entries {
        replayed.apply(&entry.change, &entry.meta());
        store.commit(documents::commit(entry, &replayed)).await.unwrap();
        let stored = stored_state(&store).await.unwrap();
        assert_eq!(stored, replayed);
        let keys = SecretKeys::open(key(), stored.data_keys()).unwrap();
        for name in ["hello", "other", "third"].map(|name| name.parse::<FunctionName>().unwrap()) {
            let Some(function) = stored.stored_function(&name) else { continue };
            for (stage, secret, revision, _) in function.secrets.values() {
                let pins = [(secret.clone(), revision)].into();
                let set = keys.set((&name, function), stage, &pins, false).unwrap();
                assert_eq!(set.get("A").unwrap().expose(), "one");
            }
        }
    }
    assert_eq!(replayed, *state);
}

#[tokio::test]
async fn rotation_that_was_cut_off_is_finished_at_the_next_start() {
    let node = Node::start().await;
    node.set("live", "A", "one").await;
    {
        let mut writer = node.control.write().await.unwrap();
        let change = AccessChange::AddDataKey { key: node.control.secrets.make() };
        node.control.commit(&mut writer, node.control.state(), note(), change.into()).await.unwrap();
    }
    let again = node.restarted().await;
    while again.control.state().data_keys().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(again.released("live", &["A"]).await, 1);
    assert_eq!(&*again.stable("live"), "hello v1 A=one");
    assert_eq!(
        again.control.state().sealed_under_others(again.control.secrets.current().unwrap()).count(),
        0
    );
}

#[tokio::test]
async fn another_node_key_or_a_value_in_another_place_is_refused() {
    let node = Node::start().await;
    node.set("live", "A", "one").await;
    let folder = tempfile::tempdir().unwrap();
    let open = |secrets_key| {
        Control::open(ControlOptions {
            stage_rules: crate::state::StageRules::new(),
            host: Arc::new(FakeHost::new()),
            store: node.store.clone(),
            blobs: Arc::new(Blobs::open(folder.path(), 1024).unwrap()),
            access: Access::only("wfn_test".to_owned()),
            secrets_key,
            clock: Clock::showing(1),
            salt: Box::new(salt_at_random),
            peers: None,
        })
    };
    let refused = open(NodeKey::new(Zeroizing::new([8; 32]))).await.err().unwrap();
    assert!(matches!(refused, OpenError::Key(_)));
    let text = refused.to_string();
    assert!(text.starts_with("secrets cannot be opened: data key") && text.contains("node key"), "{text}");
    open(key()).await.unwrap();

    let state = node.control.state();
    let mut function = (**state.stored_function(&hello()).unwrap()).clone();
    let live = function.secrets.stages.get_mut(&stage("live")).unwrap();
    let copied = live["A"].clone();
    live.insert("B".parse().unwrap(), copied);
    let pins = [("B".parse().unwrap(), SecretRevision::FIRST)].into();
    let keys = SecretKeys::open(key(), state.data_keys()).unwrap();
    let error = keys.set((&hello(), &function), &stage("live"), &pins, false).unwrap_err();
    assert!(
        error.to_string().starts_with("secret B of hello in live (revision 1) cannot be opened"),
        "{error}"
    );
}
