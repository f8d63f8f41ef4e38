//! Limits what compiling a component can take, before any of it is compiled: code, functions, and values that
//! the compiler passes between blocks. A compilation cannot be stopped, so this is what bounds it.
//!
//! It knows no compiler. What it counts is what any compiler to SSA form has to make at most: for each place
//! where paths of a function meet, a value for each local that is read behind it (Braun et al.,
//! "Simple and Efficient Construction of Static Single Assignment Form", 2013), once for each path.

use wasmparser::{BlockType, CompositeInnerType, FunctionBody, Operator, Parser, Payload};

/// How deep modules and components may be in each other. What the engine keeps of each grows with its depth.
const DEPTH_MAX: u64 = 64;

/// Most functions of a component.
const FUNCTIONS_MAX: u64 = 500_000;

/// Most bytes of code.
const CODE_BYTES_MAX: u64 = 128 << 20;

/// Most bytes of one function.
const FUNCTION_BYTES_MAX: u64 = 2 << 20;

/// Most blocks of one function, which branches begin too. Each takes some kilobytes of the compiler's memory.
const FUNCTION_BLOCKS_MAX: u64 = 131_072;

/// Most locals of one function, and the engine's limit.
const LOCALS_MAX: u64 = 50_000;

/// Most values that are passed between the blocks of one function. Each takes up to 200 bytes of the
/// compiler's memory.
const FUNCTION_VALUES_MAX: u64 = 4_000_000;

/// From how many values on a function is large. Several of them are compiled at once.
const LARGE_VALUES: u64 = 250_000;

/// Most values that are passed between the blocks of all large functions together.
const LARGE_VALUES_MAX: u64 = 16_000_000;

/// Why a component would take too much to compile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum EffortError {
    /// It is malformed.
    Malformed(String),
    /// It is over a limit; says what was found and what was expected.
    Exceeded(String),
}

/// Checks that `component` takes a bounded effort to compile.
///
/// # Errors
/// It is malformed, or over a limit.
pub(crate) fn check(component: &[u8]) -> Result<(), EffortError> {
    let mut effort = Effort::default();
    for payload in Parser::new(0).parse_all(component) {
        payload.map_err(malformed).and_then(|payload| effort.take(payload))?;
    }
    Ok(())
}

fn malformed(error: wasmparser::BinaryReaderError) -> EffortError {
    EffortError::Malformed(error.to_string())
}

fn within(what: &str, found: u64, max: u64) -> Result<(), EffortError> {
    if found <= max {
        return Ok(());
    }
    Err(EffortError::Exceeded(format!("{what}: found {found}, expected at most {max}")))
}

/// What was found so far.
#[derive(Default)]
struct Effort {
    functions: u64,
    code_bytes: u64,
    large_values: u64,
    /// The module that is read, and those around it.
    modules: Vec<Module>,
}

/// What is needed of a module to read its code.
#[derive(Default)]
struct Module {
    types: Vec<Arity>,
    /// Types of its own functions, those whose code was read left out.
    functions: std::vec::IntoIter<u32>,
}

/// How many values a type takes and gives.
#[derive(Clone, Copy, Default)]
struct Arity {
    params: u64,
    results: u64,
}

impl Effort {
    fn take(&mut self, payload: Payload<'_>) -> Result<(), EffortError> {
        match payload {
            Payload::Version { .. } => {
                self.modules.push(Module::default());
                within("depth of components in components", self.modules.len() as u64, DEPTH_MAX)?;
            }
            Payload::End(_) => drop(self.modules.pop()),
            Payload::CodeSectionStart { count, .. } => {
                self.functions += u64::from(count);
                within("functions", self.functions, FUNCTIONS_MAX)?;
            }
            Payload::CodeSectionEntry(body) => self.take_body(&body)?,
            payload => {
                if let Some(module) = self.modules.last_mut() {
                    module.take(payload).map_err(malformed)?;
                }
            }
        }
        Ok(())
    }

    fn take_body(&mut self, body: &FunctionBody<'_>) -> Result<(), EffortError> {
        let bytes = body.range().len() as u64;
        self.code_bytes += bytes;
        within("bytes of code", self.code_bytes, CODE_BYTES_MAX)?;
        within("bytes of one function", bytes, FUNCTION_BYTES_MAX)?;
        let Some(module) = self.modules.last_mut() else { return Ok(()) };
        let ty = module.functions.next();
        let results = ty.map_or(0, |ty| module.arity(ty).results);
        let values = values(body, module, results)?;
        if values >= LARGE_VALUES {
            self.large_values += values;
            within("values passed between blocks of large functions", self.large_values, LARGE_VALUES_MAX)?;
        }
        Ok(())
    }
}

impl Module {
    fn take(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.types.extend(group?.types().map(|ty| match &ty.composite_type.inner {
                        CompositeInnerType::Func(ty) => {
                            Arity { params: ty.params().len() as u64, results: ty.results().len() as u64 }
                        }
                        _ => Arity::default(),
                    }));
                }
            }
            Payload::FunctionSection(section) => {
                let types: wasmparser::Result<Vec<u32>> = section.into_iter().collect();
                self.functions = types?.into_iter();
            }
            _ => {}
        }
        Ok(())
    }

    /// That of type `index`. One that is not there is found when the module is validated.
    fn arity(&self, index: u32) -> Arity {
        self.types.get(index as usize).copied().unwrap_or_default()
    }

    fn arity_of_block(&self, ty: BlockType) -> Arity {
        match ty {
            BlockType::Empty => Arity::default(),
            BlockType::Type(_) => Arity { params: 0, results: 1 },
            BlockType::FuncType(index) => self.arity(index),
        }
    }
}

/// The most values that are passed between the blocks of `body`, a function with `results`.
fn values(body: &FunctionBody<'_>, module: &Module, results: u64) -> Result<u64, EffortError> {
    let outermost = Block { is_loop: false, paths: 0, passes: results };
    let mut flow = Flow { blocks: vec![outermost], segment: 1, ..Flow::default() };
    let mut operators = body.get_operators_reader().map_err(malformed)?;
    while !operators.eof() {
        flow.take(&operators.read().map_err(malformed)?, module)?;
        within("values passed between blocks of one function", flow.values, FUNCTION_VALUES_MAX)?;
        within("blocks of one function", flow.parts, FUNCTION_BLOCKS_MAX)?;
    }
    Ok(flow.values)
}

/// The flow of control through a function, as far as it was read. What is not valid is found later, and only
/// has to be counted somehow.
#[derive(Default)]
struct Flow {
    values: u64,
    /// Blocks that the compiler makes.
    parts: u64,
    /// Paths that have met.
    joins: u64,
    /// Stretches of code without a place where paths meet or part for good, from 1.
    segment: u64,
    /// Reads of locals that look for values behind such places.
    reads: u64,
    /// Those that are open, from the outermost.
    blocks: Vec<Block>,
    /// Those of them that are loops.
    loops: Vec<Loop>,
    locals: Vec<Local>,
}

/// A block that is open.
struct Block {
    is_loop: bool,
    /// Paths that lead to where branches to it go.
    paths: u64,
    /// Values that a branch to it passes.
    passes: u64,
}

/// A loop that is open.
struct Loop {
    /// Reads before it.
    began: u64,
    /// Locals that are read in it and were counted for it alone: what is counted for a loop is counted for
    /// those around it when it ends, unless it is taken off here.
    locals: i64,
}

/// What is known of a local.
#[derive(Clone, Copy, Default)]
struct Local {
    /// The number of its last read, from 1.
    read: u64,
    /// Paths that had met then.
    joins: u64,
    /// The segment that has set it last.
    set_in: u64,
}

impl Flow {
    fn take(&mut self, operator: &Operator<'_>, module: &Module) -> Result<(), EffortError> {
        match operator {
            Operator::Block { blockty } => self.open(module.arity_of_block(*blockty).results, 0),
            // Also the path that does not enter it, or that of its other branch.
            Operator::If { blockty } => self.open(module.arity_of_block(*blockty).results, 1),
            Operator::Loop { blockty } => {
                let Arity { params, .. } = module.arity_of_block(*blockty);
                self.parts += 1;
                self.values += params;
                self.joins += 1;
                self.segment += 1;
                self.blocks.push(Block { is_loop: true, paths: 0, passes: params });
                self.loops.push(Loop { began: self.reads, locals: 0 });
            }
            Operator::TryTable { try_table } => self.open(module.arity_of_block(try_table.ty).results, 0),
            Operator::Else => {
                self.parts += 1;
                self.segment += 1;
            }
            Operator::End => self.close(),
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                self.branch(*relative_depth)
            }
            Operator::BrTable { targets } => {
                self.branch(targets.default());
                for target in targets.targets() {
                    self.branch(target.map_err(malformed)?);
                }
            }
            Operator::Return => self.branch(u32::try_from(self.blocks.len().saturating_sub(1)).unwrap_or(0)),
            Operator::LocalGet { local_index } => self.read(*local_index)?,
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let segment = self.segment;
                self.local(*local_index)?.set_in = segment;
            }
            _ => {}
        }
        Ok(())
    }

    fn open(&mut self, passes: u64, paths: u64) {
        self.parts += 1;
        self.blocks.push(Block { is_loop: false, paths, passes });
    }

    fn close(&mut self) {
        self.segment += 1;
        let Some(block) = self.blocks.pop() else { return };
        if !block.is_loop {
            self.joins += block.paths + 1;
            self.values += block.passes;
            return;
        }
        self.joins += block.paths;
        let Some(Loop { locals, .. }) = self.loops.pop() else { return };
        self.values += block.paths.saturating_mul(locals.unsigned_abs());
        if let Some(around) = self.loops.last_mut() {
            around.locals += locals;
        }
    }

    fn branch(&mut self, depth: u32) {
        self.parts += 1;
        let at = self.blocks.len().checked_sub(depth as usize + 1);
        if let Some(block) = at.and_then(|at| self.blocks.get_mut(at)) {
            block.paths += 1;
            self.values += block.passes;
        }
    }

    fn local(&mut self, index: u32) -> Result<&mut Local, EffortError> {
        within("locals of one function", u64::from(index), LOCALS_MAX)?;
        let index = index as usize;
        if index >= self.locals.len() {
            self.locals.resize(index + 1, Local::default());
        }
        Ok(&mut self.locals[index])
    }

    fn read(&mut self, index: u32) -> Result<(), EffortError> {
        let (number, joins, segment) = (self.reads + 1, self.joins, self.segment);
        let local = self.local(index)?;
        if local.set_in == segment {
            return Ok(());
        }
        let last = std::mem::replace(local, Local { read: number, joins, ..*local });
        self.reads = number;
        self.values += joins - last.joins;
        // Loops that began after the last read count it now.
        let new = self.loops.partition_point(|open| open.began < last.read);
        if new < self.loops.len() {
            self.loops.last_mut().expect("there is a new one").locals += 1;
            if let Some(before) = new.checked_sub(1) {
                self.loops[before].locals -= 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
