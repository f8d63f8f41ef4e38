//! The old process's side of a handover: it hands its node over to a new process. At every moment, one of
//! them accepts connections.
//!
//! The new process gets the sockets and prepares. Then this process closes its admin API and its state, the
//! new one opens both and accepts, and this one stops accepting. If the new process fails before that, this
//! one takes everything back. The buckets of functions follow once this process has no requests left, or
//! after two seconds: until then functions of the new process wait for them.

use std::{
    env, io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::ExitStatusExt as _},
    },
    path::{Path, PathBuf},
    pin::pin,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::sync::oneshot;
use wasm_fn_server::DrainReport;

use super::{
    Node, activation, close_admin,
    handover_protocol::{self, HandoverChannel, Message},
    needs, notify,
    sockets::Sockets,
};

/// Maximum time without a message from a new process.
const PART_WAIT: Duration = Duration::from_secs(60);

/// Maximum time for deliveries in flight before the state changes hands.
const EVENTS_WAIT: Duration = Duration::from_secs(2);

/// Maximum time that requests in flight keep the buckets, once the new process serves.
const BUCKETS_WAIT: Duration = Duration::from_secs(2);

/// Maximum time that a new process may take to end after it gave up.
const END_WAIT: Duration = Duration::from_secs(5);

/// Why the swap failed. This process continues to serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SwapError {
    /// The new process did not start.
    #[error("{} cannot be started: {source}", program.display())]
    Start {
        /// The program to start.
        program: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The new process gave up.
    #[error("new process ended with {} before it served", shown(.0))]
    Ended(ExitStatus),
    /// The new process hangs.
    #[error("new process sent no message for {PART_WAIT:?} and was killed")]
    Slow,
    /// The new process does not behave like a node.
    #[error("new process did not follow the handover protocol and was killed: {0}")]
    Strange(io::Error),
}

/// The process that is to take over. Dropping this before it serves kills it.
struct Successor {
    pid: u32,
    process: OwnedFd,
    channel: HandoverChannel,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
    serves: bool,
}

fn shown(status: &ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

impl Node {
    /// Starts the same program again and hands over to the new process; returns its process id.
    ///
    /// After that, call only [`leave`](Self::leave).
    ///
    /// # Errors
    /// The new process failed. This process is in the same state as before.
    ///
    /// # Cancel safety
    /// Dropping the future kills the new process, and may leave this process without its admin API.
    pub(crate) async fn swap(&mut self) -> Result<u32, SwapError> {
        // The new process compiles these components before it takes over.
        let _list = needs::leave(&self.data_dir, &needs::of(&self.control.tables().load()));
        let mut successor = Successor::start(&self.sockets, &self.data_dir)?;
        successor.expect_message(Message::Prepared).await?;
        // From now on, the new process announces that it is ready.
        self.announcing.abort();
        close_admin(&mut self.admin).await;
        self.events.stop(EVENTS_WAIT).await;
        self.control.hand_over().await;
        match successor.take_over().await {
            Ok(()) => Ok(successor.pid),
            Err(error) => {
                self.take_back().await;
                Err(error)
            }
        }
    }

    /// Takes back the state and the admin API, as far as possible.
    async fn take_back(&mut self) {
        if let Err(error) = self.control.take_back().await {
            tracing::error!(%error, "state was not taken back: functions are served, changes are refused");
        }
        if let Err(error) = self.events.take_back().await {
            tracing::error!(%error, "inbox was not taken back: no events are delivered");
        }
        if let Err(error) = self.open_admin() {
            tracing::error!(error = format!("{error:#}"), "admin API was not opened again");
        }
        // The new process may already have announced itself.
        self.announce();
    }

    /// Finishes accepted requests, for at most `timeout`, while the new process serves.
    pub(crate) async fn leave(self, timeout: Duration) -> DrainReport {
        self.preparing.abort();
        self.reloading.abort();
        self.certifying.abort();
        drop(self.sockets);
        let mut finish =
            pin!(async { tokio::join!(self.server.leave(timeout), super::stop(self.redirect)).0 });
        // Functions of the new process wait for their buckets meanwhile.
        let finished = tokio::time::timeout(BUCKETS_WAIT, finish.as_mut()).await;
        self.buckets.release().await;
        match finished {
            Ok(report) => report,
            Err(_) => finish.await,
        }
    }
}

impl Successor {
    fn start(sockets: &Sockets, data_dir: &Path) -> Result<Self, SwapError> {
        // Use the path as typed, not the file of this process: an upgrade puts another file there.
        let mut words = env::args_os();
        let program = words.next().unwrap_or_default();
        let failed = |source| SwapError::Start { program: PathBuf::from(&program), source };
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        handover_protocol::send(&ours, sockets, &data_dir.canonicalize().map_err(failed)?).map_err(failed)?;
        let channel = HandoverChannel::new(ours).map_err(failed)?;
        let mut command = Command::new(&program);
        command
            .args(words)
            .env(handover_protocol::VARIABLE, handover_protocol::PROTOCOL)
            .stdin(Stdio::from(OwnedFd::from(theirs)));
        for variable in activation::VARIABLES {
            command.env_remove(variable);
        }
        let mut child = command.spawn().map_err(failed)?;
        // Closes our handle on the new process's end of the socket, so that we notice when it exits.
        drop(command);
        let pid = child.id();
        let number = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process id is positive");
        let process = pidfd_open(number, PidfdFlags::empty()).map_err(|error| {
            // Fails if it has already ended.
            let _ = child.kill();
            let _ = child.wait();
            failed(error.into())
        })?;
        let (sender, ended) = oneshot::channel();
        // A separate thread: tokio waits for its own threads at shutdown, and this one may outlive it.
        std::thread::spawn(move || sender.send(child.wait()));
        tracing::info!(pid, program = %program.display(), "new process started");
        Ok(Self { pid, process, channel, ended, serves: false })
    }

    async fn take_over(&mut self) -> Result<(), SwapError> {
        if self.channel.send(Message::Yours).await.is_err() {
            return Err(self.end().await);
        }
        self.expect_message(Message::Serving).await?;
        self.serves = true;
        // Service managers accept this only from the process that they know.
        notify::main_process(self.pid);
        Ok(())
    }

    /// Waits for `message`. If this fails, the process has ended on return.
    async fn expect_message(&mut self, message: Message) -> Result<(), SwapError> {
        let heard = loop {
            match tokio::time::timeout(PART_WAIT, self.channel.expect_message(message)).await {
                // It is still working.
                Ok(Ok(false)) => {}
                heard => break heard,
            }
        };
        match heard {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                self.kill().await;
                Err(SwapError::Strange(error))
            }
            Ok(Err(_)) => Err(self.end().await),
            Err(_) => {
                self.kill().await;
                Err(SwapError::Slow)
            }
        }
    }

    /// Waits for a process that has given up to end.
    async fn end(&mut self) -> SwapError {
        let ended = tokio::time::timeout(END_WAIT, &mut self.ended).await;
        match ended {
            Ok(Ok(Ok(status))) => SwapError::Ended(status),
            Ok(Ok(Err(error))) => SwapError::Strange(error),
            Ok(Err(_)) | Err(_) => {
                self.kill().await;
                SwapError::Slow
            }
        }
    }

    async fn kill(&mut self) {
        self.send_kill();
        // It holds the state until it ends. If the sender is gone, its end was already reported.
        let _ = (&mut self.ended).await;
    }

    fn send_kill(&self) {
        if let Err(error) = pidfd_send_signal(&self.process, Signal::KILL) {
            tracing::debug!(pid = self.pid, %error, "new process was not killed");
        }
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.serves {
            self.send_kill();
        }
    }
}
