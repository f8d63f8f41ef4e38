//! Which functions and types of a component are the same under several indices. Tools import what two versions of an
//! interface have in common once for each; an instance would set up each of them.

use std::collections::HashMap;

use wasmparser::{CanonicalFunction, CanonicalOption};

use crate::NotFused;

/// An index space of a component.
#[derive(Default)]
pub(crate) struct Space<'a> {
    /// By index, the first index that means the same.
    firsts: Vec<u32>,
    /// By instance and the name there.
    aliases: HashMap<(u32, &'a str), u32>,
}

/// The host's functions by what they are made of.
#[derive(Default)]
pub(crate) struct Hosts {
    lowered: HashMap<u32, (Box<[CanonicalOption]>, usize)>,
    dropped: HashMap<u32, usize>,
}

impl<'a> Space<'a> {
    /// The next index means something of its own.
    pub(crate) fn define(&mut self) -> Result<(), NotFused> {
        let next = self.next()?;
        self.firsts.push(next);
        Ok(())
    }

    /// The next index means `name` of `instance`.
    pub(crate) fn alias(&mut self, instance: u32, name: &'a str) -> Result<(), NotFused> {
        let next = self.next()?;
        self.firsts.push(*self.aliases.entry((instance, name)).or_insert(next));
        Ok(())
    }

    fn first(&self, index: u32) -> Result<u32, NotFused> {
        crate::link::at(&self.firsts, index)
    }

    fn next(&self) -> Result<u32, NotFused> {
        crate::link::count(&self.firsts)
    }
}

impl Hosts {
    /// Which host's function before `function`, which is to be the one `at`, does the same; `at` where there is none.
    pub(crate) fn first(
        &mut self,
        function: &CanonicalFunction,
        at: usize,
        functions: &Space<'_>,
        types: &Space<'_>,
    ) -> Result<usize, NotFused> {
        match function {
            CanonicalFunction::Lower { func_index, options } => {
                let (known, first) = self
                    .lowered
                    .entry(functions.first(*func_index)?)
                    .or_insert_with(|| (options.clone(), at));
                Ok(if known == options { *first } else { at })
            }
            CanonicalFunction::ResourceDrop { resource } => {
                Ok(*self.dropped.entry(types.first(*resource)?).or_insert(at))
            }
            _ => Ok(at),
        }
    }
}
