//! Numbers of bytes, formatted for people.

/// Formats a number of bytes with a binary unit, such as `4.0 TiB`. Cuts to tenths instead of rounding, so
/// that a printed amount is never larger than the real one.
pub fn format_bytes(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let unit = usize::try_from(bytes.max(1).ilog2() / 10).unwrap_or(0).min(UNITS.len() - 1);
    if unit == 0 {
        return format!("{bytes} B");
    }
    let shift = 10 * unit;
    let tenths = (bytes >> (shift - 10)) % 1024 * 10 / 1024;
    format!("{}.{tenths} {}", bytes >> shift, UNITS[unit])
}

#[cfg(test)]
mod tests;
