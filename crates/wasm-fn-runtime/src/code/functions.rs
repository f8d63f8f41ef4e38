//! Compiled functions on disk, so that a component that has most of its functions in common with another, as
//! two programs on one interpreter do, is compiled in a fraction of the time.
//!
//! The compiler asks for each function by a key that covers everything its code depends on: the function,
//! the compiler's version, and its settings. What it did not find it hands over, and all of that is kept as
//! one file, a *pack*. Native code runs with the rights of the process. So code is found only if its keyed
//! hash, which covers its key, too, was made with the key of this data directory.

use std::{
    borrow::Cow,
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, futimens};
use wasmtime::CacheStore;

use super::artifacts::replace;

/// Bytes of all packs, at most. The functions of an interpreter take 20 to 50 MB.
const BYTES_MAX: u64 = 256 << 20;

/// Bytes of the functions that one compilation may add. Further ones are not kept.
const FRESH_BYTES_MAX: usize = 96 << 20;

/// Functions of a pack, at most.
const ENTRIES_MAX: u64 = 1 << 20;

/// What a pack begins with. It changes with the format.
const MAGIC: [u8; 8] = *b"wfnpack1";

/// The extension of packs.
const EXTENSION: &str = "pack";

const HASH_BYTES: usize = 32;

/// Bytes of an entry: the key, the keyed hash, and where the code is: offset and length, 32 bits each,
/// little-endian.
const ENTRY_BYTES: usize = 2 * HASH_BYTES + 2 * size_of::<u32>();

/// Bytes before the entries: [`MAGIC`], and their number, 64 bits, little-endian.
const HEAD_BYTES: usize = MAGIC.len() + size_of::<u64>();

/// What the compiler names a function by.
type FunctionKey = [u8; HASH_BYTES];

/// The compiled functions in a data directory.
#[derive(Debug)]
pub(crate) struct CompiledFunctions {
    dir: PathBuf,
    key: [u8; HASH_BYTES],
    bytes_max: u64,
    // Invariant: there are packs only while there are sessions.
    open: RwLock<OpenPacks>,
    fresh: Mutex<FreshFunctions>,
    found: AtomicU64,
}

/// The packs that compilations look into.
#[derive(Debug, Default)]
struct OpenPacks {
    sessions: usize,
    packs: Vec<Pack>,
    index: HashMap<FunctionKey, Place>,
}

#[derive(Debug)]
struct Pack {
    path: PathBuf,
    file: File,
    is_used: AtomicBool,
}

/// Where the code of a function is.
#[derive(Clone, Copy, Debug)]
struct Place {
    pack: usize,
    mac: [u8; HASH_BYTES],
    at: u32,
    bytes: u32,
}

/// Functions that are in no pack yet.
#[derive(Debug, Default)]
struct FreshFunctions {
    functions: Vec<(FunctionKey, Vec<u8>)>,
    bytes: usize,
}

/// A compilation that looks functions up.
#[derive(Debug)]
pub(crate) struct Session<'a>(&'a CompiledFunctions);

impl CompiledFunctions {
    /// The functions in `data_dir`, authenticated by a key that is derived from `key`.
    pub(crate) fn new(data_dir: &Path, key: &[u8; HASH_BYTES]) -> Arc<Self> {
        Self::bounded(data_dir, key, BYTES_MAX)
    }

    fn bounded(data_dir: &Path, key: &[u8; HASH_BYTES], bytes_max: u64) -> Arc<Self> {
        Arc::new(Self {
            dir: data_dir.join("functions"),
            key: blake3::derive_key("wasm-fn compiled functions", key),
            bytes_max,
            open: RwLock::default(),
            fresh: Mutex::default(),
            found: AtomicU64::new(0),
        })
    }

    /// Begins a compilation. Until it ends, functions are found. Blocks.
    pub(crate) fn begin(&self) -> Session<'_> {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        if open.sessions == 0 {
            *open = OpenPacks::read(&self.dir);
        }
        open.sessions += 1;
        Session(self)
    }

    /// Functions that were found since the start.
    #[cfg(test)]
    pub(crate) fn found(&self) -> u64 {
        self.found.load(Relaxed)
    }

    fn fresh(&self) -> MutexGuard<'_, FreshFunctions> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keyed hash of `code` as the code of the function `key`.
    fn mac(&self, key: &FunctionKey, code: &[u8]) -> blake3::Hash {
        blake3::Hasher::new_keyed(&self.key).update(key).update(code).finalize()
    }

    /// Writes the fresh functions to a pack of their own, and removes packs that were not used for long.
    fn keep_fresh(&self) -> io::Result<()> {
        let FreshFunctions { functions, .. } = std::mem::take(&mut *self.fresh());
        if functions.is_empty() {
            return Ok(());
        }
        // Operators may delete the folder at any time.
        fs::create_dir_all(&self.dir)?;
        let entries_bytes = HEAD_BYTES + functions.len() * ENTRY_BYTES;
        let code_bytes: usize = functions.iter().map(|(_, code)| code.len()).sum();
        let mut pack = Vec::with_capacity(entries_bytes + code_bytes);
        pack.extend(MAGIC);
        pack.extend((functions.len() as u64).to_le_bytes());
        let mut at = entries_bytes;
        for (key, code) in &functions {
            let place = [at, code.len()].map(|number| u32::try_from(number).map(u32::to_le_bytes));
            let [Ok(from), Ok(bytes)] = place else { return Err(io::ErrorKind::FileTooLarge.into()) };
            pack.extend(key);
            pack.extend(self.mac(key, code).as_bytes());
            pack.extend(from);
            pack.extend(bytes);
            at += code.len();
        }
        for (_, code) in functions {
            pack.extend(code);
        }
        let name = format!("{:016x}", rand::random::<u64>());
        replace(&self.dir.join(name).with_extension(EXTENSION), &pack)?;
        self.evict()
    }

    /// Removes the packs that were not used for longest, until the rest takes at most `bytes_max`.
    fn evict(&self) -> io::Result<()> {
        let mut packs = Vec::new();
        for path in pack_paths(&self.dir) {
            // Another process may have removed it.
            let Ok(metadata) = path.metadata() else { continue };
            packs.push((metadata.modified()?, metadata.len(), path));
        }
        packs.sort();
        let mut bytes: u64 = packs.iter().map(|(_, bytes, _): &(SystemTime, _, _)| bytes).sum();
        for (_, size, path) in packs {
            if bytes <= self.bytes_max {
                break;
            }
            fs::remove_file(&path)?;
            bytes -= size;
        }
        Ok(())
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let functions = self.0;
        let mut open = functions.open.write().unwrap_or_else(PoisonError::into_inner);
        open.sessions -= 1;
        for pack in &open.packs {
            if pack.is_used.swap(false, Relaxed) {
                let (now, kept) = (timestamp(UTIME_NOW), timestamp(UTIME_OMIT));
                // Then it is removed earlier than others.
                let _ = futimens(&pack.file, &Timestamps { last_access: kept, last_modification: now });
            }
        }
        if open.sessions == 0 {
            *open = OpenPacks::default();
            drop(open);
            if let Err(error) = functions.keep_fresh() {
                tracing::warn!(%error, "compiled functions are not kept for the next component");
            }
        }
    }
}

/// A time stamp with a special meaning.
fn timestamp(meaning: i64) -> Timespec {
    Timespec { tv_sec: 0, tv_nsec: meaning }
}

fn pack_paths(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|is| is == EXTENSION))
}

impl OpenPacks {
    /// The packs in `dir`. Those that cannot be read are left out.
    fn read(dir: &Path) -> Self {
        let mut open = Self::default();
        for path in pack_paths(dir) {
            if let Err(error) = open.add(&path) {
                tracing::warn!(pack = %path.display(), %error, "compiled functions cannot be used");
            }
        }
        open
    }

    fn add(&mut self, path: &Path) -> io::Result<()> {
        let malformed = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
        let file = File::open(path)?;
        let file_bytes = file.metadata()?.len();
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0)?;
        let (magic, count) = head.split_at(MAGIC.len());
        let count = u64::from_le_bytes(count.try_into().expect("the rest of the head"));
        let entries_bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(ENTRY_BYTES));
        let entries_bytes = entries_bytes
            .filter(|&bytes| count <= ENTRIES_MAX && (HEAD_BYTES + bytes) as u64 <= file_bytes)
            .filter(|_| magic == MAGIC)
            .ok_or_else(|| malformed(format!("it is no pack: {count} entries in {file_bytes} bytes")))?;
        let mut entries = vec![0; entries_bytes];
        file.read_exact_at(&mut entries, HEAD_BYTES as u64)?;
        let pack = self.packs.len();
        let (entries, _) = entries.as_chunks::<ENTRY_BYTES>();
        for entry in entries {
            let (key, rest) = entry.split_first_chunk().expect("an entry");
            let (mac, rest) = rest.split_first_chunk().expect("an entry");
            let (at, bytes) = rest.split_first_chunk().expect("an entry");
            let bytes = u32::from_le_bytes(bytes.try_into().expect("an entry"));
            let at = u32::from_le_bytes(*at);
            if u64::from(at) + u64::from(bytes) > file_bytes {
                return Err(malformed(format!("code ends behind its {file_bytes} bytes")));
            }
            self.index.insert(*key, Place { pack, mac: *mac, at, bytes });
        }
        self.packs.push(Pack { path: path.to_owned(), file, is_used: AtomicBool::new(false) });
        Ok(())
    }
}

impl CacheStore for CompiledFunctions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key: &FunctionKey = key.try_into().ok()?;
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let place = *open.index.get(key)?;
        let pack = &open.packs[place.pack];
        let mut code = vec![0; place.bytes as usize];
        pack.file.read_exact_at(&mut code, place.at.into()).ok()?;
        // `blake3::Hash` compares in constant time.
        if self.mac(key, &code) != place.mac {
            tracing::warn!(pack = %pack.path.display(), "a compiled function does not match its hash");
            return None;
        }
        pack.is_used.store(true, Relaxed);
        self.found.fetch_add(1, Relaxed);
        Some(code.into())
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = key.try_into() else { return false };
        let mut fresh = self.fresh();
        let bytes = fresh.bytes + value.len();
        if bytes > FRESH_BYTES_MAX || fresh.functions.len() as u64 >= ENTRIES_MAX {
            return false;
        }
        fresh.bytes = bytes;
        fresh.functions.push((key, value));
        true
    }
}

#[cfg(test)]
mod tests;
