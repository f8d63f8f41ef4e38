//! Facts about CPU time.
