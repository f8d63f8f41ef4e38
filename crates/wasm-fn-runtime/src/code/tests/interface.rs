//! What modules have from each other, and what they are for: what makers of modules and of components share.

/// A type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    I32,
    I64,
    F64,
}

impl Value {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F64 => "f64",
        }
    }
}

/// A type of functions, by its place in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Signature {
    Unary,
    Wide,
    Bare,
    Realloc,
    Float,
    Sink,
    /// The host's, as they are lowered.
    Mark,
    Text,
    Fetch,
    Give,
}

impl Signature {
    pub(super) const ALL: [Self; 10] = [
        Self::Unary,
        Self::Wide,
        Self::Bare,
        Self::Realloc,
        Self::Float,
        Self::Sink,
        Self::Mark,
        Self::Text,
        Self::Fetch,
        Self::Give,
    ];

    /// Those of functions that programs call from each other.
    pub(super) const SHARED: [Self; 6] =
        [Self::Unary, Self::Wide, Self::Bare, Self::Float, Self::Sink, Self::Give];

    pub(super) fn params(self) -> &'static [Value] {
        use Value::{F64, I32, I64};
        match self {
            Self::Unary | Self::Sink => &[I32],
            Self::Wide | Self::Mark => &[I32, I64],
            Self::Bare | Self::Give => &[],
            Self::Realloc => &[I32, I32, I32, I32],
            Self::Float => &[F64],
            Self::Text | Self::Fetch => &[I32, I32],
        }
    }

    pub(super) fn result(self) -> Option<Value> {
        match self {
            Self::Unary | Self::Realloc | Self::Text | Self::Give => Some(Value::I32),
            Self::Wide => Some(Value::I64),
            Self::Float => Some(Value::F64),
            Self::Bare | Self::Sink | Self::Mark | Self::Fetch => None,
        }
    }

    /// Its text within `(func …)`.
    pub(super) fn text(self) -> String {
        let params: String = self.params().iter().map(|ty| format!(" (param {})", ty.name())).collect();
        let result = self.result().map(|ty| format!(" (result {})", ty.name())).unwrap_or_default();
        params + &result
    }
}

/// The type of what one module has from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Func(Signature),
    Memory { pages: u32, pages_max: u32 },
    Table { slots: u32 },
    Global { ty: Value, mutable: bool },
}

impl Kind {
    /// Its text in an import.
    pub(super) fn text(self) -> String {
        match self {
            Self::Func(signature) => format!("(func{})", signature.text()),
            Self::Memory { pages: 0, .. } => "(memory 0)".to_owned(),
            Self::Memory { pages, pages_max } => format!("(memory {pages} {pages_max})"),
            Self::Table { slots } => format!("(table {slots} funcref)"),
            Self::Global { ty, mutable: true } => format!("(global (mut {}))", ty.name()),
            Self::Global { ty, mutable: false } => format!("(global {})", ty.name()),
        }
    }
}

/// What a module may import.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) module: &'static str,
    pub(super) field: String,
    pub(super) kind: Kind,
    /// What it is in the component: `(func $p0 "f1")`.
    pub(super) source: String,
}

/// What a module exports.
#[derive(Clone, Debug)]
pub(super) struct Export {
    pub(super) name: String,
    pub(super) kind: Kind,
}

/// What a module is for.
#[derive(Clone, Debug)]
pub(super) struct Role {
    /// Its name.
    pub(super) name: String,
    /// What its text begins with.
    pub(super) annotations: String,
    pub(super) exports: Vec<Export>,
    pub(super) has_start: bool,
    /// Whether it has data, elements and tables of its own.
    pub(super) has_segments: bool,
    /// Whether it changes tables, reads them, or copies segments: then less of it is linked.
    pub(super) is_bold: bool,
    /// One of this many statements may trap.
    pub(super) risk: u32,
}
