//! The access log: a line of JSON for each request, or for a share of them.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use serde_json::{Map, Value};
use tokio::sync::oneshot;
use wasm_fn_core::{FinishedRequest, InvocationTrigger, Sampler};

use crate::{
    clock::{self, Anchor},
    queue::QueueCounts,
};

/// Most lines that wait to be written: some megabytes.
const LINES_MAX: usize = 4096;

/// How often to look whether the file was renamed or removed, as programs that rotate logs do.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Bytes that are gathered before they are written.
const GATHER_BYTES_MAX: usize = 64 << 10;

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// Standard output.
    Stdout,
    /// The end of a file, which is made if it is not there.
    File(PathBuf),
}

/// Writes the lines. Clones share the file.
#[derive(Clone, Debug)]
pub struct AccessLog {
    sender: SyncSender<Message>,
    sampler: Sampler,
    counts: Arc<Counts>,
}

#[derive(Debug)]
enum Message {
    Line(Arc<FinishedRequest>),
    /// Tell when all lines before this were written.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl AccessLog {
    /// Begins to write lines of the requests that `sampler` takes to `target`. Blocks to open the file.
    ///
    /// # Errors
    /// The file cannot be opened, or the system has no thread left.
    pub fn open(target: AccessLogTarget, sampler: Sampler) -> io::Result<Self> {
        let output = Output::open(target)?;
        let (sender, receiver) = sync_channel(LINES_MAX);
        let counts = Arc::<Counts>::default();
        let writer = Writer { output, gathered: Vec::new(), lines: 0, counts: counts.clone() };
        thread::Builder::new().name("access-log".to_owned()).spawn(move || writer.run(&receiver))?;
        Ok(Self { sender, sampler, counts })
    }

    pub(crate) fn sampler(&self) -> Sampler {
        self.sampler
    }

    /// Adds a line, or drops it if the disk is too slow. Never waits.
    pub(crate) fn offer(&self, request: Arc<FinishedRequest>) {
        if self.sender.try_send(Message::Line(request)).is_err() {
            self.counts.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all lines were written, for at most `patience`.
    pub(crate) async fn flush(&self, patience: Duration) {
        let (told, written) = oneshot::channel();
        // A queue that is full has no room for the question; its lines may be lost.
        if self.sender.try_send(Message::Flush(told)).is_ok() {
            let _ = tokio::time::timeout(patience, written).await;
        }
    }

    pub(crate) fn counts(&self) -> QueueCounts {
        let Counts { sent, dropped, failed } = &*self.counts;
        let read = |count: &AtomicU64| count.load(Relaxed);
        QueueCounts { sent: read(sent), dropped: read(dropped), failed: read(failed) }
    }
}

/// Where lines are written.
enum Output {
    Stdout(io::Stdout),
    File { path: PathBuf, file: File },
}

impl Output {
    fn open(target: AccessLogTarget) -> io::Result<Self> {
        Ok(match target {
            AccessLogTarget::Stdout => Self::Stdout(io::stdout()),
            AccessLogTarget::File(path) => Self::File { file: append(&path)?, path },
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => stdout.write_all(bytes).and_then(|()| stdout.flush()),
            Self::File { file, .. } => file.write_all(bytes),
        }
    }

    /// Opens the file again if its path leads to another, or to none.
    fn follow(&mut self) -> io::Result<()> {
        let Self::File { path, file } = self else { return Ok(()) };
        let open = file.metadata()?;
        let same = std::fs::metadata(&*path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (open.dev(), open.ino()));
        if !same {
            *file = append(path)?;
        }
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The thread that writes.
struct Writer {
    output: Output,
    /// Whole lines.
    gathered: Vec<u8>,
    /// How many.
    lines: u64,
    counts: Arc<Counts>,
}

impl Writer {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut looked = clock::now();
        loop {
            if looked.elapsed() >= LOOK_EVERY {
                looked = clock::now();
                if let Err(error) = self.output.follow() {
                    tracing::warn!(%error, "the access log cannot be opened again");
                }
            }
            match receiver.recv_timeout(LOOK_EVERY) {
                Ok(message) => {
                    // Whatever waits is written at once.
                    self.take(message);
                    while self.gathered.len() < GATHER_BYTES_MAX
                        && let Ok(message) = receiver.try_recv()
                    {
                        self.take(message);
                    }
                    self.write();
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(request) => {
                let line = Value::Object(line(&request, Anchor::now()));
                self.gathered.extend_from_slice(line.to_string().as_bytes());
                self.gathered.push(b'\n');
                self.lines += 1;
            }
            Message::Flush(told) => {
                self.write();
                // Whoever asked may have given up.
                let _ = told.send(());
            }
        }
    }

    fn write(&mut self) {
        if self.lines == 0 {
            return;
        }
        let written = self.output.write(&self.gathered);
        let counter = if written.is_ok() { &self.counts.sent } else { &self.counts.failed };
        // The first failure is told, and the others counted: a full disk would fill the other log too.
        if counter.fetch_add(self.lines, Relaxed) == 0
            && let Err(error) = written
        {
            tracing::warn!(%error, "lines of the access log cannot be written");
        }
        self.gathered.clear();
        self.gathered.shrink_to(GATHER_BYTES_MAX);
        self.lines = 0;
    }
}

/// The line of `request`, without its end.
fn line(request: &FinishedRequest, anchor: Anchor) -> Map<String, Value> {
    let FinishedRequest { head, trace, runs, status, is_cold_start, ended, .. } = request;
    let mut line = Map::new();
    let mut add = |key: &str, value: Value| line.insert(key.to_owned(), value);
    add("time", humantime::format_rfc3339_micros(anchor.wall(head.began)).to_string().into());
    add("request_id", format!("{:032x}", head.request_id).into());
    add("method", (&*head.method).into());
    add("path", (&*head.path).into());
    add("scheme", head.scheme.as_str().into());
    add("protocol", head.protocol.into());
    let took = ended.saturating_duration_since(head.began);
    add("duration_ms", ((took.as_secs_f64() * 1e6).round() / 1e3).into());
    add("cold_start", (*is_cold_start).into());
    if head.trigger != InvocationTrigger::Http {
        add("trigger", if head.trigger == InvocationTrigger::Timer { "timer" } else { "pubsub" }.into());
    }
    if let Some(status) = status {
        add("status", (*status).into());
    }
    if let Some((function, stage)) = &head.target {
        add("function", function.to_string().into());
        add("stage", stage.to_string().into());
    }
    if let Some(run) = runs.last() {
        add("version", run.version.to_string().into());
        add("outcome", run.outcome.as_str().into());
    }
    if let [first, _, ..] = &**runs {
        add("shielded", first.version.to_string().into());
    }
    let texts = [("host", &head.host), ("user_agent", &head.user_agent)];
    for (key, text) in texts {
        if let Some(text) = text {
            add(key, (&**text).into());
        }
    }
    if let Some(client) = head.client {
        add("client", client.to_string().into());
    }
    if let Some(trace) = trace {
        add("trace_id", trace.id.to_string().into());
    }
    line
}
