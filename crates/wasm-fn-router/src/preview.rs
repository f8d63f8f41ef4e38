//! Previews: each version has an address of its own, besides those of its stage.
//!
//! `/hello@v2/x` leads to version v2 of `hello`, `/hello@staging@v2/x` to the same in another stage, and so
//! does `v2--hello.example.com/x` below a preview domain. A role can take the place of the number. Paths are
//! in their [normal form](wasm_fn_core::normal_path), in which `%40` is `@`.

use std::sync::Arc;

use wasm_fn_core::{FunctionName, PreviewDomain, StageName, VersionRef};

use crate::{RouteTable, Stage, table::without_port};

/// The `@` of a version's address must lie within this many bytes of the path: `/` and the longest name
/// before it.
const SEARCHED_BYTES: usize = 65;

/// Longest first segment that can be an address, bytes.
const SEGMENT_BYTES_MAX: usize = 256;

/// A request to a version's own address.
#[derive(Debug)]
pub struct PreviewMatch<'t, V> {
    /// The stage. Whether it has the version is not checked.
    pub stage: &'t Arc<Stage<V>>,
    /// The version.
    pub asked: VersionRef,
    /// How many leading bytes of the path are the address; 0 when the host name is.
    pub path_bytes: usize,
}

/// The first segment of a path, split.
struct Segment {
    function: FunctionName,
    /// The text after the first `@`.
    place: String,
    /// Length of the segment with its `/`.
    bytes: usize,
}

impl<V> RouteTable<V> {
    /// Finds the version whose own address is `path` on `host`, if its function exists. Whether the stage has
    /// the version is not checked.
    ///
    /// A stage with the name of a version keeps its address. Without a `domain` the host is not read. Of a
    /// path without `@`, at most 65 bytes are read.
    #[inline]
    pub fn preview(
        &self,
        domain: Option<&PreviewDomain>,
        host: Option<&str>,
        path: &str,
    ) -> Option<PreviewMatch<'_, V>> {
        if let Some(domain) = domain
            && let Some(preview) = host.and_then(|host| self.preview_on(domain, without_port(host)))
        {
            return Some(preview);
        }
        if is_marked(path) { self.preview_at(path) } else { None }
    }

    fn preview_on(&self, domain: &PreviewDomain, host: &str) -> Option<PreviewMatch<'_, V>> {
        let (asked, function) = domain.named(host)?;
        let stage = self.stage(&function, &StageName::live())?;
        Some(PreviewMatch { stage, asked, path_bytes: 0 })
    }

    #[cold]
    fn preview_at(&self, path: &str) -> Option<PreviewMatch<'_, V>> {
        let Segment { function, place, bytes: path_bytes } = segment(path)?;
        let stage = |name: &str| self.stage(&function, &name.parse().ok()?);
        if stage(&place).is_some() {
            return None;
        }
        let (stage, asked) = match place.rsplit_once('@') {
            Some((name, version)) => (stage(name)?, version),
            None => (self.stage(&function, &StageName::live())?, &*place),
        };
        Some(PreviewMatch { stage, asked: asked.parse().ok()?, path_bytes })
    }

    /// Explains what is wrong with `path`, to which no stage answers, if it begins with an existing function
    /// and `@`.
    pub fn misaddressed(&self, path: &str) -> Option<String> {
        let Segment { function, place, .. } = is_marked(path).then(|| segment(path))??;
        self.stages_of(&function).first()?;
        Some(format!(
            "{place:?} is not a stage of `{function}`, expected one, or one of v1, v2, …, stable, canary, \
             previous and latest, perhaps after a stage and `@`"
        ))
    }
}

impl<V> Stage<V> {
    /// The path that a guest sees in place of its version's own address: that of the stage's default route,
    /// else of its first route; empty for the root.
    pub fn own_path(&self) -> &str {
        let default = self.routes().iter().find(|route| route.is_default_for(self.function(), self.name()));
        default.or(self.routes().first()).map_or("", |route| route.path())
    }
}

/// Whether the first segment of `path` may be the address of a version.
fn is_marked(path: &str) -> bool {
    let mut first = path.bytes().take(SEARCHED_BYTES).skip(1).take_while(|&byte| byte != b'/');
    first.any(|byte| byte == b'@')
}

fn segment(path: &str) -> Option<Segment> {
    let rest = path.strip_prefix('/')?;
    let searched = &rest.as_bytes()[..rest.len().min(SEGMENT_BYTES_MAX)];
    let end = match searched.iter().position(|&byte| byte == b'/') {
        Some(end) => end,
        None if rest.len() <= SEGMENT_BYTES_MAX => rest.len(),
        None => return None,
    };
    let (function, place) = rest[..end].split_once('@')?;
    Some(Segment { function: function.parse().ok()?, place: place.to_owned(), bytes: end + 1 })
}

#[cfg(test)]
mod tests;
