//! Which core functions a canonical function names.

use wasm_encoder::{
    CanonicalFunctionSection,
    reencode::{Error, Reencode, ReencodeComponent},
};
use wasmparser::CanonicalFunction;

use crate::NotFused;

/// The core functions of the component that `function` names.
///
/// # Errors
/// The function cannot be written again.
pub(crate) fn core_functions(function: &CanonicalFunction) -> Result<Vec<u32>, NotFused> {
    let mut collector = Collector(Vec::new());
    collector.parse_component_canonical(&mut CanonicalFunctionSection::new(), function.clone())?;
    Ok(collector.0)
}

/// Collects the core functions that it meets.
struct Collector(Vec<u32>);

impl Reencode for Collector {
    type Error = NotFused;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<NotFused>> {
        self.0.push(function);
        Ok(function)
    }

    fn table_index(&mut self, _: u32) -> Result<u32, Error<NotFused>> {
        threads()
    }

    fn type_index(&mut self, _: u32) -> Result<u32, Error<NotFused>> {
        threads()
    }
}

impl ReencodeComponent for Collector {}

fn threads() -> Result<u32, Error<NotFused>> {
    NotFused::shape("a function of threads or core types", "those of functions, resources and streams")
        .map_err(Error::UserError)
}
