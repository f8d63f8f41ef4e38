//! The traps of a table that was replaced.

/// Why a call through a table traps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TableTrap {
    /// The slot has a function of another type.
    OtherType,
    /// The slot is empty.
    Empty,
    /// There is no such slot.
    Outside,
}

impl TableTrap {
    pub(crate) const ALL: [Self; 3] = [Self::OtherType, Self::Empty, Self::Outside];

    /// The trap that the function `name` of a fused component stands for. It executes `unreachable`, since
    /// there is no table any more that would trap. In other components a function may have any name; one in
    /// which a function of the guest has such a name is not fused.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trap| trap.name() == name)
    }

    /// The name of its function.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OtherType => "call of another type through a table",
            Self::Empty => "call of an empty slot of a table",
            Self::Outside => "call of a slot outside of a table",
        }
    }
}
