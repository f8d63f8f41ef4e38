//! What a trap was and where: told so that the same trap of two builds is recognised.

use std::fmt::Write as _;

use wasm_fn_core::Trap;
use wasm_fn_fuse::TableTrap;
use wasmtime::{FrameInfo, WasmBacktrace};
use wasmtime_wasi::I32Exit;

/// Frames that are looked at, innermost first; as many as wasmtime keeps.
const FRAMES_MAX: usize = 20;

/// Longest text of a trap, bytes.
const TEXT_BYTES_MAX: usize = 4 << 10;

/// The error of a guest that stopped, in a sentence.
pub(crate) fn reason(error: &wasmtime::Error) -> String {
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        format!("it exited with status {}", exit.0)
    } else if let Some(trap) = kind(error) {
        trap.to_string()
    } else {
        error.root_cause().to_string()
    }
}

/// The engine's trap in `error`, or the one that it stands for.
pub(crate) fn kind(error: &wasmtime::Error) -> Option<wasmtime::Trap> {
    let trap = error.downcast_ref::<wasmtime::Trap>().copied();
    table_trap(error).map_or(trap, |trap| {
        Some(match trap {
            TableTrap::OtherType => wasmtime::Trap::BadSignature,
            TableTrap::Empty => wasmtime::Trap::IndirectCallToNull,
            TableTrap::Outside => wasmtime::Trap::TableOutOfBounds,
        })
    })
}

/// The trap of a table that linking left out.
fn table_trap(error: &wasmtime::Error) -> Option<TableTrap> {
    if error.downcast_ref() != Some(&wasmtime::Trap::UnreachableCodeReached) {
        return None;
    }
    TableTrap::of(error.downcast_ref::<WasmBacktrace>()?.frames().first()?.func_name()?)
}

/// The trap in `error`, of which `reason` is the sentence.
pub(crate) fn trap(error: &wasmtime::Error, reason: &str) -> Trap {
    let mut frames = error.downcast_ref::<WasmBacktrace>().map(frames).unwrap_or_default();
    if table_trap(error).is_some() {
        // What trapped, and what looked for the function that is called: they are not the guest's.
        frames.drain(..frames.len().min(2));
    }
    // The host's own errors may name handles, which differ from one request to the next.
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
/// How often a function called itself is not what the trap was. Where a recursion met the end of the stack
/// is chance, so that on `overflow` the order does not count either.
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
        // Names are the guest's to choose, and end up on terminals.
        text.extend(frame.chars().map(|c| if c.is_control() { '?' } else { c }));
    }
    text.truncate(text.floor_char_boundary(TEXT_BYTES_MAX));
    text
}

/// The functions that `backtrace` came through: their names, or where those without one are.
fn frames(backtrace: &WasmBacktrace) -> Vec<Result<String, String>> {
    let shown = backtrace.to_string();
    let mut rest = shown.as_str();
    let frames = backtrace.frames().iter().enumerate().take(FRAMES_MAX);
    let frame = |(number, frame): (usize, &FrameInfo)| {
        let Some(name) = frame.func_name() else {
            let offset = frame.module_offset().unwrap_or_default();
            return Err(format!("function {} at {offset:#x}", frame.func_index()));
        };
        // Only wasmtime's own text has names demangled.
        let demangled = demangled(&mut rest, number, frame);
        Ok(without_hashes(demangled.unwrap_or(name)))
    };
    frames.map(frame).collect()
}

/// The name of `frame`, the one with `number`, in wasmtime's text of a backtrace; `None` when the text is
/// laid out otherwise. `rest` is what follows the frame before.
fn demangled<'a>(rest: &mut &'a str, number: usize, frame: &FrameInfo) -> Option<&'a str> {
    let module = frame.module().name().unwrap_or("<unknown>");
    let offset = frame.module_offset().map(|offset| format!("{offset:#8x} - ")).unwrap_or_default();
    let (_, name) = rest.split_once(&format!("  {number:>3}: {offset}{module}!"))?;
    *rest = name;
    name.lines().next()
}

/// `name` without what Rust adds to tell builds apart: `::h0123456789abcdef` at the end, and `[01ab…]` after
/// the name of a crate.
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
