//! Large futures that are made in place.

use std::pin::Pin;

/// Makes a boxed future in place.
///
/// `Box::pin` makes its argument on the stack and then copies it. A future has room for everything that it
/// will ever hold, so that copy is large.
#[inline(always)]
pub(crate) fn in_place<F>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}
