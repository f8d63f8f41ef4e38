//! Times, sizes and counts in a readable form.

use std::time::{Duration, SystemTime};

use bytesize::ByteSize;

use crate::args::LogTime;

/// The time now, Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "the terminal is an edge: ages are relative to the clock")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `time`, Unix milliseconds.
pub(crate) fn unix_ms(time: LogTime) -> u64 {
    match time {
        LogTime::Ago(ago) => now_ms().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)),
        LogTime::At(at) => {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        }
    }
}

/// `2026-11-22T10:00:00.123Z`, in UTC.
pub(crate) fn instant(unix_ms: u64) -> String {
    humantime::format_rfc3339_millis(moment(unix_ms)).to_string()
}

/// `2026-11-22T10:00:00Z`, in UTC.
pub(crate) fn second(unix_ms: u64) -> String {
    humantime::format_rfc3339_seconds(moment(unix_ms)).to_string()
}

fn moment(unix_ms: u64) -> SystemTime {
    // The last second of the year 9999: RFC 3339 cannot express later times.
    SystemTime::UNIX_EPOCH + Duration::from_millis(unix_ms.min(253_402_300_799_000))
}

/// The time from `unix_ms` to `now_ms` in its largest unit: `5s`, `3m`, `2h`, `9d`.
pub(crate) fn age(unix_ms: u64, now_ms: u64) -> String {
    let seconds = now_ms.saturating_sub(unix_ms) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// `0.84 ms`, `12.3 ms`, `1240 ms`; `-` if nothing was measured.
pub(crate) fn latency(ms: Option<f64>) -> String {
    match ms {
        None => "-".to_owned(),
        Some(ms) if ms < 10.0 => format!("{ms:.2} ms"),
        Some(ms) if ms < 100.0 => format!("{ms:.1} ms"),
        Some(ms) => format!("{ms:.0} ms"),
    }
}

/// `1.5 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    ByteSize::b(bytes).display().iec().to_string()
}

/// Failures and their share of the requests: `12 (1.20%)`.
pub(crate) fn failures(failures: u64, requests: u64) -> String {
    if failures == 0 || requests == 0 {
        return failures.to_string();
    }
    #[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
    let percent = failures as f64 / requests as f64 * 100.0;
    format!("{failures} ({percent:.2}%)")
}
