//! Facts about compiled functions on disk.

use super::*;

const SECRET: [u8; HASH_BYTES] = [7; HASH_BYTES];

fn key(number: u8) -> FunctionKey {
    [number; HASH_BYTES]
}

/// The code of function `number` as a compilation finds it.
fn find(functions: &CompiledFunctions, number: u8) -> Option<Vec<u8>> {
    let _session = functions.begin();
    functions.get(&key(number)).map(Cow::into_owned)
}

/// Keeps `code` as that of function `number`, in a pack of its own.
fn keep(functions: &CompiledFunctions, number: u8, code: &[u8]) {
    let _session = functions.begin();
    assert!(functions.insert(&key(number), code.to_vec()));
}

fn packs(functions: &CompiledFunctions) -> Vec<PathBuf> {
    pack_paths(&functions.dir).collect()
}

#[test]
fn functions_are_found_again_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let functions = CompiledFunctions::new(dir.path(), &SECRET);
    assert_eq!(find(&functions, 1), None);
    assert_eq!(packs(&functions), Vec::<PathBuf>::new(), "nothing was new");
    keep(&functions, 1, b"one");
    keep(&functions, 2, b"");
    let again = CompiledFunctions::new(dir.path(), &SECRET);
    assert_eq!(find(&again, 1).unwrap(), b"one");
    assert_eq!(find(&again, 2).unwrap(), b"");
    assert_eq!(find(&again, 3), None);
    assert_eq!(again.found(), 2);
    assert!(again.get(&key(1)).is_none(), "nobody compiles");
}

#[test]
fn two_compilations_at_once_share_the_packs() {
    let dir = tempfile::tempdir().unwrap();
    let functions = CompiledFunctions::new(dir.path(), &SECRET);
    keep(&functions, 1, b"one");
    let (first, second) = (functions.begin(), functions.begin());
    drop(first);
    assert_eq!(functions.get(&key(1)).unwrap(), b"one".as_slice());
    drop(second);
    assert!(functions.get(&key(1)).is_none());
}

#[test]
fn code_of_another_key_or_function_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let functions = CompiledFunctions::new(dir.path(), &SECRET);
    keep(&functions, 1, b"one");
    assert_eq!(find(&CompiledFunctions::new(dir.path(), &[8; HASH_BYTES]), 1), None);
    let pack = &packs(&functions)[0];
    let whole = fs::read(pack).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(pack, changed).unwrap();
        assert_eq!(find(&functions, 1), None, "a bit of byte {at} is another");
    }
    for bytes in 0..whole.len() {
        fs::write(pack, &whole[..bytes]).unwrap();
        assert_eq!(find(&functions, 1), None, "it ends after {bytes} bytes");
    }
    fs::write(pack, whole).unwrap();
    assert_eq!(find(&functions, 1).unwrap(), b"one");
}

#[test]
fn what_was_not_used_for_longest_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let functions = CompiledFunctions::bounded(dir.path(), &SECRET, 3000);
    let age = |number: u8, seconds: i64| {
        let pack = packs(&functions).into_iter().find(|pack| fs::read(pack).unwrap()[HEAD_BYTES] == number);
        let past = Timespec { tv_sec: seconds, tv_nsec: 0 };
        let file = File::open(pack.unwrap()).unwrap();
        futimens(&file, &Timestamps { last_access: past, last_modification: past }).unwrap();
    };
    for number in 1..=2 {
        keep(&functions, number, &[0; 1000]);
        age(number, number.into());
    }
    // The first is the older one, and is used now.
    assert!(find(&functions, 1).is_some());
    keep(&functions, 3, &[0; 1000]);
    let there = [1, 2, 3].map(|number| find(&functions, number).is_some());
    assert_eq!(there, [true, false, true]);
}

#[test]
fn a_compilation_keeps_a_bounded_number_of_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let functions = CompiledFunctions::new(dir.path(), &SECRET);
    let _session = functions.begin();
    assert!(functions.insert(&key(1), vec![0; FRESH_BYTES_MAX]));
    assert!(!functions.insert(&key(2), vec![0]));
    assert!(!functions.insert(b"short", Vec::new()));
}
