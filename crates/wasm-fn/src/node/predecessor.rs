//! A new process as it takes over from the one that started it.

use std::{env, os::fd::AsFd as _, os::unix::net::UnixStream};

use anyhow::Context as _;

use super::{
    NodeOptions,
    line::{self, Line, Word},
    sockets::Sockets,
};

/// The process that serves until this one does.
pub(super) struct Predecessor {
    line: Line,
}

impl Predecessor {
    /// Who hands over to this process, and the sockets; `None` when nobody does.
    ///
    /// # Errors
    /// Whoever does speaks another protocol or has another data directory.
    pub(super) fn find(options: &NodeOptions) -> anyhow::Result<Option<(Self, Sockets)>> {
        let Some(protocol) = env::var_os(line::VARIABLE) else { return Ok(None) };
        anyhow::ensure!(
            protocol == line::PROTOCOL,
            "{} is {protocol:?}, expected {:?}",
            line::VARIABLE,
            line::PROTOCOL
        );
        let unusable = || format!("{} is set, but standard input hands nothing over", line::VARIABLE);
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().with_context(unusable)?;
        let stream = UnixStream::from(stdin);
        let (http, admin, data_dir) = line::receive(&stream).with_context(unusable)?;
        let ours = options.data_dir.canonicalize();
        let ours = ours.with_context(|| format!("data directory {}", options.data_dir.display()))?;
        anyhow::ensure!(
            ours == data_dir,
            "data directory is {}, expected {} of the process that hands over",
            ours.display(),
            data_dir.display()
        );
        let sockets = Sockets::inherited(http, admin, options)?;
        let line = Line::new(stream).with_context(unusable)?;
        Ok(Some((Self { line }, sockets)))
    }

    /// Has it let go of the state; returns when it has.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        let released = async {
            self.line.say(Word::Prepared).await?;
            self.line.hear(Word::Yours).await
        };
        released.await.context("the process that hands over is gone")
    }

    /// Tells it that it is needed no more.
    pub(super) async fn leave(mut self) {
        if let Err(error) = self.line.say(Word::Serving).await {
            tracing::warn!(%error, "the process that handed over is gone");
        }
    }
}
