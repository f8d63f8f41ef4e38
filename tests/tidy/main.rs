//! What ARCHITECTURE.md and the style promise about the sources, held by tests.
//!
//! Each test lists everything that is wrong, so that one run is enough to put it right.

#[cfg(test)]
mod circles;
#[cfg(test)]
mod edges;
#[cfg(test)]
mod files;
#[cfg(test)]
mod links;
#[cfg(test)]
mod map;
#[cfg(test)]
mod names;
#[cfg(test)]
mod sources;
