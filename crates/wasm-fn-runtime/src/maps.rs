//! This process's mappings of memory, as the kernel lists them, and the size of a page.

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

/// Bytes of a page, as the kernel told the process at its start (`AT_PAGESZ` of its auxiliary vector).
///
/// # Errors
/// What the system says.
pub(crate) fn page_bytes() -> io::Result<usize> {
    page_size(&fs::read("/proc/self/auxv")?).ok_or_else(|| io::Error::other("no size of a page is known"))
}

/// The size of a page in an auxiliary vector: pairs of words, a key and its value.
fn page_size(vector: &[u8]) -> Option<usize> {
    const WORD_BYTES: usize = size_of::<usize>();
    const AT_PAGESZ: usize = 6;
    let words = vector.chunks_exact(WORD_BYTES);
    let words = words.map(|word| usize::from_ne_bytes(word.try_into().expect("chunks of this size")));
    let words: Vec<_> = words.collect();
    let size = words.chunks_exact(2).find(|pair| pair[0] == AT_PAGESZ)?[1];
    size.is_power_of_two().then_some(size)
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
