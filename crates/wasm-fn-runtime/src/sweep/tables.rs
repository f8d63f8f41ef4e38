//! Where an instance of the sweep has its tables.
//!
//! The engine says where a memory is, but not where a table is. It is written in the instance's context, which the
//! instance's functions name; at which places there is found out by a trial: an instance whose tables hold a function,
//! so that what lies at the right addresses begins with the function's. What is not found as expected, as it may be in
//! another version of the engine, is left alone.

use std::{fs::File, io, os::unix::fs::FileExt as _};

use wasmtime::{AsContextMut, Func, Ref, Table};

use crate::maps;

const WORD_BYTES: usize = size_of::<usize>();

/// The word of a function's own record that holds the address of its instance's context.
const CONTEXT_WORD: usize = 3;

/// Words of a context that are looked at. That of the sweep's module has less.
const CONTEXT_WORDS: usize = 64;

/// Lowest bit of an element: that it was written.
const WRITTEN: usize = 1;

/// This process's memory, read by the kernel: an address that means nothing is an error and no crash.
struct OwnMemory(File);

impl OwnMemory {
    fn open() -> io::Result<Self> {
        File::open("/proc/self/mem").map(Self)
    }

    /// The words from `address` on, as far as there is memory.
    fn words(&self, address: usize, count: usize) -> io::Result<Vec<usize>> {
        let mut bytes = vec![0; count * WORD_BYTES];
        let read = self.0.read_at(&mut bytes, address as u64)?;
        let words = bytes[..read].chunks_exact(WORD_BYTES);
        Ok(words.map(|word| usize::from_ne_bytes(word.try_into().expect("chunks of this size"))).collect())
    }
}

/// Finds the tables of instances of one module.
pub(super) struct Tables {
    memory: OwnMemory,
    /// The words of a context that hold a table's address.
    words: Vec<usize>,
}

impl Tables {
    /// Learns it from an instance that has `function`, and `tables` without elements, which become longer.
    ///
    /// # Errors
    /// What is expected is not there.
    pub(super) fn learn(mut store: impl AsContextMut, function: Func, tables: &[Table]) -> io::Result<Self> {
        let memory = OwnMemory::open()?;
        for table in tables {
            table.grow(&mut store, 1, Ref::Func(Some(function))).map_err(io::Error::other)?;
        }
        let element = function.to_raw(&mut store).addr();
        let is_table = |address: usize| {
            let first = memory.words(address, 1).ok().and_then(|words| words.first().copied());
            first.is_some_and(|first| first & !WRITTEN == element)
        };
        let context = context(&memory, store, function)?;
        let words: Vec<_> = (0..context.len()).filter(|&word| is_table(context[word])).collect();
        if words.len() != tables.len() {
            let (found, expected) = (words.len(), tables.len());
            return Err(io::Error::other(format!(
                "{found} tables are where the engine has them, expected {expected}"
            )));
        }
        Ok(Self { memory, words })
    }

    /// Where the tables begin of an instance of that module that has `function`.
    pub(super) fn of(&self, store: impl AsContextMut, function: Func) -> io::Result<Vec<usize>> {
        let context = context(&self.memory, store, function)?;
        let page = maps::page_bytes()?;
        let begins = |&word: &usize| context.get(word).copied().filter(|begin| begin.is_multiple_of(page));
        let begins: Option<Vec<_>> = self.words.iter().map(begins).collect();
        begins.ok_or_else(|| io::Error::other("a table is not where the first one was"))
    }
}

/// The beginning of the context of the instance that has `function`.
fn context(memory: &OwnMemory, store: impl AsContextMut, function: Func) -> io::Result<Vec<usize>> {
    let record = memory.words(function.to_raw(store).addr(), CONTEXT_WORD + 1)?;
    let context = record.get(CONTEXT_WORD).ok_or_else(|| io::Error::other("a function has no record"))?;
    memory.words(*context, CONTEXT_WORDS)
}
