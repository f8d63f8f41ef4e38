//! The artefact cache: native code on disk, by component and engine, authenticated and copied before it runs.
//!
//! Native code runs with the process's rights, so a file is loaded only when its keyed hash (BLAKE3)
//! was made with the key of this data directory. The hash covers the file's name too, which holds
//! the component's digest, the engine's compatibility hash and the kind of guest: code cannot be passed
//! off as another's, and a cached component is called without looking at its source again.
//!
//! Code is not run from its file: a file that is truncated while it is mapped kills the process, and one that
//! is written to after it was hashed is other code.

use std::{
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::fs::OpenOptionsExt,
    },
    path::{Path, PathBuf},
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use wasm_fn_core::Digest;
use wasmtime::{Engine, Module, component::Component};

use crate::kind::Kind;

const KEY_BYTES: usize = 32;

/// How much of a file is read, hashed and copied at once: it stays in the processor's cache meanwhile.
const PIECE_BYTES: usize = 128 << 10;

/// Kinds that an artefact may be of.
const KINDS: [Kind; 3] = [Kind::Http02, Kind::Http03, Kind::Command];

/// Native code by component digest.
pub(crate) struct Artifacts {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// Changes when the engine, its settings, the processor's features or the way of fusing do.
    engine: u64,
}

impl Artifacts {
    /// Opens the cache in `data_dir`, making its folder and key when they are missing.
    pub(crate) fn open(data_dir: &Path, engine: &Engine) -> io::Result<Self> {
        let dir = data_dir.join("artifacts");
        fs::create_dir_all(&dir)?;
        let key = read_or_make_key(&data_dir.join("artifact.key"))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        wasm_fn_fuse::VERSION.hash(&mut hasher);
        Ok(Self { dir, key, engine: hasher.finish() })
    }

    fn name(&self, digest: Digest, kind: Kind) -> String {
        let kind = match kind {
            Kind::Http02 => "http02",
            Kind::Http03 => "http03",
            Kind::Command => "command",
        };
        format!("{digest}-{:016x}-{kind}", self.engine)
    }

    fn authenticate(&self, name: &str) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes()).update(b"\n");
        hasher
    }

    /// The kind and code of `digest`; `None` when there is none that can be trusted.
    pub(crate) fn load(&self, digest: Digest) -> Option<(Kind, Code)> {
        KINDS.into_iter().find_map(|kind| Some((kind, self.load_as(digest, kind)?)))
    }

    /// Whether there is a file that [`load`](Self::load) would look at.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        KINDS.into_iter().any(|kind| self.path(&self.name(digest, kind)).exists())
    }

    fn load_as(&self, digest: Digest, kind: Kind) -> Option<Code> {
        self.load_by(&self.name(digest, kind))
    }

    fn load_by(&self, name: &str) -> Option<Code> {
        let file = File::open(self.path(name)).ok()?;
        match self.authentic_copy(name, file) {
            Ok(code) => Some(code),
            Err(reason) => {
                tracing::warn!(artifact = name, reason, "artefact refused, compiling again");
                None
            }
        }
    }

    fn authentic_copy(&self, name: &str, file: File) -> Result<Code, String> {
        let mac = fs::read(self.path(name).with_extension("mac"));
        let mac = mac.map_err(|error| format!("its hash: {error}"))?;
        let mac = <[u8; 32]>::try_from(mac)
            .map_err(|mac| format!("its hash has {} bytes, expected 32", mac.len()))?;
        let mut hasher = self.authenticate(name);
        let code = Code::copy(name, file, |part| {
            hasher.update(part);
        });
        let code = code.map_err(|error| error.to_string())?;
        // `blake3::Hash` compares in constant time.
        if hasher.finalize() != mac {
            return Err("it does not match its hash".to_owned());
        }
        Ok(code)
    }

    /// Keeps `code`; a crash in the middle leaves no file that [`load`](Self::load) accepts.
    pub(crate) fn store(&self, digest: Digest, kind: Kind, code: &[u8]) -> io::Result<()> {
        self.store_by(&self.name(digest, kind), code)
    }

    /// The code of `module`, which is the node's own: kept, or else compiled, and then kept.
    ///
    /// # Errors
    /// It is no valid module, or there is no memory for its code.
    pub(crate) fn own(&self, engine: &Engine, module: &[u8]) -> io::Result<Code> {
        let name = format!("{}-{:016x}-own", blake3::hash(module), self.engine);
        if let Some(code) = self.load_by(&name) {
            return Ok(code);
        }
        let serialized = engine.precompile_module(module).map_err(io::Error::other)?;
        if let Err(error) = self.store_by(&name, &serialized) {
            tracing::warn!(artifact = %name, %error, "artefact not cached");
        }
        Code::copy(&name, serialized.as_slice(), |_| {})
    }

    fn store_by(&self, name: &str, code: &[u8]) -> io::Result<()> {
        let mac = self.authenticate(name).update(code).finalize();
        let path = self.path(name);
        // Operators may delete the folder at any time.
        fs::create_dir_all(&self.dir)?;
        replace(&path.with_extension("mac"), mac.as_bytes())?;
        replace(&path, code)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("cwasm")
    }
}

/// Native code in sealed memory: nobody can change or shorten it, whatever happens to the file it came from.
pub(crate) struct Code {
    memory: OwnedFd,
    bytes: u64,
}

impl Code {
    /// A copy of what `from` gives, told to `part` piece by piece.
    pub(crate) fn copy(name: &str, mut from: impl Read, mut part: impl FnMut(&[u8])) -> io::Result<Self> {
        let memory = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut file = File::from(memory);
        let (mut piece, mut bytes) = (vec![0; PIECE_BYTES], 0);
        loop {
            let read = match from.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            part(&piece[..read]);
            file.write_all(&piece[..read])?;
            bytes += read as u64;
        }
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok(Self { memory: file.into(), bytes })
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Maps it.
    pub(crate) fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let path = format!("/proc/self/fd/{}", self.memory.as_raw_fd());
        // SAFETY: the code was made by this engine's own compiler, by this process or by one whose key for this
        // data directory its hash proves; since it was hashed nobody could change it.
        #[expect(unsafe_code, reason = "native code has no safe loader; the keyed hash stands in for it")]
        unsafe {
            Component::deserialize_file(engine, path)
        }
    }

    /// Maps what [`Artifacts::own`] gave; every time another module to the engine.
    pub(crate) fn module(&self, engine: &Engine) -> wasmtime::Result<Module> {
        let path = format!("/proc/self/fd/{}", self.memory.as_raw_fd());
        // SAFETY: as for a component.
        #[expect(unsafe_code, reason = "native code has no safe loader; the keyed hash stands in for it")]
        unsafe {
            Module::deserialize_file(engine, path)
        }
    }
}

/// The code that `engine` makes of `component`, which is valid or refused.
pub(crate) fn compile(engine: &Engine, name: &str, component: &[u8]) -> wasmtime::Result<(Vec<u8>, Code)> {
    let serialized = engine.precompile_component(component)?;
    let code = Code::copy(name, serialized.as_slice(), |_| {})?;
    Ok((serialized, code))
}

/// Writes beside `path` and renames, so that readers see the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unique = rand::random::<u64>();
    let temporary = path.with_extension(format!("{unique:016x}.tmp"));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The rename did not happen; what is left is only a temporary.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match File::open(path) {
        Ok(mut file) => {
            let mut key = [0; KEY_BYTES];
            file.read_exact(&mut key)?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key: [u8; KEY_BYTES] = rand::random();
            replace(path, &key)?;
            Ok(key)
        }
        Err(error) => Err(error),
    }
}
