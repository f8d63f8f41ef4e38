//! What is released how: the runs.

use std::{fmt, path::Path};

use anyhow::{Context as _, Result};
use wasm_fn_benches::guests;

/// Requests in a second at which an identical version is released.
const RATES: [u32; 3] = [20, 100, 500];

/// Requests in a second at which a slower one is.
const SLOWER_RATE: u32 = 100;

/// How a version gets its traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// So many per cent, which stay.
    Canary(u32),
    /// Everybody, and a watch.
    AllAtOnce,
}

/// One component that is released as its own successor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    Python,
    /// SpiderMonkey in a 0.2 component.
    JavaScript,
    /// QuickJS in a 0.3 component.
    QuickJs,
    Hello02,
    Hello03,
    /// Computes for as long as its configuration says: its successor takes half as long again.
    Compute,
}

/// One run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) guest: Guest,
    pub(crate) release: Release,
    /// Requests in a second.
    pub(crate) rate: u32,
}

impl fmt::Display for Release {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Canary(percent) => write!(out, "{percent} %"),
            Self::AllAtOnce => out.write_str("all at once"),
        }
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Python => "Python",
            Self::JavaScript => "JavaScript",
            Self::QuickJs => "QuickJS",
            Self::Hello02 => "hello 0.2",
            Self::Hello03 => "hello 0.3",
            Self::Compute => "compute, 1.5 times",
        })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}, {}/s", self.guest, self.release, self.rate)
    }
}

impl Guest {
    /// The component; builds it when it is none of the prebuilt ones and was not built before from the same
    /// source.
    ///
    /// # Errors
    ///
    /// It cannot be read or built; says why.
    pub(crate) fn component(self, root: &Path, target: &Path) -> Result<Vec<u8>> {
        let prebuilt = |name| Ok(root.join("guest-examples/prebuilt").join(name));
        let file = match self {
            Self::Python => guests::PYTHON.build(root, target),
            Self::JavaScript => guests::JAVASCRIPT.build(root, target),
            Self::QuickJs => guests::QUICKJS.build(root, target),
            Self::Hello02 => prebuilt("hello-v1.wasm"),
            Self::Hello03 => prebuilt("hello-p3.wasm"),
            Self::Compute => prebuilt("spin.wasm"),
        }?;
        std::fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))
    }
}

impl Case {
    /// Whether what is released is no worse than what it replaces.
    pub(crate) fn identical(self) -> bool {
        self.guest != Guest::Compute
    }

    /// Every run. Those that follow each other are of different guests, and load a node alike.
    pub(crate) fn all() -> Vec<Self> {
        use Guest::{Compute, Hello02, Hello03, JavaScript, Python, QuickJs};
        use Release::{AllAtOnce, Canary};

        let mut all = Vec::new();
        for rate in RATES {
            for release in [Canary(1), Canary(2), Canary(10), Canary(50), AllAtOnce] {
                let guests = [Python, JavaScript, QuickJs, Hello02, Hello03];
                all.extend(guests.map(|guest| Self { guest, release, rate }));
            }
        }
        let slower = [Canary(2), Canary(10), Canary(50), AllAtOnce];
        all.extend(slower.map(|release| Self { guest: Compute, release, rate: SLOWER_RATE }));
        all
    }
}
