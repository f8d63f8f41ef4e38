//! Finds functions and types of a component that have several indices. If two versions of an interface share
//! something, tools import it once for each, and an instance would set up each import.

use std::collections::HashMap;

use wasmparser::{CanonicalFunction, CanonicalOption};

use crate::NotFused;

/// An index space of a component.
#[derive(Default)]
pub(crate) struct IndexSpace<'a> {
    /// For each index, the first index with the same meaning.
    firsts: Vec<u32>,
    /// Aliases by instance and name.
    aliases: HashMap<(u32, &'a str), u32>,
}

/// The host's functions, by their definitions.
#[derive(Default)]
pub(crate) struct HostFunctions {
    lowered: HashMap<u32, (Box<[CanonicalOption]>, usize)>,
    dropped: HashMap<u32, usize>,
}

impl<'a> IndexSpace<'a> {
    /// Defines the next index as something new.
    pub(crate) fn define(&mut self) -> Result<(), NotFused> {
        let next = self.next()?;
        self.firsts.push(next);
        Ok(())
    }

    /// Defines the next index as `name` of `instance`.
    pub(crate) fn alias(&mut self, instance: u32, name: &'a str) -> Result<(), NotFused> {
        let next = self.next()?;
        self.firsts.push(*self.aliases.entry((instance, name)).or_insert(next));
        Ok(())
    }

    fn first(&self, index: u32) -> Result<u32, NotFused> {
        super::link::at(&self.firsts, index)
    }

    fn next(&self) -> Result<u32, NotFused> {
        super::link::count(&self.firsts)
    }
}

impl HostFunctions {
    /// The first host's function that does the same as `function`, which has the index `at`; `at` if there is
    /// none.
    pub(crate) fn first(
        &mut self,
        function: &CanonicalFunction,
        at: usize,
        functions: &IndexSpace<'_>,
        types: &IndexSpace<'_>,
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
