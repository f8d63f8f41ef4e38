//! A real registry: Debian's docker-registry, with its storage in a folder of the test.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use bytes::Bytes;

use super::{
    Folder, Process,
    client::Client,
    programs::starts,
    tls::{Authority, parameters},
};

/// `htpasswd -nbB me secret`.
const PASSWORDS: &str = "me:$2y$05$EWwljOJ53pR9zr8mJfi.lOT47eEI/ykr2MW6SgiCSylLDC7uxPVzC\n";

/// A running registry.
pub(crate) struct Registry {
    _process: Process,
    pub(crate) address: SocketAddr,
    /// Whom its clients have to trust, in PEM.
    pub(crate) authorities: Option<Bytes>,
    folder: Folder,
}

impl Registry {
    /// Starts one that anybody may write to. `None` where it is not installed: `test` is skipped then.
    pub(crate) async fn open(test: &str) -> Option<Self> {
        Self::start(test, "127.0.0.1:0", |_| String::new()).await
    }

    /// Starts one for the user `me` with the password `secret`.
    pub(crate) async fn with_password(test: &str) -> Option<Self> {
        let auth = |folder: &Folder| {
            let passwords = folder.write("passwords", PASSWORDS);
            format!("auth:\n  htpasswd:\n    realm: test\n    path: {}\n", passwords.display())
        };
        Self::start(test, "127.0.0.1:0", auth).await
    }

    /// Starts one with a certificate of `authority`. It is not at a loopback address, where registries are
    /// spoken to without TLS: `test` is skipped where the machine has no other.
    pub(crate) async fn encrypted(test: &str, authority: &Authority) -> Option<Self> {
        let Some(ip) = own_address() else {
            eprintln!("skipped {test}: this machine has only loopback addresses");
            return None;
        };
        let pair = authority.issue(&parameters(&ip.to_string()));
        let tls = |folder: &Folder| {
            let [cert, key] = folder.write_pair("registry", &pair);
            format!("  tls:\n    certificate: {}\n    key: {}\n", cert.display(), key.display())
        };
        let started = Self::start(test, &SocketAddr::new(ip, 0).to_string(), tls).await?;
        Some(Self { authorities: Some(authority.pem().into()), ..started })
    }

    /// Starts one that listens at `address`. `more` goes on with the configuration, whose last part is
    /// `http`.
    async fn start(test: &str, address: &str, more: impl FnOnce(&Folder) -> String) -> Option<Self> {
        if !starts(Command::new("docker-registry").arg("--version"), "docker-registry", test) {
            return None;
        }
        let folder = Folder::new();
        let config = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address:?}\n  \
             secret: for-uploads\n{}",
            folder.path().join("storage").display(),
            more(&folder)
        );
        let config = folder.write("config.yml", config);
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(config).stdin(Stdio::null()).stdout(Stdio::null());
        let process = Process::spawn(&mut command);
        let address = process.line("the registry's readiness", |line| {
            let (_, rest) = line.split_once("listening on ")?;
            rest.split(['"', ' ', ',']).next()?.parse().ok()
        });
        let address = address.await;
        Some(Self { _process: process, address, authorities: None, folder })
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

/// An address of this machine that other machines can reach, if it has one. No packet is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|ip| !ip.is_loopback())
}
