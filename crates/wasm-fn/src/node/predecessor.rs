//! The new process's side of a handover: it takes over from the process that started it.

use std::{
    env, io,
    os::{fd::AsFd as _, unix::net::UnixStream},
    pin::pin,
    time::Duration,
};

use anyhow::Context as _;

use super::{
    handover_protocol::{self, HandoverChannel, Message},
    needs::{self, Need},
    options::NodeOptions,
    sockets::Sockets,
};

/// How often to tell a predecessor that work takes longer. It waits several times as long for a message.
const WORD_EVERY: Duration = Duration::from_secs(10);

/// Maximum time for each part of this process's work, if the predecessor left a list of needs.
const PATIENT_MAX: Duration = Duration::from_secs(1800);

/// The same if it left no list. Then it waits for one minute, whatever messages it gets.
const IMPATIENT_MAX: Duration = Duration::from_secs(40);

/// The process that serves until this one does.
pub(super) struct Predecessor {
    channel: HandoverChannel,
    /// The components of versions with traffic; `None` if the process left no list.
    needs: Option<Vec<Need>>,
}

impl Predecessor {
    /// Finds the process that hands over to this one, and the sockets; `None` if there is none.
    ///
    /// # Errors
    /// It uses another protocol or another data directory.
    pub(super) fn find(options: &NodeOptions) -> anyhow::Result<Option<(Self, Sockets)>> {
        let Some(protocol) = env::var_os(handover_protocol::VARIABLE) else { return Ok(None) };
        anyhow::ensure!(
            protocol == handover_protocol::PROTOCOL,
            "{} is {protocol:?}, expected {:?}",
            handover_protocol::VARIABLE,
            handover_protocol::PROTOCOL
        );
        let unusable =
            || format!("{} is set, but standard input is not a handover socket", handover_protocol::VARIABLE);
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().with_context(unusable)?;
        let stream = UnixStream::from(stdin);
        let (handed, data_dir) = handover_protocol::receive(&stream).with_context(unusable)?;
        let ours = options.data_dir.canonicalize();
        let ours = ours.with_context(|| format!("data directory {}", options.data_dir.display()))?;
        anyhow::ensure!(
            ours == data_dir,
            "data directory is {}, expected {} of the process that hands over",
            ours.display(),
            data_dir.display()
        );
        let sockets = Sockets::inherited(handed, options)?;
        let channel = HandoverChannel::new(stream).with_context(unusable)?;
        let needs = needs::take(&options.data_dir);
        Ok(Some((Self { channel, needs }, sockets)))
    }

    /// The components of versions with traffic; empty if the process left no list.
    pub(super) fn needs(&self) -> &[Need] {
        self.needs.as_deref().unwrap_or_default()
    }

    /// Makes the predecessor wait while this process does `work`; `None` if the work took too long and was
    /// given up.
    pub(super) async fn wait_for<F: Future>(&mut self, work: F) -> anyhow::Result<Option<F::Output>> {
        let patient = self.needs.is_some();
        let mut work = pin!(work);
        let mut late = pin!(tokio::time::sleep(if patient { PATIENT_MAX } else { IMPATIENT_MAX }));
        let mut words = tokio::time::interval(WORD_EVERY);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(Some(done)),
                () = &mut late => return Ok(None),
                _ = words.tick() => {
                    if patient {
                        let said = self.channel.send(Message::Working).await;
                        said.context("the process that hands over is gone")?;
                    }
                }
            }
        }
    }

    /// Asks the predecessor to release the state, and returns when it has.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        let released = async {
            self.channel.send(Message::Prepared).await?;
            while !self.channel.expect_message(Message::Yours).await? {}
            Ok::<_, io::Error>(())
        };
        released.await.context("the process that hands over is gone")
    }

    /// Tells the predecessor that this process serves now.
    pub(super) async fn leave(mut self) {
        if let Err(error) = self.channel.send(Message::Serving).await {
            tracing::warn!(%error, "the process that handed over is gone");
        }
    }
}
