//! This process's mappings of memory, as the kernel lists them.

use std::{fs, io, ops::Range};

/// A range of addresses that belong together.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mapping<'a> {
    pub(crate) range: Range<usize>,
    /// Whether it may be read and written, and what is written stays with this process.
    pub(crate) is_private_data: bool,
    /// Where in its file it begins, bytes.
    pub(crate) offset: u64,
    /// The number of its file; 0 when it has none.
    pub(crate) inode: u64,
    /// The path of its file; empty when it has none.
    pub(crate) path: &'a str,
}

/// What [`mappings`] takes apart.
///
/// # Errors
/// What the system says.
pub(crate) fn read() -> io::Result<String> {
    fs::read_to_string("/proc/self/maps")
}

/// The mappings that `maps` lists, in the order of their addresses. What is no mapping is left out.
pub(crate) fn mappings(maps: &str) -> impl Iterator<Item = Mapping<'_>> {
    maps.lines().filter_map(mapping)
}

fn mapping(line: &str) -> Option<Mapping<'_>> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let address = |hex| usize::from_str_radix(hex, 16).ok();
    let range = address(start)?..address(end)?;
    let is_private_data = words.next()? == "rw-p";
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    let path = words.next().unwrap_or_default().trim_start();
    Some(Mapping { range, is_private_data, offset, inode, path })
}

#[cfg(test)]
mod tests;
