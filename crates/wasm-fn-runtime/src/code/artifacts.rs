//! The artefact cache: native code on disk, by component and engine. It is authenticated and copied before it
//! runs.
//!
//! Native code runs with the rights of the process. So a file is loaded only if its keyed hash (BLAKE3) was
//! made with the key of this data directory. The hash also covers the file's name, which contains the
//! component's digest, the engine's compatibility hash and the kind of guest. So the code of one component
//! cannot pass for that of another, and a cached component is called without its source.
//!
//! Code does not run from its file: truncating a mapped file kills the process, and writing to a file after
//! it was hashed changes the code.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Write as _},
    ops::Range,
    os::{
        fd::{AsFd as _, AsRawFd as _},
        unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use blake3::Hash;
use rustix::process::geteuid;
use wasm_fn_core::Digest;
use wasm_fn_memory::{Image, Memories};
use wasmtime::{Engine, component::Component};

use super::{
    kind::{self, Kind},
    sealed::{ReadAt, Sealed, pieces},
};

pub(super) const KEY_BYTES: usize = 32;

/// Changes when the format of files, or of their hashes, changes.
const FORMAT: u32 = 4;

/// The kinds of artefacts.
const KINDS: [Kind; 3] = [Kind::Http02, Kind::Http03, Kind::Command];

/// Native code on disk, by component digest.
pub(crate) struct Artifacts {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// Hashes files: their names, numbers and the hashes of their pieces.
    file_key: [u8; KEY_BYTES],
    /// Hashes pieces. A piece so never passes for a file.
    piece_key: [u8; KEY_BYTES],
    /// Changes with the engine, its settings, the processor's features, the fusing, whether anything is
    /// fused, the preview-1 adapter, the size of a page and the format.
    engine: u64,
}

impl Artifacts {
    /// Opens the cache in `data_dir`. Makes its folder and key if they are missing. `links` says whether what
    /// is kept there may be linked; neither is taken for the other.
    pub(crate) fn open(data_dir: &Path, engine: &Engine, links: bool) -> io::Result<Self> {
        let dir = data_dir.join("artifacts");
        fs::create_dir_all(&dir)?;
        let key = read_or_make_key(&data_dir.join("artifact.key"))?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        wasm_fn_fuse::VERSION.hash(&mut hasher);
        kind::PREVIEW1_VERSION.hash(&mut hasher);
        FORMAT.hash(&mut hasher);
        links.hash(&mut hasher);
        // Images lie at whole pages.
        wasm_fn_memory::page_bytes().hash(&mut hasher);
        let file_key = blake3::derive_key("wasm-fn native code, files", &key);
        let piece_key = blake3::derive_key("wasm-fn native code, pieces", &key);
        Ok(Self { dir, key, file_key, piece_key, engine: hasher.finish() })
    }

    /// The key of the data directory.
    pub(super) fn key(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    fn name(&self, digest: Digest, kind: Kind) -> String {
        let kind = match kind {
            Kind::Http02 => "http02",
            Kind::Http03 => "http03",
            Kind::Command => "command",
        };
        format!("{digest}-{:016x}-{kind}", self.engine)
    }

    /// The hash of the file `name`, from its numbers and the hashes of its pieces of code and image.
    fn authenticate(&self, name: &str, numbers: &[u8], pieces: impl IntoIterator<Item = Hash>) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.file_key);
        hasher.update(name.as_bytes()).update(b"\n").update(numbers);
        for piece in pieces {
            hasher.update(piece.as_bytes());
        }
        hasher.finalize()
    }

    fn hash_piece(&self, piece: &[u8]) -> Hash {
        blake3::keyed_hash(&self.piece_key, piece)
    }

    /// The kind and artefact of `digest`; `None` when there is no trustworthy one.
    pub(crate) fn load(&self, digest: Digest) -> Option<(Kind, Artifact)> {
        KINDS.into_iter().find_map(|kind| Some((kind, self.load_as(digest, kind)?)))
    }

    /// The file of `digest`, for another node whose data directory has the same key; `None` if there is none.
    pub(crate) fn file(&self, digest: Digest) -> Option<NativeCode> {
        KINDS.into_iter().find_map(|kind| {
            let name = self.name(digest, kind);
            let path = self.path(&name);
            let mac = fs::read(path.with_extension("mac")).ok()?.try_into().ok()?;
            path.exists().then_some(NativeCode { name, path, mac })
        })
    }

    /// Whether `name` is that of a file of `digest` that this engine could have written.
    pub(crate) fn is_name_of(&self, digest: Digest, name: &str) -> bool {
        KINDS.into_iter().any(|kind| self.name(digest, kind) == name)
    }

    /// Moves a file to where [`load`](Self::load) finds it.
    ///
    /// # Errors
    /// It does not match its hash, which somebody with another key may have made; the disk fails.
    pub(crate) fn take(&self, code: &NativeCode) -> io::Result<()> {
        // The node is told that it can call the component, so it is not left to the first request.
        let file = File::open(&code.path)?;
        let authentic = self.authentic_copy(&code.name, &file, code.mac);
        authentic.map_err(|reason| io::Error::new(io::ErrorKind::InvalidData, reason))?;
        fs::create_dir_all(&self.dir)?;
        let path = self.path(&code.name);
        replace(&path.with_extension("mac"), &code.mac)?;
        fs::rename(&code.path, path)
    }

    /// Whether there is a file that [`load`](Self::load) would try.
    pub(crate) fn has(&self, digest: Digest) -> bool {
        KINDS.into_iter().any(|kind| {
            let path = self.path(&self.name(digest, kind));
            path.exists() && path.with_extension("mac").exists()
        })
    }

    fn load_as(&self, digest: Digest, kind: Kind) -> Option<Artifact> {
        let name = &self.name(digest, kind);
        let file = File::open(self.path(name)).ok()?;
        let authentic = self.mac(name).and_then(|mac| self.authentic_copy(name, &file, mac));
        match authentic {
            Ok(artifact) => Some(artifact),
            Err(reason) => {
                tracing::warn!(artifact = name, reason, "artefact refused, compiling again");
                None
            }
        }
    }

    /// The hash that was stored with the file `name`.
    fn mac(&self, name: &str) -> Result<[u8; 32], String> {
        let mac = fs::read(self.path(name).with_extension("mac"));
        let mac = mac.map_err(|error| format!("its hash: {error}"))?;
        mac.try_into().map_err(|mac: Vec<u8>| format!("its hash has {} bytes, expected 32", mac.len()))
    }

    fn authentic_copy(&self, name: &str, file: &File, mac: [u8; 32]) -> Result<Artifact, String> {
        let read = || -> io::Result<_> {
            let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
            let mut numbers = Numbers::default();
            file.read_at(0, &mut numbers)?;
            let layout = Layout::new(numbers, bytes)?;
            let (artifact, hashes) = Artifact::copy(name, file, &layout, |piece| self.hash_piece(piece))?;
            Ok((artifact, self.authenticate(name, &numbers, hashes)))
        };
        let (artifact, found) = read().map_err(|error| error.to_string())?;
        // `blake3::Hash` compares in constant time.
        if found != mac {
            return Err("it does not match its hash".to_owned());
        }
        Ok(artifact)
    }

    /// Stores `compiled`. A crash meanwhile leaves no file that [`load`](Self::load) accepts.
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

/// A file with the native code of a component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeCode {
    /// Its name, from the component, the engine with the processor's features, and the kind of guest.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its keyed hash. It is verified whenever the file is loaded.
    pub mac: [u8; 32],
}

/// A compiled component, in the format of its file: the size of its native code, the address of its image,
/// and whether it was fused, 64 bits each, little-endian; the code; and the image, which is the initial
/// content of its memories unless the code contains that.
pub(crate) struct Compiled {
    bytes: Vec<u8>,
    layout: Layout,
}

/// Bytes of the numbers before the code.
const NUMBERS_BYTES: usize = 3 * size_of::<u64>();

/// The numbers.
type Numbers = [u8; NUMBERS_BYTES];

/// The layout of a file.
struct Layout {
    code: Range<usize>,
    image: Range<usize>,
    /// Address of the image in a memory.
    image_start: usize,
    is_fused: bool,
}

impl Layout {
    /// The layout of a file of `bytes` that begins with `numbers`.
    fn new(numbers: Numbers, bytes: usize) -> io::Result<Self> {
        let (numbers, _) = numbers.as_chunks();
        let number = |at: usize| usize::try_from(u64::from_le_bytes(numbers[at])).ok();
        let code_end = number(0).and_then(|code_bytes| NUMBERS_BYTES.checked_add(code_bytes));
        let layout = code_end.filter(|&end| end <= bytes).zip(number(1));
        let (code_end, image_start) = layout
            .ok_or_else(|| io::Error::other(format!("it has {bytes} bytes, fewer than it announces")))?;
        let is_fused = number(2).is_some_and(|fused| fused != 0);
        Ok(Self { code: NUMBERS_BYTES..code_end, image: code_end..bytes, image_start, is_fused })
    }
}

impl Compiled {
    /// Compiles `component`, which may be a fused one, or refuses it if it is invalid.
    pub(crate) fn new(engine: &Engine, component: &[u8], is_fused: bool) -> wasmtime::Result<Self> {
        let apart = wasm_fn_fuse::extract_data(component, wasm_fn_memory::page_bytes());
        let without = apart.as_ref().map_or(component, |apart| &apart.component);
        let code = engine.precompile_component(without)?;
        let (image_start, image) = apart.map_or((0, Vec::new()), |apart| (apart.start, apart.data));
        let numbers = [code.len() as u64, image_start as u64, is_fused.into()].map(u64::to_le_bytes);
        let bytes = [numbers.as_flattened(), &code, &image].concat();
        let code_end = NUMBERS_BYTES + code.len();
        let (code, image) = (NUMBERS_BYTES..code_end, code_end..bytes.len());
        let layout = Layout { code, image, image_start, is_fused };
        Ok(Self { bytes, layout })
    }

    /// Copies it to sealed memory.
    pub(crate) fn artifact(&self, name: &str) -> io::Result<Artifact> {
        Artifact::copy(name, &self.bytes, &self.layout, |_| ()).map(|(artifact, _)| artifact)
    }
}

/// A compiled component that can be run.
pub(crate) struct Artifact {
    code: Sealed,
    image: Sealed,
    image_start: usize,
    is_fused: bool,
}

impl Artifact {
    /// Copies `file`. Also returns the results of `look` for each piece of code and image, in their order.
    fn copy<T: Send>(
        name: &str,
        file: &impl ReadAt,
        layout: &Layout,
        look: impl Fn(&[u8]) -> T + Sync,
    ) -> io::Result<(Self, Vec<T>)> {
        let (code, mut seen) = Sealed::copy(name, file, layout.code.clone(), &look)?;
        let (image, others) = Sealed::copy(&format!("{name}-image"), file, layout.image.clone(), &look)?;
        seen.extend(others);
        let Layout { image_start, is_fused, .. } = *layout;
        Ok((Self { code, image, image_start, is_fused }, seen))
    }

    /// Whether the component was fused before it was compiled.
    pub(crate) fn is_fused(&self) -> bool {
        self.is_fused
    }

    /// Its size in memory.
    pub(crate) fn bytes(&self) -> u64 {
        (self.code.bytes() + self.image.bytes()) as u64
    }

    /// Maps the code.
    pub(crate) fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        let path = format!("/proc/self/fd/{}", self.code.as_fd().as_raw_fd());
        // SAFETY: the code was made by this engine's own compiler, by this process or by one whose key for
        // this data directory its hash proves; since it was hashed nobody could change it.
        #[expect(unsafe_code, reason = "native code has no safe loader; the keyed hash stands in for it")]
        unsafe {
            Component::deserialize_file(engine, path)
        }
    }

    /// The initial content of its memories.
    pub(crate) fn image(self, memories: &Arc<Memories>) -> io::Result<Arc<Image>> {
        let bytes = self.image.bytes();
        if bytes == 0 {
            return Ok(Image::blank(memories));
        }
        Image::new(memories, self.image.into(), self.image_start, bytes).map_err(io::Error::other)
    }
}

/// Writes a temporary file and renames it to `path`, so that readers see either the old file or the new one.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unique = rand::random::<u64>();
    let temporary = path.with_extension(format!("{unique:016x}.tmp"));
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if written.is_err() {
        // The rename did not happen. Only the temporary file is left.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Whoever can read the key can make code that the node runs.
fn check_owner(path: &Path, found: &Metadata) -> io::Result<()> {
    let (mode, uid, own) = (found.permissions().mode() & 0o7777, found.uid(), geteuid().as_raw());
    let refused = |found: String| {
        let path = path.display();
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{path} {found}")))
    };
    if uid != own {
        return refused(format!("belongs to user {uid}, expected user {own}, who runs the node"));
    }
    if mode & 0o077 != 0 {
        // A pod's `fsGroup` gives a volume's files to its group, each time that the volume is mounted.
        let help = if mode & 0o007 == 0 {
            "run `chmod 600` on it, and in Kubernetes set `fsGroupChangePolicy: OnRootMismatch`"
        } else {
            "run `chmod 600` on it"
        };
        return refused(format!("has mode {mode:04o}, expected 0600: {help}"));
    }
    Ok(())
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match File::open(path) {
        Ok(mut file) => {
            check_owner(path, &file.metadata()?)?;
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

#[cfg(test)]
mod tests;
