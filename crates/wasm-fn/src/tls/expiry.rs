//! When to warn of a certificate that ends. Pure.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use super::certificate::{Certificate, Validity};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is left of a certificate when its end is due for a warning, the longest first.
const LEFT: [Duration; 3] = [DAY.saturating_mul(30), DAY.saturating_mul(7), DAY];

/// A warning comes only if the certificate lives longer than this many times what is left then. Whoever
/// renews certificates does it when a third of their life is left or earlier, and needs no warning each time.
const LIFE_MIN: u32 = 4;

/// A certificate that a listener shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// The file that it is in.
    pub(crate) cert: PathBuf,
    pub(crate) certificate: Certificate,
}

/// How near the end of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Nearness {
    /// Less is left than the one of [`LEFT`] with this index.
    Near(usize),
    /// It is over.
    Over,
}

/// What the log has to say of the end of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EndWarning {
    cert: PathBuf,
    title: String,
    at: SystemTime,
    left: Duration,
}

/// The warnings so far: by certificate, how near its end was.
#[derive(Debug, Default)]
pub(crate) struct EndWarnings(HashMap<(PathBuf, SystemTime), Option<Nearness>>);

/// How near the end of `certificate` is at `now`; `None` if it is far.
pub(crate) fn nearness(certificate: &Certificate, now: SystemTime) -> Option<Nearness> {
    let left = match certificate.validity(now) {
        Validity::Expired(_) => return Some(Nearness::Over),
        Validity::NotYet(_) => return None,
        Validity::Valid(left) => left,
    };
    let life = certificate.not_after.duration_since(certificate.not_before).unwrap_or_default();
    let is_near = |at: &usize| left <= LEFT[*at] && life > LEFT[*at] * LIFE_MIN;
    (0..LEFT.len()).rev().find(is_near).map(Nearness::Near)
}

impl EndWarnings {
    /// What is to be said of `shown` at `now`, and was not said yet. That a certificate is over when it is
    /// seen first was said when it was read.
    pub(crate) fn due<'a>(
        &mut self,
        shown: impl IntoIterator<Item = &'a Shown>,
        now: SystemTime,
    ) -> Vec<EndWarning> {
        let mut due = Vec::new();
        let mut still = HashMap::new();
        for Shown { cert, certificate } in shown {
            let (at, near) = (certificate.not_after, nearness(certificate, now));
            let key = (cert.clone(), at);
            let said =
                self.0.get(&key).copied().unwrap_or_else(|| near.filter(|&near| near == Nearness::Over));
            if near > said {
                let left = at.duration_since(now).unwrap_or_default();
                due.push(EndWarning { cert: cert.clone(), title: certificate.title().to_owned(), at, left });
            }
            still.insert(key, near.max(said));
        }
        // Those that were replaced are forgotten.
        self.0 = still;
        due
    }
}

impl fmt::Display for EndWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cert, title, at) =
            (self.cert.display(), &self.title, humantime::format_rfc3339_seconds(self.at));
        if self.left.is_zero() {
            return write!(f, "the certificate of {title} in {cert} expired at {at}: clients refuse it");
        }
        let hours = self.left.as_secs() / 3600;
        let left = match (hours / 24, hours) {
            (0, hours) => format!("{hours} h"),
            (days, _) => format!("{days} d"),
        };
        write!(
            f,
            "the certificate of {title} in {cert} expires at {at}, in {left}: renew it, and check what should \
             have renewed it"
        )
    }
}

#[cfg(test)]
mod tests;
