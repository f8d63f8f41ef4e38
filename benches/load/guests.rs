//! What answers: the prebuilt example guests, and those too large to keep, which are built on demand.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Serialize;
use wasm_fn_benches::guests::{self, Recipe};

use crate::requests::Requests;

/// Bytes that are sent to the echo and back.
const ECHO_LEN: usize = 64 * 1024;

/// What runs on a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub(crate) enum Guest {
    /// Nothing: the system answers by itself.
    Native,
    Hello02,
    Hello03,
    Cgi,
    Echo,
    /// SpiderMonkey in a 0.2 component.
    JavaScript,
    /// QuickJS in a 0.3 component.
    QuickJs,
    Python,
}

impl fmt::Display for Guest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Native => "native",
            Self::Hello02 => "hello 0.2",
            Self::Hello03 => "hello 0.3",
            Self::Cgi => "hello CGI",
            Self::Echo => "echo of 64 KiB",
            Self::JavaScript => "hello JavaScript",
            Self::QuickJs => "hello QuickJS",
            Self::Python => "hello Python",
        })
    }
}

impl From<Guest> for String {
    fn from(guest: Guest) -> Self {
        guest.to_string()
    }
}

impl Guest {
    fn recipe(self) -> Option<Recipe> {
        match self {
            Self::JavaScript => Some(guests::JAVASCRIPT),
            Self::QuickJs => Some(guests::QUICKJS),
            Self::Python => Some(guests::PYTHON),
            Self::Native | Self::Hello02 | Self::Hello03 | Self::Cgi | Self::Echo => None,
        }
    }

    /// What it is asked at `path`, and what it answers.
    pub(crate) fn requests(self, path: &str) -> Requests {
        match self {
            Self::Native | Self::Hello02 | Self::Hello03 => Requests::same(path, None, "hello from v1\n"),
            Self::Cgi => Requests::same(path, None, "hello from C\n"),
            Self::Echo => {
                let body: String = ('a'..='z').cycle().take(ECHO_LEN).collect();
                Requests::same(path, Some(&body), &body)
            }
            Self::JavaScript | Self::QuickJs => Requests::same(path, None, "hello from JavaScript\n"),
            Self::Python => Requests::same(path, None, "hello from Python\n"),
        }
    }

    /// The file of the guest; builds it when it is none of the prebuilt ones and was not built before from
    /// the same source.
    ///
    /// # Errors
    ///
    /// It cannot be built, as when its compiler cannot be had; says why.
    pub(crate) fn file(self, root: &Path, target: &Path) -> Result<PathBuf> {
        let name = match self {
            Self::Hello02 => "hello-v1.wasm",
            Self::Hello03 => "hello-p3.wasm",
            Self::Cgi => "c-hello.wasm",
            Self::Echo => "echo.wasm",
            Self::Native | Self::JavaScript | Self::QuickJs | Self::Python => {
                let recipe = self.recipe().with_context(|| format!("{self} is no file"))?;
                return recipe.build(root, target);
            }
        };
        Ok(root.join("guest-examples/prebuilt").join(name))
    }
}
