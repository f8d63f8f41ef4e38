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
    sync::Arc,
};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use wasm_fn_core::Digest;
use wasm_fn_memory::{Image, Memories};
use wasmtime::{Engine, component::Component};

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

    /// The kind and artefact of `digest`; `None` when there is none that can be trusted.
    pub(crate) fn load(&self, digest: Digest) -> Option<(Kind, Artifact)> {
        KINDS.into_iter().find_map(|kind| Some((kind, self.load_as(digest, kind)?)))
    }

    /// Whether there is a file that [`load`](Self::load) would look at.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        KINDS.into_iter().any(|kind| self.path(&self.name(digest, kind)).exists())
    }

    fn load_as(&self, digest: Digest, kind: Kind) -> Option<Artifact> {
        let name = &self.name(digest, kind);
        let file = File::open(self.path(name)).ok()?;
        match self.authentic_copy(name, file) {
            Ok(artifact) => Some(artifact),
            Err(reason) => {
                tracing::warn!(artifact = name, reason, "artefact refused, compiling again");
                None
            }
        }
    }

    fn authentic_copy(&self, name: &str, file: File) -> Result<Artifact, String> {
        let mac = fs::read(self.path(name).with_extension("mac"));
        let mac = mac.map_err(|error| format!("its hash: {error}"))?;
        let mac = <[u8; 32]>::try_from(mac)
            .map_err(|mac| format!("its hash has {} bytes, expected 32", mac.len()))?;
        let mut hasher = self.authenticate(name);
        let artifact = Artifact::read(name, file, |part| {
            hasher.update(part);
        });
        let artifact = artifact.map_err(|error| error.to_string())?;
        // `blake3::Hash` compares in constant time.
        if hasher.finalize() != mac {
            return Err("it does not match its hash".to_owned());
        }
        Ok(artifact)
    }

    /// Keeps `compiled`; a crash in the middle leaves no file that [`load`](Self::load) accepts.
    pub(crate) fn store(&self, digest: Digest, kind: Kind, compiled: &Compiled) -> io::Result<()> {
        let name = self.name(digest, kind);
        let mac = self.authenticate(&name).update(&compiled.bytes).finalize();
        let path = self.path(&name);
        // Operators may delete the folder at any time.
        fs::create_dir_all(&self.dir)?;
        replace(&path.with_extension("mac"), mac.as_bytes())?;
        replace(&path, &compiled.bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("cwasm")
    }
}

/// What a component was compiled to, as its file has it: the size of its native code and the address of its image, 64
/// bits each, little-endian; the code; and the image, which is what its memories begin with, unless the code says it.
pub(crate) struct Compiled {
    bytes: Vec<u8>,
}

/// Bytes of each of the two numbers before the code.
const NUMBER_BYTES: usize = size_of::<u64>();

impl Compiled {
    /// Compiles `component`, which is valid or refused.
    pub(crate) fn new(engine: &Engine, component: &[u8]) -> wasmtime::Result<Self> {
        let apart = wasm_fn_fuse::take_data(component, wasm_fn_memory::page_bytes());
        let without = apart.as_ref().map_or(component, |apart| &apart.component);
        let code = engine.precompile_component(without)?;
        let (start, image) = apart.map_or((0, Vec::new()), |apart| (apart.start, apart.data));
        let numbers = [code.len() as u64, start as u64].map(u64::to_le_bytes);
        Ok(Self { bytes: [numbers.as_flattened(), &code, &image].concat() })
    }

    /// The same in sealed memory.
    pub(crate) fn artifact(&self, name: &str) -> io::Result<Artifact> {
        Artifact::read(name, self.bytes.as_slice(), |_| {})
    }
}

/// A compiled component that can be run.
pub(crate) struct Artifact {
    code: Sealed,
    image: Sealed,
    /// Where in a memory the image lies.
    image_start: u64,
}

impl Artifact {
    /// What `from` has, told to `part` piece by piece.
    fn read(name: &str, mut from: impl Read, mut part: impl FnMut(&[u8])) -> io::Result<Self> {
        let mut numbers = [[0; NUMBER_BYTES]; 2];
        from.read_exact(numbers.as_flattened_mut())?;
        part(numbers.as_flattened());
        let [code_bytes, image_start] = numbers.map(u64::from_le_bytes);
        let code = Sealed::copy(name, from.by_ref().take(code_bytes), &mut part)?;
        let image = Sealed::copy(&format!("{name}-image"), from, part)?;
        Ok(Self { code, image, image_start })
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        self.code.bytes + self.image.bytes
    }

    /// Maps the code.
    pub(crate) fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let path = format!("/proc/self/fd/{}", self.code.memory.as_raw_fd());
        // SAFETY: the code was made by this engine's own compiler, by this process or by one whose key for this
        // data directory its hash proves; since it was hashed nobody could change it.
        #[expect(unsafe_code, reason = "native code has no safe loader; the keyed hash stands in for it")]
        unsafe {
            Component::deserialize_file(engine, path)
        }
    }

    /// What its memories begin with.
    pub(crate) fn image(self, memories: &Arc<Memories>) -> io::Result<Arc<Image>> {
        if self.image.bytes == 0 {
            return Ok(Image::blank(memories));
        }
        let number = |number: u64| usize::try_from(number).map_err(io::Error::other);
        let (start, bytes) = (number(self.image_start)?, number(self.image.bytes)?);
        Image::new(memories, self.image.memory, start, bytes).map_err(io::Error::other)
    }
}

/// Bytes in sealed memory: nobody can change or shorten them, whatever happens to the file they came from.
struct Sealed {
    memory: OwnedFd,
    bytes: u64,
}

impl Sealed {
    /// A copy of what `from` gives, told to `part` piece by piece.
    fn copy(name: &str, mut from: impl Read, mut part: impl FnMut(&[u8])) -> io::Result<Self> {
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
