//! A real registry: Debian's docker-registry, with its storage in a folder of the test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Folder, Process, client::Client, programs::starts};

/// `htpasswd -nbB me secret`.
const PASSWORDS: &str = "me:$2y$05$EWwljOJ53pR9zr8mJfi.lOT47eEI/ykr2MW6SgiCSylLDC7uxPVzC\n";

/// A running registry.
pub(crate) struct Registry {
    _process: Process,
    pub(crate) address: SocketAddr,
    folder: Folder,
}

impl Registry {
    /// Starts one that anybody may write to. `None` where it is not installed: `test` is skipped then.
    pub(crate) async fn open(test: &str) -> Option<Self> {
        Self::start(test, false).await
    }

    /// Starts one for the user `me` with the password `secret`.
    pub(crate) async fn with_password(test: &str) -> Option<Self> {
        Self::start(test, true).await
    }

    async fn start(test: &str, has_password: bool) -> Option<Self> {
        if !starts(Command::new("docker-registry").arg("--version"), "docker-registry", test) {
            return None;
        }
        let folder = Folder::new();
        let mut config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:0\n  \
             secret: for-uploads\n",
            folder.path().join("storage").display()
        );
        if has_password {
            let passwords = folder.write("passwords", PASSWORDS);
            config += &format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", passwords.display());
        }
        let config = folder.write("config.yml", config);
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::spawn(&mut command);
        let address = process.line("the registry's readiness", |line| {
            let (_, rest) = line.split_once("listening on ")?;
            rest.split(['"', ' ', ',']).next()?.parse().ok()
        });
        let address = address.await;
        Some(Self { _process: process, address, folder })
    }

    /// The reference of an artifact here, such as `acme/hello:v1`.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("oci://{}/{name}", self.address)
    }

    /// A client of the registry itself.
    pub(crate) fn http(&self) -> Client {
        Client::http1(self.address)
    }

    /// A path in its storage.
    pub(crate) fn stored(&self, path: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join("storage/docker/registry/v2").join(path)
    }

    /// The file of the blob with this SHA-256 in hexadecimal digits.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        self.stored(format!("blobs/sha256/{}/{digest}/data", &digest[..2]))
    }
}
