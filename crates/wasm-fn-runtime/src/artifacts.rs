//! The artefact cache: native code on disk, by component and engine, authenticated.
//!
//! Native code runs with the process's rights, so a file is loaded only when its keyed hash (BLAKE3)
//! was made with the key of this data directory. The hash covers the file's name too, which holds
//! the component's digest, the engine's compatibility hash and the kind of guest: code cannot be passed
//! off as another's, and a cached component is called without looking at its source again.

use std::{
    fs::{self, File, OpenOptions},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
};

use wasm_fn_core::Digest;
use wasmtime::{Engine, component::Component};

use crate::kind::Kind;

const KEY_BYTES: usize = 32;

/// Native code by component digest.
pub(crate) struct Artifacts {
    dir: PathBuf,
    key: [u8; KEY_BYTES],
    /// Changes when the engine, its settings or the processor's features do.
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

    /// The kind and code of `digest`, mapped from its file; `None` when there is none that can be trusted.
    pub(crate) fn load(&self, engine: &Engine, digest: Digest) -> Option<(Kind, Component)> {
        let load = |kind| Some((kind, self.load_as(engine, digest, kind)?));
        [Kind::Http02, Kind::Http03, Kind::Command].into_iter().find_map(load)
    }

    fn load_as(&self, engine: &Engine, digest: Digest, kind: Kind) -> Option<Component> {
        let name = self.name(digest, kind);
        let code = self.dir.join(&name).with_extension("cwasm");
        let file = File::open(&code).ok()?;
        match self.load_authentic(engine, &name, file) {
            Ok(component) => Some(component),
            Err(reason) => {
                tracing::warn!(artifact = %name, reason, "artefact refused, compiling again");
                None
            }
        }
    }

    fn load_authentic(&self, engine: &Engine, name: &str, file: File) -> Result<Component, String> {
        let path = self.dir.join(name).with_extension("cwasm");
        let mac = fs::read(path.with_extension("mac")).map_err(|error| format!("its hash: {error}"))?;
        let mac = <[u8; 32]>::try_from(mac)
            .map_err(|mac| format!("its hash has {} bytes, expected 32", mac.len()))?;
        let found =
            self.authenticate(name).update_reader(&file).map_err(|error| error.to_string())?.finalize();
        // `blake3::Hash` compares in constant time.
        if found != mac {
            return Err("it does not match its hash".to_owned());
        }
        // What was hashed is what is mapped: through its descriptor, not its path, where another file
        // may have been put meanwhile.
        let hashed = format!("/proc/self/fd/{}", file.as_raw_fd());
        // SAFETY: the file was made by this engine's own `serialize`, as its keyed hash proves, and
        // lies in the data directory that this process owns.
        #[expect(unsafe_code, reason = "native code has no safe loader; the keyed hash stands in for it")]
        let component = unsafe { Component::deserialize_file(engine, hashed) };
        component.map_err(|error| format!("{error:#}"))
    }

    /// Keeps `code`; a crash in the middle leaves no file that [`load`](Self::load) accepts.
    pub(crate) fn store(&self, digest: Digest, kind: Kind, code: &[u8]) -> io::Result<()> {
        let name = self.name(digest, kind);
        let mac = self.authenticate(&name).update(code).finalize();
        let path = self.dir.join(&name);
        replace(&path.with_extension("mac"), mac.as_bytes())?;
        replace(&path.with_extension("cwasm"), code)
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
