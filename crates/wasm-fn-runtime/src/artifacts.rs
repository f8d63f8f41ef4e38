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
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Write as _},
    ops::Range,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use blake3::Hash;
use wasm_fn_core::Digest;
use wasm_fn_memory::{Image, Memories};
use wasmtime::{Engine, component::Component};

use crate::{
    kind::Kind,
    sealed::{Sealed, Source, pieces},
};

const KEY_BYTES: usize = 32;

/// Changes when what a file has, or its hash, is made in another way.
const FORMAT: u32 = 2;

/// Kinds that an artefact may be of.
const KINDS: [Kind; 3] = [Kind::Http02, Kind::Http03, Kind::Command];

/// Native code by component digest.
pub(crate) struct Artifacts {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// Changes when the engine, its settings, the processor's features, the way of fusing or the format do.
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
        FORMAT.hash(&mut hasher);
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

    /// The hash of the file called `name` whose numbers, and whose pieces of code and image, have these.
    fn authenticate(&self, name: &str, numbers: &[u8], pieces: impl IntoIterator<Item = Hash>) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(name.as_bytes()).update(b"\n").update(numbers);
        for piece in pieces {
            hasher.update(piece.as_bytes());
        }
        hasher.finalize()
    }

    fn hash_piece(&self, piece: &[u8]) -> Hash {
        blake3::keyed_hash(&self.key, piece)
    }

    /// The kind and artefact of `digest`; `None` when there is none that can be trusted.
    pub(crate) fn load(&self, digest: Digest) -> Option<(Kind, Artifact)> {
        KINDS.into_iter().find_map(|kind| Some((kind, self.load_as(digest, kind)?)))
    }

    /// Whether there is a file that [`load`](Self::load) would look at.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        KINDS.into_iter().any(|kind| {
            let path = self.path(&self.name(digest, kind));
            path.exists() && path.with_extension("mac").exists()
        })
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
        let read = || -> io::Result<_> {
            let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
            let mut numbers = Numbers::default();
            file.read_at(0, &mut numbers)?;
            let layout = Layout::new(numbers, bytes)?;
            let (artifact, hashes) = Artifact::copy(name, &file, &layout, |piece| self.hash_piece(piece))?;
            Ok((artifact, self.authenticate(name, &numbers, hashes)))
        };
        let (artifact, found) = read().map_err(|error| error.to_string())?;
        // `blake3::Hash` compares in constant time.
        if found != mac {
            return Err("it does not match its hash".to_owned());
        }
        Ok(artifact)
    }

    /// Keeps `compiled`; a crash in the middle leaves no file that [`load`](Self::load) accepts.
    pub(crate) fn store(&self, digest: Digest, kind: Kind, compiled: &Compiled) -> io::Result<()> {
        let name = self.name(digest, kind);
        let Compiled { bytes, layout } = compiled;
        let parts = [&bytes[layout.code.clone()], &bytes[layout.image.clone()]];
        let hashes = parts.into_iter().flat_map(pieces).map(|piece| self.hash_piece(piece));
        let mac = self.authenticate(&name, &bytes[..NUMBERS_BYTES], hashes);
        let path = self.path(&name);
        // Operators may delete the folder at any time.
        fs::create_dir_all(&self.dir)?;
        replace(&path.with_extension("mac"), mac.as_bytes())?;
        replace(&path, bytes)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name).with_extension("cwasm")
    }
}

/// What a component was compiled to, as its file has it: the size of its native code and the address of its image, 64
/// bits each, little-endian; the code; and the image, which is what its memories begin with, unless the code says it.
pub(crate) struct Compiled {
    bytes: Vec<u8>,
    layout: Layout,
}

/// Bytes of the two numbers before the code.
const NUMBERS_BYTES: usize = 2 * size_of::<u64>();

/// The two numbers.
type Numbers = [u8; NUMBERS_BYTES];

/// Where a file has what.
struct Layout {
    code: Range<usize>,
    image: Range<usize>,
    /// Where in a memory the image lies.
    image_start: usize,
}

impl Layout {
    /// What `numbers` say of a file of `bytes` that begins with them.
    fn new(numbers: Numbers, bytes: usize) -> io::Result<Self> {
        let (numbers, _) = numbers.as_chunks();
        let number = |at: usize| usize::try_from(u64::from_le_bytes(numbers[at])).ok();
        let code_end = number(0).and_then(|code_bytes| NUMBERS_BYTES.checked_add(code_bytes));
        let layout = code_end.filter(|&end| end <= bytes).zip(number(1));
        let (code_end, image_start) = layout
            .ok_or_else(|| io::Error::other(format!("it has {bytes} bytes, fewer than it announces")))?;
        Ok(Self { code: NUMBERS_BYTES..code_end, image: code_end..bytes, image_start })
    }
}

impl Compiled {
    /// Compiles `component`, which is valid or refused.
    pub(crate) fn new(engine: &Engine, component: &[u8]) -> wasmtime::Result<Self> {
        let apart = wasm_fn_fuse::take_data(component, wasm_fn_memory::page_bytes());
        let without = apart.as_ref().map_or(component, |apart| &apart.component);
        let code = engine.precompile_component(without)?;
        let (image_start, image) = apart.map_or((0, Vec::new()), |apart| (apart.start, apart.data));
        let numbers = [code.len() as u64, image_start as u64].map(u64::to_le_bytes);
        let bytes = [numbers.as_flattened(), &code, &image].concat();
        let code_end = NUMBERS_BYTES + code.len();
        let layout = Layout { code: NUMBERS_BYTES..code_end, image: code_end..bytes.len(), image_start };
        Ok(Self { bytes, layout })
    }

    /// The same in sealed memory.
    pub(crate) fn artifact(&self, name: &str) -> io::Result<Artifact> {
        Artifact::copy(name, &self.bytes, &self.layout, |_| ()).map(|(artifact, _)| artifact)
    }
}

/// A compiled component that can be run.
pub(crate) struct Artifact {
    code: Sealed,
    image: Sealed,
    image_start: usize,
}

impl Artifact {
    /// What `file` has, and what `look` makes of each piece of code and image, in their order.
    fn copy<T: Send>(
        name: &str,
        file: &impl Source,
        layout: &Layout,
        look: impl Fn(&[u8]) -> T + Sync,
    ) -> io::Result<(Self, Vec<T>)> {
        let (code, mut seen) = Sealed::copy(name, file, layout.code.clone(), &look)?;
        let (image, others) = Sealed::copy(&format!("{name}-image"), file, layout.image.clone(), &look)?;
        seen.extend(others);
        Ok((Self { code, image, image_start: layout.image_start }, seen))
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.code.bytes() + self.image.bytes()) as u64
    }

    /// Maps the code.
    pub(crate) fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let path = format!("/proc/self/fd/{}", self.code.as_fd().as_raw_fd());
        // SAFETY: the code was made by this engine's own compiler, by this process or by one whose key for this
        // data directory its hash proves; since it was hashed nobody could change it.
        #[expect(unsafe_code, reason = "native code has no safe loader; the keyed hash stands in for it")]
        unsafe {
            Component::deserialize_file(engine, path)
        }
    }

    /// What its memories begin with.
    pub(crate) fn image(self, memories: &Arc<Memories>) -> io::Result<Arc<Image>> {
        let bytes = self.image.bytes();
        if bytes == 0 {
            return Ok(Image::blank(memories));
        }
        Image::new(memories, self.image.into(), self.image_start, bytes).map_err(io::Error::other)
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
