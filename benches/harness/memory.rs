//! What a process occupies, by the kernel's books (proc(5)).

#[cfg(test)]
mod tests;

use std::fs;

use anyhow::{Context as _, Result};

/// Mappings that are listed one by one; the others are added up.
const LARGE_KIB: u64 = 1024;

/// The memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pid: u32,
}

impl Memory {
    /// That of process `pid`.
    #[must_use]
    pub fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// What is resident now, bytes.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn resident_bytes(self) -> Result<u64> {
        // Not `status`, whose count may lag behind by what each thread has not told yet.
        field_bytes(&self.read("smaps_rollup")?, "Rss:")
    }

    /// The most that was resident so far, bytes; may lag behind by a few pages of each thread.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn peak_bytes(self) -> Result<u64> {
        field_bytes(&self.read("status")?, "VmHWM:")
    }

    /// Its mappings of which a MiB or more is resident, a line each, and the others together.
    ///
    /// # Errors
    ///
    /// The process is gone.
    pub fn mappings(self) -> Result<String> {
        Ok(listing(&self.read("smaps")?))
    }

    fn read(self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).with_context(|| format!("{path} cannot be read"))
    }
}

fn field_bytes(text: &str, field: &str) -> Result<u64> {
    let kib = text.lines().find_map(|line| kib(line, field));
    Ok(kib.with_context(|| format!("there is no `{field}` of a process that is alive"))? * 1024)
}

/// What `line` says of `field`.
fn kib(line: &str, field: &str) -> Option<u64> {
    line.strip_prefix(field)?.split_whitespace().next()?.parse().ok()
}

fn listing(smaps: &str) -> String {
    let (mut lines, mut head) = (Vec::new(), "");
    let (mut small, mut small_kib) = (0_u32, 0);
    for line in smaps.lines() {
        if let Some(kib) = kib(line, "Rss:") {
            if kib >= LARGE_KIB {
                lines.push(format!("{kib:>9} KiB  {head}"));
            } else if kib > 0 {
                small += 1;
                small_kib += kib;
            }
        } else if line.split(' ').next().is_some_and(|word| word.contains('-')) {
            head = line;
        }
    }
    lines.push(format!("{small_kib:>9} KiB  in {small} others"));
    lines.join("\n")
}
