//! Requests over kept connections: as fast as they are answered, or at a rate that nothing slows down.

use std::{
    cell::{Cell, RefCell},
    io::ErrorKind,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::{JoinSet, spawn_local},
};

/// Longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How often what is due is sent.
const TICK: Duration = Duration::from_micros(500);

/// What is counted together to see whether the node has recovered.
const WINDOW: Duration = Duration::from_millis(100);

/// Where requests go.
#[derive(Clone)]
pub(crate) struct Traffic {
    address: SocketAddr,
    request: Rc<[u8]>,
    connections_max: usize,
    idle: Rc<RefCell<Vec<TcpStream>>>,
    open: Rc<Cell<usize>>,
}

/// What was sent, and what became of it.
#[derive(Default)]
pub(crate) struct Sent {
    /// Times from when each answered request was due to its answer.
    pub(crate) answered: Vec<Duration>,
    /// Times from when each refused request was sent to its refusal.
    pub(crate) refused: Vec<Duration>,
    /// Times from when each request was due to when it was sent.
    pub(crate) late: Vec<Duration>,
    /// Answers that are neither 200 nor 503 with `retry-after`.
    pub(crate) odd: usize,
    /// Requests without an answer.
    pub(crate) broken: usize,
    /// Why the first of them has none.
    pub(crate) broken_by: Option<String>,
    /// Requests for which there was no connection.
    pub(crate) unsent: usize,
    /// Requests in all.
    pub(crate) due: usize,
    took: Duration,
    /// When the last request was sent that was not answered well, from the start.
    last_bad: Duration,
}

/// One answer.
enum Answer {
    Good,
    Refused,
    Odd,
}

impl Sent {
    fn broken_by(&mut self, reason: String) {
        self.broken += 1;
        self.broken_by.get_or_insert(reason);
    }

    /// Requests answered each second.
    pub(crate) fn answered_rate(&self) -> f64 {
        self.rate(self.answered.len())
    }

    /// Requests refused each second.
    pub(crate) fn refused_rate(&self) -> f64 {
        self.rate(self.refused.len())
    }

    /// Requests that were due each second.
    pub(crate) fn offered_rate(&self) -> f64 {
        self.rate(self.due)
    }

    /// From the start to the end of the window after which everything was answered well.
    pub(crate) fn recovered_after(&self) -> Duration {
        if self.last_bad.is_zero() { Duration::ZERO } else { self.last_bad + WINDOW }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2⁵³")]
    fn rate(&self, count: usize) -> f64 {
        count as f64 / self.took.as_secs_f64()
    }
}

impl Traffic {
    /// GET requests of `path` at `address`, over at most so many connections.
    pub(crate) fn new(address: SocketAddr, path: String, connections_max: usize) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").into_bytes().into();
        Self { address, request, connections_max, idle: Rc::default(), open: Rc::default() }
    }

    /// Opens all connections, so that what is measured is not how they are opened.
    pub(crate) async fn connect(&self) -> Result<()> {
        while self.open.get() < self.connections_max {
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            self.idle.borrow_mut().push(stream);
            self.open.set(self.open.get() + 1);
        }
        Ok(())
    }

    /// Has `clients` ask, each again as soon as it is answered.
    #[expect(clippy::disallowed_methods, reason = "this measures time")]
    pub(crate) async fn closed(&self, clients: usize, time: Duration) -> Result<Sent> {
        let (began, sent) = (Instant::now(), Rc::new(RefCell::new(Sent::default())));
        let mut tasks = JoinSet::new();
        for _ in 0..clients {
            let (traffic, sent) = (self.clone(), Rc::clone(&sent));
            tasks.spawn_local(async move {
                while began.elapsed() < time {
                    traffic.one(Instant::now(), began, &sent).await;
                }
            });
        }
        while let Some(done) = tasks.join_next().await {
            done?;
        }
        self.taken(&sent, began.elapsed())
    }

    /// Sends `rate` requests a second for `time`, and waits for the answers.
    #[expect(clippy::disallowed_methods, reason = "this measures time")]
    pub(crate) async fn open(&self, rate: f64, time: Duration) -> Result<Sent> {
        let (began, sent) = (Instant::now(), Rc::new(RefCell::new(Sent::default())));
        let under_way = Rc::new(Cell::new(0_usize));
        let mut due = 0_u32;
        let mut ticks = tokio::time::interval(TICK);
        while began.elapsed() < time {
            ticks.tick().await;
            let now = began.elapsed();
            loop {
                let at = Duration::from_secs_f64(f64::from(due) / rate);
                if at > now {
                    break;
                }
                due += 1;
                sent.borrow_mut().due += 1;
                if self.idle.borrow().is_empty() && self.open.get() >= self.connections_max {
                    sent.borrow_mut().unsent += 1;
                    continue;
                }
                let (traffic, sent, under_way) = (self.clone(), Rc::clone(&sent), Rc::clone(&under_way));
                under_way.set(under_way.get() + 1);
                spawn_local(async move {
                    traffic.one(began + at, began, &sent).await;
                    under_way.set(under_way.get() - 1);
                });
            }
        }
        let took = began.elapsed();
        while under_way.get() > 0 {
            ticks.tick().await;
        }
        self.taken(&sent, took)
    }

    fn taken(&self, sent: &Rc<RefCell<Sent>>, took: Duration) -> Result<Sent> {
        let sent = Sent { took, ..sent.take() };
        if sent.due == 0 && sent.answered.is_empty() {
            bail!("{} answered nothing: {} broken, {} odd", self.address, sent.broken, sent.odd);
        }
        Ok(sent)
    }

    /// Sends one request that was due at `due`, and writes down what became of it.
    #[expect(clippy::disallowed_methods, reason = "this measures time")]
    async fn one(&self, due: Instant, began: Instant, sent: &RefCell<Sent>) {
        let started = Instant::now();
        let answered = tokio::time::timeout(ANSWER_MAX, self.exchange()).await;
        let mut sent = sent.borrow_mut();
        sent.late.push(started.saturating_duration_since(due));
        match answered {
            Ok(Ok(Answer::Good)) => {
                sent.answered.push(due.elapsed());
                return;
            }
            Ok(Ok(Answer::Refused)) => sent.refused.push(started.elapsed()),
            Ok(Ok(Answer::Odd)) => sent.odd += 1,
            Ok(Err(error)) => sent.broken_by(format!("{error:#}")),
            Err(_) => sent.broken_by(format!("nothing came for {ANSWER_MAX:?}")),
        }
        sent.last_bad = sent.last_bad.max(started.saturating_duration_since(began));
    }

    /// A connection that is free. One that the node ended while it was idle is no longer one: the node waits
    /// for a first request no longer than for any head.
    fn kept(&self) -> Option<TcpStream> {
        loop {
            let stream = self.idle.borrow_mut().pop()?;
            match stream.try_read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(stream),
                _ => self.open.set(self.open.get() - 1),
            }
        }
    }

    /// One request on a connection that is free, or a new one.
    async fn exchange(&self) -> Result<Answer> {
        let kept = self.kept();
        let opened = OpenConnection::count(&self.open, kept.is_some());
        let mut stream = match kept {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                stream
            }
        };
        stream.write_all(&self.request).await?;
        let mut buffer = [0; 4096];
        let mut read = 0;
        let (head, length) = loop {
            let bytes = stream.read(&mut buffer[read..]).await?;
            if bytes == 0 {
                bail!("the connection ended");
            }
            read += bytes;
            if let Some(found) = head(&buffer[..read])? {
                break found;
            }
        };
        while read < head.len + length {
            let bytes = stream.read(&mut buffer).await?;
            if bytes == 0 {
                bail!("the body ended early");
            }
            read += bytes;
        }
        opened.keep();
        self.idle.borrow_mut().push(stream);
        Ok(head.answer)
    }
}

/// A connection that is counted as open, until it is dropped without being kept.
struct OpenConnection<'a> {
    open: Option<&'a Cell<usize>>,
}

impl<'a> OpenConnection<'a> {
    fn count(open: &'a Cell<usize>, is_counted: bool) -> Self {
        if !is_counted {
            open.set(open.get() + 1);
        }
        Self { open: Some(open) }
    }

    fn keep(mut self) {
        self.open = None;
    }
}

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        if let Some(open) = self.open {
            open.set(open.get() - 1);
        }
    }
}

/// The head of an answer.
struct Head {
    len: usize,
    answer: Answer,
}

/// The head in `bytes` and the length of the body that follows; `None` when it is not whole yet.
fn head(bytes: &[u8]) -> Result<Option<(Head, usize)>> {
    let text = String::from_utf8_lossy(bytes);
    let Some(len) = text.find("\r\n\r\n") else { return Ok(None) };
    let field = |name: &str| {
        let line = text[..len].lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim)
    };
    let Some(length) = field("content-length:").and_then(|length| length.parse().ok()) else {
        bail!("the answer has no length: {text}");
    };
    let answer = match text.split(' ').nth(1) {
        Some("200") => Answer::Good,
        Some("503") if field("retry-after:").is_some() => Answer::Refused,
        _ => Answer::Odd,
    };
    Ok(Some((Head { len: len + 4, answer }, length)))
}
