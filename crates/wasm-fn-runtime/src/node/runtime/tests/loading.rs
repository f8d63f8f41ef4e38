//! Facts about code that is loaded and given up, on the real guests.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use super::*;
use crate::PrepareStep;

/// A node whose loaded code has `code_bytes_max`.
fn with_budget(code_bytes_max: u64) -> Node {
    let dir = tempfile::tempdir().unwrap();
    let runtime = start_with(dir.path(), |options| options.code_bytes_max = code_bytes_max);
    Node { runtime, dir }
}

/// `guest` with `mark` in a section that nobody reads: another component that does the same.
fn marked(guest: &str, mark: u8) -> Vec<u8> {
    [prebuilt(guest), vec![0, 3, 1, b'm', mark]].concat()
}

/// The only file of its kind that belongs to a guest: the node has code of its own there too.
fn artifact(dir: &Path, extension: &str) -> PathBuf {
    let files = fs::read_dir(dir.join("artifacts")).unwrap().map(|entry| entry.unwrap().path());
    let is_own = |path: &Path| path.file_stem().unwrap().as_encoded_bytes().ends_with(b"-own");
    let found: Vec<_> =
        files.filter(|path| path.extension().unwrap() == extension && !is_own(path)).collect();
    let [path] = found.as_slice() else { panic!("{found:?}, expected one") };
    path.clone()
}

/// What happens to an artefact's file.
type Damage<'a> = (&'static str, &'a dyn Fn(&Path));

/// Lets the node look at its versions and code as if hours went by.
fn pass_hours(runtime: &Runtime, hours: std::ops::Range<u64>) {
    for hour in hours {
        let now = Duration::from_secs(3600 * hour);
        runtime.node.maintain_all(now);
        runtime.node.codes.sweep(now);
    }
}

/// Lets hours go by, from `hour` on, until the code of `version` is given up; gives the next hour.
async fn until_given_up(runtime: &Runtime, version: &Version, mut hour: u64) -> u64 {
    while version.is_loaded() {
        pass_hours(runtime, hour..hour + 1);
        hour += 1;
        // Instances that were being made ahead come to their end.
        tokio::task::yield_now().await;
    }
    hour
}

#[tokio::test]
async fn idle_code_is_given_up_and_the_next_request_is_served() {
    let node = with_budget(1 << 30);
    let component = marked("hello-v1", b'i');
    let version = node.add_version(&component);
    assert!(!version.is_loaded());
    assert_eq!(ok(&version, "/").await, "hello from v1\n");
    assert!(version.is_loaded() && node.runtime.code_bytes() > 0);
    let mapped = || fs::read_to_string("/proc/self/maps").unwrap().contains(&version.component().to_string());
    assert!(mapped());
    until_given_up(&node.runtime, &version, 1).await;
    assert_eq!(node.runtime.code_bytes(), 0);
    assert!(!mapped(), "its memory is handed back");
    assert_eq!(ok(&version, "/").await, "hello from v1\n");
    assert!(version.is_loaded());
}

#[tokio::test]
async fn code_stays_while_an_invocation_runs() {
    let node = with_budget(0);
    let version = node.version("slow", limits(|limits| limits.timeout = Duration::from_secs(3600)));
    // It ends with the test.
    let response = tokio::spawn({
        let version = version.clone();
        async move { ok(&version, "/?ms=600000").await }
    });
    while !version.is_loaded() {
        tokio::task::yield_now().await;
    }
    pass_hours(&node.runtime, 1..4);
    assert!(version.is_loaded());
    // Another version's code does not push it out either.
    ok(&node.version("hello-v1", FunctionConfig::default()), "/").await;
    assert!(version.is_loaded());
    assert!(!response.is_finished());
}

#[tokio::test]
async fn budget_gives_up_what_was_used_longest_ago() {
    let measured = with_budget(1 << 30);
    let first = measured.add_version(&marked("hello-v1", 1));
    first.load().await.unwrap();
    let bytes = measured.runtime.code_bytes();

    let node = with_budget(bytes * 5 / 2);
    let versions: Vec<_> = (1..=3).map(|mark| node.add_version(&marked("hello-v1", mark))).collect();
    let clock = |ms| Duration::from_millis(ms);
    let codes = &node.runtime.node.codes;
    for (version, at) in versions.iter().zip([3, 1, 2]) {
        // The third one does not fit beside the others.
        codes.load(&version.code, clock(at), None, Arc::new(|_| {})).await.unwrap();
    }
    let loaded: Vec<_> = versions.iter().map(|version| version.is_loaded()).collect();
    assert_eq!(loaded, [true, false, true]);
    assert!(codes.bytes() <= bytes * 5 / 2);
    assert_eq!(ok(&versions[1], "/").await, "hello from v1\n");
    assert!(versions[1].is_loaded() && !versions[2].is_loaded());
}

#[tokio::test]
async fn code_in_use_may_exceed_the_budget() {
    let node = with_budget(1);
    let versions: Vec<_> = (1..=2).map(|mark| node.add_version(&marked("hello-v1", mark))).collect();
    for version in &versions {
        ok(version, "/").await;
    }
    assert!(versions.iter().all(|version| version.is_loaded()));
    let hour = until_given_up(&node.runtime, &versions[0], 1).await;
    until_given_up(&node.runtime, &versions[1], hour).await;
}

#[tokio::test]
async fn requests_that_come_at_once_share_one_load() {
    let node = with_budget(1 << 30);
    let version = node.version("hello-v1", FunctionConfig::default());
    let other = node.version("hello-v1", FunctionConfig::default());
    let compiled = Arc::new(AtomicUsize::new(0));
    let progress: Arc<dyn Fn(PrepareProgress) + Send + Sync> = {
        let compiled = compiled.clone();
        Arc::new(move |at| {
            compiled.fetch_add(usize::from(at.step == PrepareStep::Compiling), Relaxed);
        })
    };
    let codes = &node.runtime.node.codes;
    let loads = (0..50).map(|at| {
        let version = if at % 2 == 0 { &version } else { &other };
        codes.load(&version.code, Duration::ZERO, None, progress.clone())
    });
    let loaded = futures_util::future::try_join_all(loads).await.unwrap();
    assert!(loaded.iter().all(|mapped| Arc::ptr_eq(mapped, &loaded[0])));
    assert_eq!(compiled.load(Relaxed), 1);
}

/// A request that meets whatever there is of its version's code.
async fn at_once(version: &Arc<Version>) -> Result<(), Fault> {
    let request = Request::post("/").header("host", "test").body(Full::new(Bytes::new())).unwrap();
    version.clone().invoke(invocation(request)).await.map(drop).map_err(|failed| failed.fault)
}

#[tokio::test]
async fn requests_do_not_wait_for_the_compiler() {
    let node = with_budget(1 << 30);
    let limit = |limits: &mut Limits| limits.timeout = Duration::from_secs(3600);
    let version = node.version("hello-v1", limits(limit));
    let refusals = futures_util::future::join_all((0..8).map(|_| at_once(&version))).await;
    for refusal in refusals {
        assert!(matches!(refusal, Err(Fault::NotReady { .. })), "{refusal:?}");
    }
    // It was made for them all the same.
    while !version.is_loaded() {
        tokio::task::yield_now().await;
    }
    assert_eq!(at_once(&version).await, Ok(()));
    until_given_up(&node.runtime, &version, 1).await;
    assert_eq!(at_once(&version).await, Ok(()), "the cache is waited for");
}

#[tokio::test]
async fn request_whose_time_passes_before_its_code_is_there_ran_no_guest() {
    let node = with_budget(1 << 30);
    let version = node.version("hello-v1", limits(|limits| limits.timeout = Duration::from_millis(1)));
    version.compile().await.unwrap();
    until_given_up(&node.runtime, &version, 1).await;
    let _held = node.runtime.node.codes.hold_loads().await;
    assert!(matches!(at_once(&version).await, Err(Fault::NotReady { .. })));
}

#[tokio::test]
async fn component_that_cannot_be_compiled_is_not_tried_for_every_request() {
    let node = with_budget(1 << 30);
    let version = node.version("hello-v1", FunctionConfig::default());
    let source = node.dir.path().join("blobs").join(version.component().to_string());
    fs::remove_file(&source).unwrap();
    assert!(version.compile().await.is_err());
    fs::write(&source, prebuilt("hello-v1")).unwrap();
    assert!(matches!(at_once(&version).await, Err(Fault::Internal { .. })), "as it was found");
    version.compile().await.unwrap();
    assert_eq!(at_once(&version).await, Ok(()));
}

#[tokio::test]
async fn what_has_to_be_compiled_is_known() {
    let node = with_budget(1 << 30);
    let (there, gone) = (node.add(&marked("hello-v1", 1)), node.add(&marked("hello-v1", 2)));
    node.prepare(&marked("hello-v1", 1), &FunctionConfig::default()).await.unwrap();
    assert_eq!(node.runtime.missing(vec![there, gone]).await, [gone]);
    let whom = ForVersion { function: "shop".parse().unwrap(), version: VersionNo::FIRST };
    node.runtime.compile(gone, Some(whom)).await.unwrap();
    assert_eq!(node.runtime.missing(vec![there, gone]).await, []);
}

#[tokio::test]
async fn load_goes_on_when_the_request_gives_up() {
    let node = with_budget(1 << 30);
    let version = node.version("hello-v1", FunctionConfig::default());
    let mut given_up = Box::pin(version.load());
    assert!(futures_util::poll!(&mut given_up).is_pending());
    drop(given_up);
    while !version.is_loaded() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn cache_that_is_damaged_while_the_node_runs_is_made_again() {
    let node = with_budget(1 << 30);
    let version = node.version("hello-v1", FunctionConfig::default());
    let dir = node.dir.path();
    ok(&version, "/").await;
    let whole = fs::read(artifact(dir, "cwasm")).unwrap();

    let damages: [Damage; 5] = [
        ("truncated in place", &|path| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(whole.len() as u64 / 2).unwrap();
        }),
        ("emptied in place", &|path| drop(fs::File::create(path).unwrap())),
        ("written to in place", &|path| {
            use std::os::unix::fs::FileExt;
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.write_all_at(&[0xcc; 4096], whole.len() as u64 / 2).unwrap();
        }),
        ("swapped for another", &|path| {
            fs::remove_file(path).unwrap();
            fs::write(path, b"\x7fELF").unwrap();
        }),
        ("deleted", &|path| fs::remove_dir_all(path.parent().unwrap()).unwrap()),
    ];
    let mut hour = 1;
    for (what, damage) in damages {
        damage(&artifact(dir, "cwasm"));
        // What is loaded is not touched by it.
        assert_eq!(ok(&version, "/").await, "hello from v1\n", "{what}");
        hour = until_given_up(&node.runtime, &version, hour).await;
        let refused = at_once(&version).await;
        assert!(matches!(refused, Err(Fault::NotReady { .. })), "{what}: {refused:?}");
        version.load().await.unwrap();
        assert_eq!(ok(&version, "/").await, "hello from v1\n", "{what}");
        assert_eq!(fs::read(artifact(dir, "cwasm")).unwrap(), whole, "{what}");
    }
    fs::remove_file(artifact(dir, "mac")).unwrap();
    until_given_up(&node.runtime, &version, hour).await;
    version.load().await.unwrap();
    assert_eq!(ok(&version, "/").await, "hello from v1\n");
}

#[tokio::test]
async fn component_that_is_gone_with_its_artefact_is_an_error_until_it_is_back() {
    let node = with_budget(1 << 30);
    let version = node.version("hello-v1", FunctionConfig::default());
    let source = node.dir.path().join("blobs").join(node.add(&prebuilt("hello-v1")).to_string());
    fs::remove_file(&source).unwrap();
    assert!(matches!(version.load().await, Err(PrepareError::Io { .. })));
    let failed = call(&version, "/", b"").await.map(drop).unwrap_err();
    assert!(matches!(failed.fault, Fault::Internal { .. }), "{failed:?}");
    fs::write(&source, prebuilt("hello-v1")).unwrap();
    assert_eq!(ok(&version, "/").await, "hello from v1\n");
}

#[tokio::test]
async fn what_was_prepared_is_loaded_for_its_traffic_and_nothing_is_after_a_restart() {
    let node = with_budget(1 << 30);
    node.prepare(&prebuilt("hello-v1"), &FunctionConfig::default()).await.unwrap();
    assert!(node.version("hello-v1", FunctionConfig::default()).is_loaded());

    let again = Node { runtime: start_with(node.dir.path(), |_| {}), dir: node.dir };
    let version = again.version("hello-v1", FunctionConfig::default());
    version.compile().await.unwrap();
    assert!(!version.is_loaded(), "its artefact is there");
    assert_eq!(again.runtime.code_bytes(), 0);
    fs::remove_dir_all(again.dir.path().join("artifacts")).unwrap();
    version.compile().await.unwrap();
    assert!(artifact(again.dir.path(), "cwasm").exists());
}

#[tokio::test]
async fn a_version_that_makes_nothing_ahead_is_looked_at_once_a_second() {
    let node = Node::start();
    let version = node.version("hello-v1", FunctionConfig::default());
    ok(&version, "/").await;
    // The mean of so many is a microsecond, whatever the first start took.
    version.pool.record_starts(1000, Duration::from_millis(1));
    let node = &node.runtime.node;
    let begun = node.now() + Duration::from_secs(10);
    node.maintain_all(begun);
    assert!(version.pool.is_passive());
    version.pool.keep_until(begun + Duration::from_secs(60));
    node.maintain_all(begun + Duration::from_millis(900));
    assert!(version.pool.is_passive());
    node.maintain_all(begun + Duration::from_secs(1));
    assert!(!version.pool.is_passive());
    version.pool.keep_until(Duration::ZERO);
    node.maintain_all(begun + Duration::from_millis(1100));
    assert!(version.pool.is_passive(), "what is not passive is looked at each time");
}
