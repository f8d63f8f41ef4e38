//! Previews: the address that each version has, beside those of its stage.
//!
//! `/hello@v2/x` is version v2 of `hello`, `/hello@staging@v2/x` the same in another stage, and below a preview
//! domain `v2--hello.example.com/x`. The names of roles stand where numbers do. `@` may come as `%40`.

use std::sync::Arc;

use wasm_fn_core::{FunctionName, PreviewDomain, StageName, VersionRef};

use crate::{RouteTable, Stage, table::without_port};

/// Bytes of a path in which the `@` of a version's address must come: `/` and the longest name before it.
const SEARCHED_BYTES: usize = 65;

/// Longest first segment that is taken for an address, bytes.
const SEGMENT_BYTES_MAX: usize = 256;

/// A version's own address.
#[derive(Debug)]
pub struct Preview<'t, V> {
    /// The stage that has the version, or has not.
    pub stage: &'t Arc<Stage<V>>,
    /// The version.
    pub asked: VersionRef,
    /// Bytes of the path, from its beginning, that are the address; 0 where the host name is.
    pub path_bytes: usize,
}

/// The first segment of a path, taken apart.
struct Segment {
    function: FunctionName,
    /// What follows the first `@`.
    place: String,
    /// Of the segment with its `/`.
    bytes: usize,
}

impl<V> RouteTable<V> {
    /// The version whose own address is `path` on `host`, if it is one of a function that is there; whether the
    /// stage has such a version is not looked at.
    ///
    /// A stage that is called like a version keeps its address for itself. Nothing is read of the host without a
    /// `domain`, and at most 65 bytes of a path without `@` or `%` among them.
    #[inline]
    pub fn preview(
        &self,
        domain: Option<&PreviewDomain>,
        host: Option<&str>,
        path: &str,
    ) -> Option<Preview<'_, V>> {
        if let Some(domain) = domain
            && let Some(preview) = host.and_then(|host| self.preview_on(domain, without_port(host)))
        {
            return Some(preview);
        }
        if is_marked(path) { self.preview_at(path) } else { None }
    }

    fn preview_on(&self, domain: &PreviewDomain, host: &str) -> Option<Preview<'_, V>> {
        let (asked, function) = domain.named(host)?;
        let stage = self.stage(&function, &StageName::live())?;
        Some(Preview { stage, asked, path_bytes: 0 })
    }

    #[cold]
    fn preview_at(&self, path: &str) -> Option<Preview<'_, V>> {
        let Segment { function, place, bytes: path_bytes } = segment(path)?;
        let stage = |name: &str| self.stage(&function, &name.parse().ok()?);
        if stage(&place).is_some() {
            return None;
        }
        let (stage, asked) = match place.rsplit_once('@') {
            Some((name, version)) => (stage(name)?, version),
            None => (self.stage(&function, &StageName::live())?, &*place),
        };
        Some(Preview { stage, asked: asked.parse().ok()?, path_bytes })
    }

    /// What is wrong with `path`, which nothing answers, if it begins with a function that is there and `@`.
    pub fn misaddressed(&self, path: &str) -> Option<String> {
        let Segment { function, place, .. } = is_marked(path).then(|| segment(path))??;
        let begin = self.stages().partition_point(|stage| stage.function() < &function);
        self.stages().get(begin).filter(|stage| *stage.function() == function)?;
        Some(format!(
            "{place:?} is no stage of `{function}`, expected one, or one of v1, v2, …, stable, canary, previous \
             and latest, perhaps after a stage and `@`"
        ))
    }
}

impl<V> Stage<V> {
    /// The path that stands in a guest's eyes for a version's own address: that of the stage's default route, or
    /// else of its first; empty for the root.
    pub fn own_path(&self) -> &str {
        let default = self.routes().iter().find(|route| route.is_default_for(self.function(), self.name()));
        default.or(self.routes().first()).map_or("", |route| route.path())
    }
}

/// Whether the first segment of `path` may be an address.
fn is_marked(path: &str) -> bool {
    let mut first = path.bytes().take(SEARCHED_BYTES).skip(1).take_while(|&byte| byte != b'/');
    first.any(|byte| matches!(byte, b'@' | b'%'))
}

fn segment(path: &str) -> Option<Segment> {
    let rest = path.strip_prefix('/')?;
    let searched = &rest.as_bytes()[..rest.len().min(SEGMENT_BYTES_MAX)];
    let end = match searched.iter().position(|&byte| byte == b'/') {
        Some(end) => end,
        None if rest.len() <= SEGMENT_BYTES_MAX => rest.len(),
        None => return None,
    };
    let text = rest[..end].replace("%40", "@");
    let (function, place) = text.split_once('@')?;
    Some(Segment { function: function.parse().ok()?, place: place.to_owned(), bytes: end + 1 })
}

#[cfg(test)]
mod tests;
