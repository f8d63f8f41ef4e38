//! Large futures that are made where they stay.

use std::pin::Pin;

/// A box with what `make` makes.
///
/// `Box::pin` has its argument made on the stack and then copies all of it, which for a future is room for all that it
/// will ever hold, and nothing of it yet.
#[inline(always)]
pub(crate) fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}
