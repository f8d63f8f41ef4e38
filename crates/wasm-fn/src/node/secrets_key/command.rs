//! Runs the command that writes the node's key.

use std::{
    fmt, io,
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    str::FromStr,
    sync::mpsc::{RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use zeroize::Zeroizing;

/// Time that the command may take. A node that starts waits for it.
const TIME_MAX: Duration = Duration::from_secs(30);

/// Most characters of an error that are shown.
const SHOWN_MAX: usize = 200;

/// A program and its arguments. No shell is involved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyCommand {
    program: String,
    arguments: Vec<String>,
}

/// A text names no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found no program, expected a program and its arguments, separated by spaces")]
pub(crate) struct KeyCommandError;

/// Why a command gave no output. Nothing of its standard output is shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// It could not be started.
    #[error("{program} cannot be started: {source}")]
    Start { program: String, source: io::Error },
    /// It took too long.
    #[error("{program} did not end within {limit:?}")]
    TimeOut { program: String, limit: Duration },
    /// It could not be waited for.
    #[error("{program} cannot be waited for: {source}")]
    Wait { program: String, source: io::Error },
    /// It wrote too much.
    #[error("{program} wrote more than {bytes_max} bytes, expected a key")]
    TooLong { program: String, bytes_max: usize },
    /// It failed.
    #[error("{program} ended with {status}{said}")]
    Failed { program: String, status: ExitStatus, said: String },
}

/// What a command did.
struct Ended {
    status: io::Result<ExitStatus>,
    output: Zeroizing<Vec<u8>>,
    error: Vec<u8>,
}

impl FromStr for KeyCommand {
    type Err = KeyCommandError;

    fn from_str(text: &str) -> Result<Self, KeyCommandError> {
        let mut words = text.split_whitespace().map(str::to_owned);
        let program = words.next().ok_or(KeyCommandError)?;
        Ok(Self { program, arguments: words.collect() })
    }
}

impl fmt::Display for KeyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {argument}"))
    }
}

impl KeyCommand {
    /// What the command writes to its standard output, at most `bytes_max` bytes. Blocks.
    ///
    /// # Errors
    /// It fails, takes too long, or writes too much.
    pub(super) fn output(&self, bytes_max: usize) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        self.output_within(bytes_max, TIME_MAX)
    }

    pub(super) fn output_within(
        &self,
        bytes_max: usize,
        limit: Duration,
    ) -> Result<Zeroizing<Vec<u8>>, CommandError> {
        let program = self.program.clone();
        let mut command = Command::new(&program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = match command.spawn() {
            Ok(child) => child,
            Err(source) => return Err(CommandError::Start { program, source }),
        };
        // Names the process even after it has ended, which its number does not.
        let handle = pidfd_open(Pid::from_child(&child), PidfdFlags::empty());
        let (sender, ended) = sync_channel(1);
        thread::spawn(move || {
            // Whoever asked may have given up.
            let _ = sender.send(follow(child, bytes_max));
        });
        let ended = match ended.recv_timeout(limit) {
            Ok(ended) => ended,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                if let Ok(handle) = handle {
                    // It may have ended just now.
                    let _ = pidfd_send_signal(handle, Signal::KILL);
                }
                return Err(CommandError::TimeOut { program, limit });
            }
        };
        match ended.status {
            _ if ended.output.len() > bytes_max => Err(CommandError::TooLong { program, bytes_max }),
            Err(source) => Err(CommandError::Wait { program, source }),
            Ok(status) if !status.success() => {
                Err(CommandError::Failed { program, status, said: said(&ended.error) })
            }
            Ok(_) => Ok(ended.output),
        }
    }
}

/// Reads what `child` writes, one byte more than `bytes_max` at most, and waits for its end.
fn follow(mut child: Child, bytes_max: usize) -> Ended {
    let (output, error) = (child.stdout.take(), child.stderr.take());
    // A program that is not read may never end.
    let errors = thread::spawn(move || {
        let mut bytes = Vec::new();
        read(error, &mut bytes, bytes_max);
        bytes
    });
    // Allocated at once, so that no copy is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(bytes_max + 1));
    read(output, &mut bytes, bytes_max + 1);
    let status = child.wait();
    Ended { status, output: bytes, error: errors.join().unwrap_or_default() }
}

/// Reads at most `bytes_max` bytes, and closes the pipe.
fn read(from: Option<impl Read>, into: &mut Vec<u8>, bytes_max: usize) {
    if let Some(from) = from {
        // What came before an error counts.
        let _ = from.take(bytes_max as u64).read_to_end(into);
    }
}

/// The first line of a program's standard error, to be added to a message.
fn said(error: &[u8]) -> String {
    let text = String::from_utf8_lossy(error);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let shown: String = line.chars().filter(|c| !c.is_control()).take(SHOWN_MAX).collect();
    if shown.is_empty() { shown } else { format!(": {shown}") }
}
