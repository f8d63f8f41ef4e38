//! Tests of the handles that versions have in stages with environment variables of their own.

use wasm_fn_core::StageConfig;

use super::*;

fn api(value: &str) -> Option<Arc<StageConfig>> {
    let env = [("API".to_owned(), value.to_owned())].into();
    Some(Arc::new(StageConfig { env, routes: Vec::new() }))
}

impl Node {
    async fn staged(
        &self,
        stage: &str,
        bytes: &'static [u8],
        stage_config: Option<Arc<StageConfig>>,
        strategy: ReleaseStrategy,
    ) -> String {
        let order = order("hello", self.upload(bytes).await, strategy);
        let deploy = Deploy { stage: stage.parse().unwrap(), stage_config, allow_new: true, ..order };
        let deployed = self.control.deploy(deploy, note(), Arc::new(|_| {})).await.unwrap();
        deployed.version.to_string()
    }

    /// The handle of version `no` in `stage`.
    fn handle(&self, stage: &str, no: u32) -> Arc<str> {
        let table = self.control.tables().load_full();
        let stage = table.stage(&name("hello"), &stage.parse().unwrap()).unwrap();
        let entry = stage.versions().iter().find(|entry| entry.no.number() == no);
        Arc::clone(&entry.unwrap().target)
    }
}

#[tokio::test]
async fn a_version_has_a_handle_for_each_environment() {
    let node = Node::start().await;
    for (stage, config) in [("live", None), ("qa", None), ("staging", api("s")), ("perf", api("s"))] {
        assert_eq!(node.staged(stage, b"1", config, ReleaseStrategy::AllAtOnce).await, "v1");
    }
    assert_eq!((&*node.handle("live", 1), &*node.handle("staging", 1)), ("hello v1", "hello v1 API=s"));
    assert!(Arc::ptr_eq(&node.handle("live", 1), &node.handle("qa", 1)));
    assert!(Arc::ptr_eq(&node.handle("staging", 1), &node.handle("perf", 1)), "pools are shared");
    assert_eq!(node.host.handles.load(SeqCst), 2);
    // A change of one stage leaves the handles of the others.
    let before = node.handle("perf", 1);
    assert_eq!(node.staged("staging", b"1", api("t"), ReleaseStrategy::AllAtOnce).await, "v2");
    assert_eq!(&*node.handle("staging", 2), "hello v2 API=t");
    assert!(Arc::ptr_eq(&before, &node.handle("perf", 1)));
}

#[tokio::test]
async fn the_baseline_of_a_rollout_has_what_stable_has_in_the_stage() {
    let node = Node::start().await;
    node.staged("live", b"1", api("one"), ReleaseStrategy::AllAtOnce).await;
    assert_eq!(node.staged("live", b"1", api("two"), canary()).await, "v2");
    let fresh: Vec<_> = node.host.fresh.lock().unwrap().iter().filter_map(std::sync::Weak::upgrade).collect();
    assert_eq!(fresh.iter().map(|handle| &**handle).collect::<Vec<_>>(), ["hello v1 fresh API=one"]);
    assert_eq!(&*node.handle("live", 2), "hello v2 API=two");
    node.control.command(name("hello"), live(), Command::Promote, note()).await.unwrap();
    node.control.rollback(name("hello"), live(), None, note()).await.unwrap();
    assert_eq!(&*node.stage("hello").stable().target, "hello v1 API=one", "the earlier variable is back");
}
