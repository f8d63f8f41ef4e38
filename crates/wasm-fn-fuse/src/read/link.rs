//! Resolves every index and import of a component's core level.

use std::collections::HashMap;

use wasmparser::{CanonicalFunction, Export, ExternalKind, Instance, InstantiationArg, TypeRef};

use super::program::Program;
use crate::{NotFused, constant};

/// An item that a program defines, by its index there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Own {
    /// Index in [`Linker::programs`].
    pub(crate) program: usize,
    pub(crate) index: u32,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Func {
    /// A host's function, by its index in [`Linker::hosts`].
    Host(usize),
    Own(Own),
}

/// An export of an instance.
#[derive(Clone, Copy)]
enum Entity {
    Func(Func),
    Table(Own),
    Memory(Own),
    Global(Own),
}

/// A module with an instance, and its resolved imports.
pub(crate) struct Linked<'a> {
    pub(crate) program: Program<'a>,
    pub(crate) functions: Vec<Func>,
    /// Types of the imported functions.
    pub(crate) function_types: Vec<u32>,
    pub(crate) tables: Vec<Own>,
    pub(crate) memories: Vec<Own>,
    pub(crate) globals: Vec<Own>,
    /// Values of its globals, including imported ones, if they are constant and known.
    pub(crate) constants: Vec<Option<i32>>,
}

/// The core level of a component, as far as it was read.
#[derive(Default)]
pub(crate) struct Linker<'a> {
    modules: Vec<&'a [u8]>,
    /// Whether each has an instance.
    used: Vec<bool>,
    instances: Vec<HashMap<&'a str, Entity>>,
    /// The component's core functions by index.
    pub(crate) functions: Vec<Func>,
    tables: Vec<Own>,
    pub(crate) memories: Vec<Own>,
    globals: Vec<Own>,
    /// Modules in the order of their instances.
    pub(crate) programs: Vec<Linked<'a>>,
    /// Functions of the host or the component model, in order.
    pub(crate) hosts: Vec<CanonicalFunction>,
}

/// `list[at]`.
pub(crate) fn at<T: Copy>(list: &[T], at: u32) -> Result<T, NotFused> {
    usize::try_from(at).ok().and_then(|at| list.get(at)).copied().ok_or(NotFused::NOWHERE)
}

/// Length of `list`.
///
/// # Errors
/// It is too large for an index.
pub(crate) fn count<T>(list: &[T]) -> Result<u32, NotFused> {
    u32::try_from(list.len())
        .or(NotFused::shape("more than can be counted", "no more than 32 bits of anything"))
}

impl<'a> Linker<'a> {
    pub(crate) fn module(&mut self, bytes: &'a [u8]) {
        self.modules.push(bytes);
        self.used.push(false);
    }

    /// Defines a host's `function`. `first` is the index of the first one that does the same.
    pub(crate) fn host(&mut self, function: CanonicalFunction, first: usize) {
        self.functions.push(Func::Host(first));
        if first == self.hosts.len() {
            self.hosts.push(function);
        }
    }

    /// Defines an alias of `name` of an instance.
    pub(crate) fn alias(&mut self, instance: u32, name: &str) -> Result<(), NotFused> {
        match self.lookup(instance, name)? {
            Entity::Func(function) => self.functions.push(function),
            Entity::Table(table) => self.tables.push(table),
            Entity::Memory(memory) => self.memories.push(memory),
            Entity::Global(global) => self.globals.push(global),
        }
        Ok(())
    }

    /// Defines an instance.
    ///
    /// # Errors
    /// Its module has an instance already, or cannot be fused.
    pub(crate) fn instance(&mut self, instance: Instance<'a>) -> Result<(), NotFused> {
        let exports = match instance {
            Instance::FromExports(exports) => self.bundle(&exports)?,
            Instance::Instantiate { module_index, args } => self.instantiate(module_index, &args)?,
        };
        self.instances.push(exports);
        Ok(())
    }

    fn lookup(&self, instance: u32, name: &str) -> Result<Entity, NotFused> {
        let instance = usize::try_from(instance).ok().and_then(|at| self.instances.get(at));
        instance.and_then(|exports| exports.get(name)).copied().ok_or(NotFused::NOWHERE)
    }

    fn bundle(&self, exports: &[Export<'a>]) -> Result<HashMap<&'a str, Entity>, NotFused> {
        let entity = |export: &Export<'a>| {
            Ok(match export.kind {
                ExternalKind::Func | ExternalKind::FuncExact => {
                    Entity::Func(at(&self.functions, export.index)?)
                }
                ExternalKind::Table => Entity::Table(at(&self.tables, export.index)?),
                ExternalKind::Memory => Entity::Memory(at(&self.memories, export.index)?),
                ExternalKind::Global => Entity::Global(at(&self.globals, export.index)?),
                ExternalKind::Tag => return NotFused::shape("a tag", "no exceptions"),
            })
        };
        exports.iter().map(|export| Ok((export.name, entity(export)?))).collect()
    }

    fn instantiate(
        &mut self,
        module: u32,
        args: &[InstantiationArg<'a>],
    ) -> Result<HashMap<&'a str, Entity>, NotFused> {
        let used = usize::try_from(module).ok().and_then(|at| self.used.get_mut(at));
        if std::mem::replace(used.ok_or(NotFused::NOWHERE)?, true) {
            return NotFused::shape("two instances of a module", "one of each");
        }
        let args: HashMap<_, _> = args.iter().map(|arg| (arg.name, arg.index)).collect();
        let linked = self.link(Program::read(at(&self.modules, module)?)?, &args)?;
        let program = self.programs.len();
        let exports = linked.program.exports.iter();
        let exports = exports.map(|(name, &(kind, index))| Ok((*name, linked.entity(program, kind, index)?)));
        let exports = exports.collect::<Result<_, NotFused>>()?;
        self.programs.push(linked);
        Ok(exports)
    }

    fn link(&self, program: Program<'a>, args: &HashMap<&str, u32>) -> Result<Linked<'a>, NotFused> {
        let mut linked = Linked {
            program,
            functions: vec![],
            function_types: vec![],
            tables: vec![],
            memories: vec![],
            globals: vec![],
            constants: vec![],
        };
        for import in &linked.program.imports {
            let instance = args.get(import.module).ok_or(NotFused::NOWHERE)?;
            match (self.lookup(*instance, import.name)?, import.ty) {
                (Entity::Func(function), TypeRef::Func(ty)) => {
                    linked.functions.push(function);
                    linked.function_types.push(ty);
                }
                (Entity::Table(table), TypeRef::Table(_)) => linked.tables.push(table),
                (Entity::Memory(memory), TypeRef::Memory(_)) => linked.memories.push(memory),
                (Entity::Global(global), TypeRef::Global(_)) => {
                    linked.constants.push(self.constant(global));
                    linked.globals.push(global);
                }
                _ => return NotFused::shape("an import of another kind", "one of its own kind"),
            }
        }
        for global in &linked.program.globals {
            let known = |index| at(&linked.constants, index).ok().flatten();
            let value = if global.ty.mutable { None } else { constant::evaluate(&global.init_expr, known) };
            linked.constants.push(value);
        }
        Ok(linked)
    }

    fn constant(&self, global: Own) -> Option<i32> {
        at(&self.programs.get(global.program)?.constants, global.index).ok()?
    }
}

impl Linked<'_> {
    /// Its item `index`; it is program number `program`.
    fn entity(&self, program: usize, kind: ExternalKind, index: u32) -> Result<Entity, NotFused> {
        let own = |imported: &[Own]| at(imported, index).unwrap_or(Own { program, index });
        Ok(match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Entity::Func(self.function(program, index)),
            ExternalKind::Table => Entity::Table(own(&self.tables)),
            ExternalKind::Memory => Entity::Memory(own(&self.memories)),
            ExternalKind::Global => Entity::Global(own(&self.globals)),
            ExternalKind::Tag => return NotFused::shape("a tag", "no exceptions"),
        })
    }

    /// Its function `index`; it is program number `program`.
    pub(crate) fn function(&self, program: usize, index: u32) -> Func {
        at(&self.functions, index).unwrap_or(Func::Own(Own { program, index }))
    }
}
