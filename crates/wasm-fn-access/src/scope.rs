//! Scopes: which functions and stages rights are for.

use std::fmt;

use wasm_fn_core::{FunctionName, StageName};

use crate::FunctionPattern;

/// Most patterns, and most stages, of one scope.
const ENTRIES_MAX: usize = 64;

/// Functions by pattern, and stages by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    // Invariant: 1 to 64 patterns, sorted, each once.
    functions: Box<[FunctionPattern]>,
    // Invariant: at most 64 stages, sorted, each once. None means all.
    stages: Box<[StageName]>,
}

/// What cannot be a scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// Too many patterns.
    #[error("{found} function patterns, expected at most 64")]
    Functions {
        /// The number found.
        found: usize,
    },
    /// Too many stages.
    #[error("{found} stages, expected at most 64")]
    Stages {
        /// The number found.
        found: usize,
    },
}

impl Scope {
    /// Functions that one of the patterns matches, in these stages. No pattern means all functions, no stage
    /// all stages.
    ///
    /// # Errors
    /// If there are more than 64 of either.
    pub fn new(
        functions: impl IntoIterator<Item = FunctionPattern>,
        stages: impl IntoIterator<Item = StageName>,
    ) -> Result<Self, ScopeError> {
        let (mut functions, mut stages): (Vec<_>, Vec<_>) =
            (functions.into_iter().collect(), stages.into_iter().collect());
        if functions.is_empty() {
            functions.push(FunctionPattern::all());
        }
        functions.sort();
        functions.dedup();
        stages.sort();
        stages.dedup();
        if functions.len() > ENTRIES_MAX {
            return Err(ScopeError::Functions { found: functions.len() });
        }
        if stages.len() > ENTRIES_MAX {
            return Err(ScopeError::Stages { found: stages.len() });
        }
        Ok(Self { functions: functions.into(), stages: stages.into() })
    }

    /// All functions in all stages.
    pub fn everything() -> Self {
        Self { functions: [FunctionPattern::all()].into(), stages: [].into() }
    }

    /// Whether it has all functions in all stages.
    pub fn is_everything(&self) -> bool {
        self.has_all_stages() && self.functions.iter().any(FunctionPattern::is_all)
    }

    /// Whether it has all stages of its functions.
    pub fn has_all_stages(&self) -> bool {
        self.stages.is_empty()
    }

    /// Whether it has `function`, in whichever stages.
    pub fn has_function(&self, function: &FunctionName) -> bool {
        self.functions.iter().any(|pattern| pattern.matches(function))
    }

    /// Whether it has stages of this name.
    pub fn has_stage(&self, stage: &StageName) -> bool {
        self.has_all_stages() || self.stages.contains(stage)
    }

    /// The patterns of its functions.
    pub fn functions(&self) -> &[FunctionPattern] {
        &self.functions
    }

    /// Its stages; none means all.
    pub fn stages(&self) -> &[StageName] {
        &self.stages
    }
}

/// `functions hello, shop-* in stage staging`, `all functions`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[&dyn fmt::Display]| {
            for (at, item) in items.iter().enumerate() {
                write!(f, "{}`{item}`", if at > 0 { ", " } else { " " })?;
            }
            Ok(())
        };
        if self.functions.iter().any(FunctionPattern::is_all) {
            f.write_str("all functions")?;
        } else {
            f.write_str(if self.functions.len() > 1 { "functions" } else { "function" })?;
            list(f, &self.functions.iter().map(|item| item as _).collect::<Vec<_>>())?;
        }
        if !self.has_all_stages() {
            f.write_str(if self.stages.len() > 1 { " in stages" } else { " in stage" })?;
            list(f, &self.stages.iter().map(|item| item as _).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
