//! Facts about guests under every way to hold them apart.

use wasm_fn_memory::MemoryReset;

use super::*;

pub(super) const RESETS: [MemoryReset; 3] = [MemoryReset::Discard, MemoryReset::Scan, MemoryReset::Counted];

/// Guests that answer a request without a body, with what they answer.
const ANSWERS: [(&str, &str, &str); 10] = [
    ("hello-v1", "/", "hello from v1\n"),
    ("hello-v2", "/", "hello from v2\n"),
    ("hello-p3", "/", "hello from v1\n"),
    ("c-hello", "/", "hello from C\n"),
    ("as-hello", "/", "hello"),
    ("counter", "/", ""),
    ("stateful", "/", ""),
    ("deep", "/", ""),
    ("cgi", "/", ""),
    ("env", "/", ""),
];

#[tokio::test]
async fn guests_answer_the_same_however_they_are_held_apart() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = BTreeMap::new();
    for link_components in [true, false] {
        for memory_reset in RESETS {
            let isolation = IsolationOptions { memory_reset, audit_resets: 1, link_components };
            // One data directory for all: linked code and other code lie beside each other.
            let runtime = start_with(dir.path(), |options| options.isolation = isolation);
            let node = Shared { runtime, components: dir.path().join("blobs") };
            for (guest, path, begins) in ANSWERS {
                let version = node.version(guest);
                for _ in 0..8 {
                    let answer = get(&version, path).await.map_err(|fault| fault.to_string());
                    if let Ok((_, body)) = &answer {
                        assert!(body.starts_with(begins), "{guest}: {body}");
                    }
                    let before = expected.entry(guest).or_insert_with(|| answer.clone());
                    assert_eq!(*before, answer, "{guest} {isolation:?}");
                }
            }
            // Guests that trap, that compute and that ask for too much: their ends are the same, too.
            for guest in ["trap", "hog", "mute", "broken"] {
                let version = node.version(guest);
                for _ in 0..3 {
                    let answer = get(&version, "/").await.map_err(|fault| fault.to_string());
                    let before = expected.entry(guest).or_insert_with(|| answer.clone());
                    assert_eq!(*before, answer, "{guest} {isolation:?}");
                }
            }
            let found = node.runtime.isolation();
            assert_eq!((found.reset, found.faults), (memory_reset, 0));
            assert!(found.compared > 50, "{found:?}");
        }
    }
}

/// A runtime whose components lie in a folder that others use, too.
struct Shared {
    runtime: Arc<Runtime>,
    components: PathBuf,
}

impl Shared {
    fn version(&self, guest: &str) -> Arc<Version> {
        let bytes = prebuilt(guest);
        let digest = Digest(Sha256::digest(&bytes).into());
        std::fs::write(self.components.join(digest.to_string()), bytes).unwrap();
        self.runtime.version(VersionSpec {
            function: guest.parse().unwrap(),
            stage: StageName::live(),
            version: VersionNo::FIRST,
            digest,
            config: FunctionConfig::default(),
            secrets: SecretSet::none(),
        })
    }
}

#[tokio::test]
async fn the_mark_of_a_fault_goes_with_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let mark = dir.path().join(crate::ISOLATION_FAULT);
    std::fs::write(&mark, []).unwrap();
    let _runtime = start(dir.path(), 2);
    assert!(!mark.exists());
}
