//! Describes traps, so that the same trap in two builds is recognised.

use std::fmt::Write as _;

use wasm_fn_core::Trap;
use wasm_fn_fuse::TableTrap;
use wasmtime::{FrameInfo, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Frames that are read, innermost first; as many as wasmtime keeps.
const FRAMES_MAX: usize = 20;

/// Longest text of a trap, bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// Describes the error of a guest that stopped, in a sentence. `is_linked` says that its component was
/// linked: only then some functions stand for traps of tables. In others a function may have any name.
pub(crate) fn reason(error: &wasmtime::Error, is_linked: bool) -> String {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        format!("it exited with status {}", exit.0)
    } else if let Some(trap) = kind(error, is_linked) {
        trap.to_string()
    } else {
        error.root_cause().to_string()
    }
}

/// Whether `error` is the end of a guest that exited with status 0.
pub(crate) fn is_success(error: &wasmtime::Error) -> bool {
    error.downcast_ref().is_some_and(|I32Exit(status)| *status == 0)
}

/// The trap of the engine in `error`, or the table trap that it stands for.
pub(crate) fn kind(error: &wasmtime::Error, is_linked: bool) -> Option<wasmtime::Trap> {
    let trap = error.downcast_ref::<wasmtime::Trap>().copied();
    table_trap(error, is_linked).map_or(trap, |trap| {
        Some(match trap {
            TableTrap::OtherType => wasmtime::Trap::BadSignature,
            TableTrap::Empty => wasmtime::Trap::IndirectCallToNull,
            TableTrap::Outside => wasmtime::Trap::TableOutOfBounds,
        })
    })
}

/// The trap of a table that fusing has removed.
fn table_trap(error: &wasmtime::Error, is_linked: bool) -> Option<TableTrap> {
    if !is_linked || error.downcast_ref() != Some(&wasmtime::Trap::UnreachableCodeReached) {
        return None;
    }
    TableTrap::of(error.downcast_ref::<WasmBacktrace>()?.frames().first()?.func_name()?)
}

/// The trap in `error`, which `reason` describes.
pub(crate) fn trap(error: &wasmtime::Error, is_linked: bool, reason: &str) -> Trap {
    let mut frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    if table_trap(error, is_linked).is_some() {
        // The innermost two functions are not the guest's: one traps, the other looks up the called function.
        frames.drain(..frames.len().min(2));
    }
    // Errors of the host may contain handles, which differ between requests.
    let kind = if error.is::<I32Exit>() || error.is::<wasmtime::Trap>() {
        reason.to_owned()
    } else {
        reason.replace(|c: char| c.is_ascii_digit(), "")
    };
    let overflow = error.downcast_ref() == Some(&wasmtime::Trap::StackOverflow);
    let names = frames.iter().filter_map(|frame| frame.as_ref().ok().map(String::as_str));
    Trap {
        fingerprint: fingerprint(&kind, names.collect(), overflow),
        backtrace: text(reason, &frames).into(),
    }
}

/// 64 bits of the BLAKE3 hash of `kind` and `names`, innermost first.
///
/// How often a function called itself does not identify the trap. Where a recursion met the end of the stack
/// is chance, so on `overflow` the order does not count either.
fn fingerprint(kind: &str, mut names: Vec<&str>, overflow: bool) -> u64 {
    if overflow {
        names.sort_unstable();
    }
    names.dedup();
    let mut hasher = blake3::Hasher::new();
    for part in std::iter::once(kind).chain(names) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A line for `reason` and one for each frame.
fn text(reason: &str, frames: &[Result<String, String>]) -> String {
    let mut text = reason.to_owned();
    for (number, Ok(frame) | Err(frame)) in frames.iter().enumerate() {
        text.push('\n');
        let _ = write!(text, "{number:>3}: ");
        // The guest chooses the names, and they end up on terminals.
        text.extend(frame.chars().map(|c| if c.is_control() { '?' } else { c }));
    }
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// The functions in `backtrace`: their names, or the position of those without a name.
fn frames(backtrace: &WasmBacktrace) -> Vec<Result<String, String>> {
    let shown = backtrace.to_string();
    let mut rest = shown.as_str();
    let frames = backtrace.frames().iter().enumerate().take(FRAMES_MAX);
    let frame = |(number, frame): (usize, &FrameInfo)| {
        let Some(name) = frame.func_name() else {
            let offset = frame.module_offset().unwrap_or_default();
            return Err(format!("function {} at {offset:#x}", frame.func_index()));
        };
        // Only the text of wasmtime has demangled names.
        let demangled = demangled(&mut rest, number, frame);
        Ok(without_hashes(demangled.unwrap_or(name)))
    };
    frames.map(frame).collect()
}

/// The name of `frame`, with this `number`, in wasmtime's text of a backtrace; `None` when the text has
/// another layout. `rest` is the text after the previous frame.
fn demangled<'a>(rest: &mut &'a str, number: usize, frame: &FrameInfo) -> Option<&'a str> {
    let module = frame.module().name().unwrap_or("<unknown>");
    let offset = frame.module_offset().map(|offset| format!("{offset:#8x} - ")).unwrap_or_default();
    let (_, name) = rest.split_once(&format!("  {number:>3}: {offset}{module}!"))?;
    *rest = name;
    name.lines().next()
}

/// `name` without the hashes of Rust, which differ between builds: `::h0123456789abcdef` at the end, and
/// `[01ab…]` after the name of a crate.
fn without_hashes(name: &str) -> String {
    let is_hash = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    let name = match name.rsplit_once("::h") {
        Some((before, hash)) if hash.len() == 16 && is_hash(hash) => before,
        _ => name,
    };
    let mut kept = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once('[') {
        kept.push_str(before);
        let named = before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        match after.split_once(']') {
            Some((hash, after)) if named && is_hash(hash) => rest = after,
            _ => {
                kept.push('[');
                rest = after;
            }
        }
    }
    kept + rest
}

#[cfg(test)]
mod tests;
