//! Plans the merged module: which programs it contains, and the index of every item.

mod core_functions;
pub(crate) mod dispatch;
pub(crate) mod reach;
mod shim;
mod start;

use std::collections::{BTreeMap, HashMap, HashSet};

use wasmparser::{DataKind, Element, ElementKind, MemoryType};

use crate::{
    NotFused, constant,
    read::{
        link::{Func, Linked, Linker, Own, at, count},
        outer::{ComponentPart, OuterComponent},
    },
};
use core_functions::core_functions;
use shim::Shim;

/// Size of a page of memory.
const PAGE_BYTES: u64 = 64 << 10;

/// Most functions with which imported functions allocate. Tools make one or two, and each function that is
/// called from outside has code for all of them.
const REALLOCS_MAX: u32 = 16;

/// A data segment and its address.
pub(crate) struct PlacedSegment<'a> {
    pub(crate) offset: u32,
    pub(crate) bytes: &'a [u8],
}

/// A list of functions, each once.
#[derive(Default)]
pub(crate) struct FunctionList {
    list: Vec<Own>,
    at: HashMap<Own, u32>,
}

/// The first indices of a program's definitions in the merged module.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bases {
    pub(crate) types: u32,
    pub(crate) functions: u32,
    tables: u32,
    pub(crate) globals: u32,
    pub(crate) elements: u32,
}

/// How a component is fused.
pub(crate) struct Plan<'p, 'a> {
    pub(crate) linker: &'p Linker<'a>,
    shim: Option<Shim>,
    /// Whether calls through the shim must trap until the start function has ended.
    is_guarded: bool,
    /// The programs that are merged, in order.
    pub(crate) merged: Vec<usize>,
    /// The first indices of each program.
    bases: Vec<Bases>,
    /// The indices after all definitions.
    pub(crate) ends: Bases,
    /// The functions that the merged module imports, each with a program that imports it and its type there.
    pub(crate) hosts: BTreeMap<usize, (usize, u32)>,
    host_at: HashMap<usize, u32>,
    /// Functions that are never called.
    dead: HashSet<Own>,
    /// Functions with which imported functions allocate memory.
    pub(crate) reallocs: FunctionList,
    /// Functions that are called from outside.
    pub(crate) exports: FunctionList,
    pub(crate) memory: Own,
    pub(crate) memory_type: MemoryType,
    pub(crate) data: Vec<PlacedSegment<'a>>,
    pub(crate) start: Option<Own>,
}

impl FunctionList {
    fn insert(&mut self, own: Own) -> Result<(), NotFused> {
        if !self.at.contains_key(&own) {
            self.at.insert(own, count(&self.list)?);
            self.list.push(own);
        }
        Ok(())
    }

    pub(crate) fn position(&self, own: Own) -> Result<u32, NotFused> {
        self.at.get(&own).copied().ok_or(NotFused::NOWHERE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Own> {
        self.list.iter().copied()
    }

    pub(crate) fn count(&self) -> Result<u32, NotFused> {
        count(&self.list)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<'p, 'a> Plan<'p, 'a> {
    /// Plans how to fuse `outer`.
    ///
    /// # Errors
    /// It has too few instances, or something that cannot be merged.
    pub(crate) fn new(outer: &'p OuterComponent<'a>) -> Result<Self, NotFused> {
        let linker = &outer.linker;
        let found = linker.programs.len();
        if found < 3 {
            return Err(NotFused::Few { found });
        }
        let shim = shim::find(linker);
        let is_guarded = shim.as_ref().map_or(Ok(false), |shim| start::meets_empty(linker, shim))?;
        let dropped = |at: &usize| {
            shim.as_ref()
                .is_some_and(|shim| shim.filler.as_ref() == Some(at) || shim.program == *at && !is_guarded)
        };
        let merged: Vec<_> = (0..found).filter(|at| !dropped(at)).collect();
        let (memory, memory_type) = memory(linker)?;
        let mut plan = Self {
            linker,
            shim,
            is_guarded,
            bases: vec![Bases::default(); found],
            ends: Bases::default(),
            hosts: BTreeMap::new(),
            host_at: HashMap::new(),
            dead: HashSet::new(),
            reallocs: FunctionList::default(),
            exports: FunctionList::default(),
            memory,
            memory_type,
            data: Vec::new(),
            start: None,
            merged,
        };
        plan.find_start()?;
        plan.place_data()?;
        plan.find_hosts()?;
        plan.find_reallocs()?;
        plan.find_exports(&outer.parts)?;
        plan.lay_out()?;
        Ok(plan)
    }

    pub(crate) fn linked(&self, program: usize) -> Result<&'p Linked<'a>, NotFused> {
        self.linker.programs.get(program).ok_or(NotFused::NOWHERE)
    }

    pub(crate) fn bases(&self, program: usize) -> Result<Bases, NotFused> {
        self.bases.get(program).copied().ok_or(NotFused::NOWHERE)
    }

    /// Resolves `function` through the shim.
    fn without_shim(&self, function: Func) -> Result<Func, NotFused> {
        match (function, &self.shim) {
            (Func::Own(own), Some(shim)) if own.program == shim.program => at(&shim.calls, own.index),
            _ => Ok(function),
        }
    }

    /// Resolves the component's core function `index`, which must be one of the merged module.
    fn defined(&self, index: u32) -> Result<Own, NotFused> {
        match self.without_shim(at(&self.linker.functions, index)?)? {
            Func::Own(own) => Ok(own),
            Func::Host(_) => {
                NotFused::shape("a host's function in a component's function", "the guest's own")
            }
        }
    }

    /// What `function` means in code: a function of the shim may have to trap before it calls.
    fn called(&self, function: Func) -> Result<Func, NotFused> {
        if self.is_guarded { Ok(function) } else { self.without_shim(function) }
    }

    /// Whether calls through the shim are guarded.
    pub(crate) fn is_guarded(&self) -> bool {
        self.is_guarded
    }

    /// Whether `program` is the shim, whose functions are guards.
    pub(crate) fn is_guard(&self, program: usize) -> bool {
        self.shim.as_ref().is_some_and(|shim| shim.program == program)
    }

    /// The function that function `index` of the shim calls.
    pub(crate) fn guarded(&self, index: u32) -> Result<u32, NotFused> {
        let shim = self.shim.as_ref().ok_or(NotFused::NOWHERE)?;
        self.index_of(at(&shim.calls, index)?)
    }

    /// The trampoline of the component's core function `index`.
    pub(crate) fn realloc(&self, index: u32) -> Result<u32, NotFused> {
        self.reallocs.position(self.defined(index)?)
    }

    /// The core function of the fused component for core function `index` of the component. It comes after
    /// the trampolines and the imports.
    pub(crate) fn exported(&self, index: u32) -> Result<u32, NotFused> {
        let hosts = u32::try_from(self.hosts.len()).or(Err(NotFused::NOWHERE))?;
        let before = sum(self.reallocs.count()?, hosts)?;
        sum(before, self.exports.position(self.defined(index)?)?)
    }

    /// Checks that the component's core memory `index` is the only memory.
    pub(crate) fn check_memory(&self, index: u32) -> Result<(), NotFused> {
        if at(&self.linker.memories, index)? == self.memory { Ok(()) } else { Err(NotFused::NOWHERE) }
    }

    /// Index of `function` of `program` in the merged module.
    pub(crate) fn function(&self, program: usize, function: u32) -> Result<u32, NotFused> {
        self.index_of(self.called(self.linked(program)?.function(program, function))?)
    }

    fn index_of(&self, function: Func) -> Result<u32, NotFused> {
        match function {
            Func::Host(host) => self.host_at.get(&host).copied().ok_or(NotFused::NOWHERE),
            Func::Own(own) => self.own_function(own),
        }
    }

    pub(crate) fn own_function(&self, own: Own) -> Result<u32, NotFused> {
        let imported = count(&self.linked(own.program)?.functions)?;
        moved(own.index, imported, self.bases(own.program)?.functions)
    }

    /// Index of type `ty` of `program` in the merged module.
    pub(crate) fn type_index(&self, program: usize, ty: u32) -> Result<u32, NotFused> {
        sum(ty, self.bases(program)?.types)
    }

    /// Index of `table` of `program` in the merged module.
    pub(crate) fn table(&self, program: usize, table: u32) -> Result<u32, NotFused> {
        let own = at(&self.linked(program)?.tables, table).unwrap_or(Own { program, index: table });
        moved(own.index, count(&self.linked(own.program)?.tables)?, self.bases(own.program)?.tables)
    }

    /// Index of `global` of `program` in the merged module.
    pub(crate) fn global(&self, program: usize, global: u32) -> Result<u32, NotFused> {
        let own = at(&self.linked(program)?.globals, global).unwrap_or(Own { program, index: global });
        moved(own.index, count(&self.linked(own.program)?.globals)?, self.bases(own.program)?.globals)
    }

    /// Elements of `program`, without those for the table of the shim.
    pub(crate) fn elements(
        &self,
        program: usize,
    ) -> Result<impl Iterator<Item = &'p Element<'a>> + use<'p, 'a>, NotFused> {
        let linked = self.linked(program)?;
        let shims = self.shim.as_ref().map(Shim::table);
        Ok(linked.program.elements.iter().filter(move |element| match element.kind {
            ElementKind::Active { table_index, .. } => {
                shims.is_none() || at(&linked.tables, table_index.unwrap_or(0)).ok() != shims
            }
            ElementKind::Passive | ElementKind::Declared => true,
        }))
    }

    /// Finds the start function. All data and elements are written before it runs, so none may come after it,
    /// except those of a filler that is left out.
    fn find_start(&mut self) -> Result<(), NotFused> {
        let filler = self.shim.as_ref().and_then(|shim| shim.filler);
        for (program, linked) in self.linker.programs.iter().enumerate() {
            let started = linked.program.start;
            if self.start.is_some()
                && (started.is_some() || linked.program.has_active_segments())
                && filler != Some(program)
            {
                return NotFused::shape("a start function before other modules' data", "one after all data");
            }
            if let Some(function) = started {
                let Func::Own(own) = self.called(linked.function(program, function))? else {
                    return NotFused::shape("a host's function at the start", "the guest's own");
                };
                self.start = Some(own);
            }
        }
        Ok(())
    }

    /// Collects the data of all programs.
    fn place_data(&mut self) -> Result<(), NotFused> {
        let memory_bytes = self.memory_type.initial.saturating_mul(PAGE_BYTES);
        for &program in &self.merged {
            let linked = self.linked(program)?;
            for data in &linked.program.data {
                // Other segments are for code that copies them, which is not supported, or unused.
                let DataKind::Active { offset_expr, .. } = &data.kind else { continue };
                let known = |global| at(&linked.constants, global).ok().flatten();
                let Some(offset) = constant::evaluate(offset_expr, known).map(i32::cast_unsigned) else {
                    return NotFused::shape("data at an unknown address", "an address that is known");
                };
                if u64::from(offset).saturating_add(data.data.len() as u64) > memory_bytes {
                    return NotFused::shape("data outside of the memory", "data in it");
                }
                self.data.push(PlacedSegment { offset, bytes: data.data });
            }
        }
        Ok(())
    }

    /// Finds the functions that must be imported.
    fn find_hosts(&mut self) -> Result<(), NotFused> {
        for &program in &self.merged {
            let linked = self.linked(program)?;
            for (&function, &ty) in linked.functions.iter().zip(&linked.function_types) {
                if let Func::Host(host) = self.called(function)? {
                    self.hosts.entry(host).or_insert((program, ty));
                }
            }
        }
        if let Some(shim) = self.shim.as_ref().filter(|_| self.is_guarded) {
            let types = &self.linked(shim.program)?.program.functions;
            for (&call, &ty) in shim.calls.iter().zip(types) {
                if let Func::Host(host) = call {
                    self.hosts.entry(host).or_insert((shim.program, ty));
                }
            }
        }
        self.host_at = self.hosts.keys().copied().zip(0..).collect();
        Ok(())
    }

    /// Finds the functions with which imported functions allocate. Trampolines will call them through a
    /// table, which compares their types.
    fn find_reallocs(&mut self) -> Result<(), NotFused> {
        for &host in self.hosts.keys() {
            for function in core_functions(self.linker.hosts.get(host).ok_or(NotFused::NOWHERE)?)? {
                let own = self.defined(function)?;
                if self.reallocs.position(own).is_ok() {
                    continue;
                }
                if self.reallocs.count()? == REALLOCS_MAX {
                    return NotFused::shape("many functions that allocate", "at most 16");
                }
                let linked = self.linked(own.program)?;
                let index = own.index.checked_sub(count(&linked.functions)?).ok_or(NotFused::NOWHERE)?;
                let ty = at(&linked.program.functions, index)?;
                if !linked.program.plain_types().nth(ty as usize).ok_or(NotFused::NOWHERE)? {
                    return NotFused::shape("a `realloc` of a type in a group", "a type that stands alone");
                }
                self.reallocs.insert(own)?;
            }
        }
        Ok(())
    }

    /// Leaves out all functions but the `reached` ones.
    pub(crate) fn keep(&mut self, reached: &HashSet<u32>) -> Result<(), NotFused> {
        for &program in &self.merged {
            let linked = self.linked(program)?;
            for (index, _) in (count(&linked.functions)?..).zip(&linked.program.functions) {
                let own = Own { program, index };
                if !reached.contains(&self.own_function(own)?) {
                    self.dead.insert(own);
                }
            }
        }
        let host_at = std::mem::take(&mut self.host_at);
        self.hosts.retain(|host, _| host_at.get(host).is_some_and(|at| reached.contains(at)));
        self.host_at = self.hosts.keys().copied().zip(0..).collect();
        self.lay_out()
    }

    /// Whether a function is never called.
    pub(crate) fn is_dead(&self, own: Own) -> bool {
        self.dead.contains(&own)
    }

    fn find_exports(&mut self, parts: &[ComponentPart<'a>]) -> Result<(), NotFused> {
        for part in parts {
            let ComponentPart::Lift(function) = part else { continue };
            for function in core_functions(function)? {
                let own = self.defined(function)?;
                self.exports.insert(own)?;
            }
        }
        Ok(())
    }

    /// Gives everything its index.
    fn lay_out(&mut self) -> Result<(), NotFused> {
        let mut next = Bases {
            functions: u32::try_from(self.hosts.len()).or(Err(NotFused::NOWHERE))?,
            tables: u32::from(!self.reallocs.is_empty()),
            globals: u32::from(!self.reallocs.is_empty()) + u32::from(self.is_guarded),
            ..Bases::default()
        };
        for &at in &self.merged {
            *self.bases.get_mut(at).ok_or(NotFused::NOWHERE)? = next;
            let program = &self.linker.programs.get(at).ok_or(NotFused::NOWHERE)?.program;
            let elements = u32::try_from(self.elements(at)?.count()).or(Err(NotFused::NOWHERE))?;
            let types = u32::try_from(program.subtypes().count()).or(Err(NotFused::NOWHERE))?;
            next = Bases {
                types: sum(next.types, types)?,
                functions: sum(next.functions, count(&program.functions)?)?,
                tables: if self.is_guard(at) {
                    next.tables
                } else {
                    sum(next.tables, count(&program.tables)?)?
                },
                globals: sum(next.globals, count(&program.globals)?)?,
                elements: sum(next.elements, elements)?,
            };
        }
        self.ends = next;
        Ok(())
    }
}

fn sum(a: u32, b: u32) -> Result<u32, NotFused> {
    a.checked_add(b).ok_or(NotFused::NOWHERE)
}

/// Moves `index`, which counts `imported` items first, to definitions that begin at `base`.
fn moved(index: u32, imported: u32, base: u32) -> Result<u32, NotFused> {
    sum(index.checked_sub(imported).ok_or(NotFused::NOWHERE)?, base)
}

/// The only memory of all programs.
fn memory(linker: &Linker<'_>) -> Result<(Own, MemoryType), NotFused> {
    let mut memories = linker.programs.iter().enumerate().flat_map(|(program, linked)| {
        linked.program.memories.iter().map(move |&ty| (Own { program, index: 0 }, ty))
    });
    match (memories.next(), memories.next()) {
        (Some((memory, ty)), None) if !ty.memory64 && !ty.shared && ty.page_size_log2.is_none() => {
            Ok((memory, ty))
        }
        (Some(_), None) => NotFused::shape("a memory of another kind", "a 32-bit memory with usual pages"),
        (Some(_), Some(_)) => NotFused::shape("several memories", "one"),
        (None, _) => NotFused::shape("no memory", "one"),
    }
}
