//! A new process as it takes over from the one that started it.

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

/// How often a predecessor is told that something takes longer; it waits several times as long for a message.
const WORD_EVERY: Duration = Duration::from_secs(10);

/// Longest time that a predecessor waits for each part of this process's work, if it knows what the node
/// needs.
const PATIENT_MAX: Duration = Duration::from_secs(1800);

/// The same if it does not: then it waits for a minute, whatever it is told.
const IMPATIENT_MAX: Duration = Duration::from_secs(40);

/// The process that serves until this one does.
pub(super) struct Predecessor {
    channel: HandoverChannel,
    /// What the versions with traffic are made of; `None` when it did not say so.
    needs: Option<Vec<Need>>,
}

impl Predecessor {
    /// Who hands over to this process, and the sockets; `None` when nobody does.
    ///
    /// # Errors
    /// Whoever does speaks another protocol or has another data directory.
    pub(super) fn find(options: &NodeOptions) -> anyhow::Result<Option<(Self, Sockets)>> {
        let Some(protocol) = env::var_os(handover_protocol::VARIABLE) else { return Ok(None) };
        anyhow::ensure!(
            protocol == handover_protocol::PROTOCOL,
            "{} is {protocol:?}, expected {:?}",
            handover_protocol::VARIABLE,
            handover_protocol::PROTOCOL
        );
        let unusable =
            || format!("{} is set, but standard input hands nothing over", handover_protocol::VARIABLE);
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().with_context(unusable)?;
        let stream = UnixStream::from(stdin);
        let (http, admin, data_dir) = handover_protocol::receive(&stream).with_context(unusable)?;
        let ours = options.data_dir.canonicalize();
        let ours = ours.with_context(|| format!("data directory {}", options.data_dir.display()))?;
        anyhow::ensure!(
            ours == data_dir,
            "data directory is {}, expected {} of the process that hands over",
            ours.display(),
            data_dir.display()
        );
        let sockets = Sockets::inherited(http, admin, options)?;
        let channel = HandoverChannel::new(stream).with_context(unusable)?;
        let needs = needs::take(&options.data_dir);
        Ok(Some((Self { channel, needs }, sockets)))
    }

    /// What versions with traffic are made of, as far as it said so.
    pub(super) fn needs(&self) -> &[Need] {
        self.needs.as_deref().unwrap_or_default()
    }

    /// Has it wait while this process does `work`; `None` when that takes too long, and is given up.
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

    /// Has it let go of the state; returns when it has.
    pub(super) async fn release(&mut self) -> anyhow::Result<()> {
        let released = async {
            self.channel.send(Message::Prepared).await?;
            while !self.channel.expect_message(Message::Yours).await? {}
            Ok::<_, io::Error>(())
        };
        released.await.context("the process that hands over is gone")
    }

    /// Tells it that it is needed no more.
    pub(super) async fn leave(mut self) {
        if let Err(error) = self.channel.send(Message::Serving).await {
            tracing::warn!(%error, "the process that handed over is gone");
        }
    }
}
