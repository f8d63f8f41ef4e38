//! What a store has acknowledged outlives the process that wrote it, however that ends, and a disk that is
//! full.

#[cfg(test)]
mod child;
#[cfg(test)]
mod full;
#[cfg(test)]
mod killed;
