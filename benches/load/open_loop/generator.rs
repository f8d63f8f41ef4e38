//! The loop itself: one thread, non-blocking sockets, no sleep.

use std::{
    collections::VecDeque,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{Timespec, epoll};

use super::{Answer, Job, Latency, Seen};
use crate::{now, requests::Requests, stats::quantile};

/// How long answers may be missing after the last request was sent.
const MISSING_MAX: Duration = Duration::from_secs(30);

/// Events taken at once. After that, requests may be due.
const EVENTS_MAX: usize = 8;

/// Runs `job`.
///
/// # Errors
///
/// A connection failed, or an answer was wrong or never came.
pub(crate) fn drive(job: &Job) -> Result<Seen> {
    let total = (job.rate * Duration::from_secs(job.seconds).as_secs_f64()).floor();
    ensure!(total >= 1.0, "{:.2} requests a second are none in {} s", job.rate, job.seconds);
    let mut run = Run::connect(job)?;
    let gap = Duration::from_secs_f64(1.0 / job.rate);

    let begun = now();
    let mut clock = Clock { begun, last: Duration::ZERO, busy: Duration::ZERO };
    let (mut sent, mut latencies, mut late) = (0_u32, Vec::new(), Vec::new());
    while (latencies.len() as f64) < total {
        let time = clock.tick();
        // Requests whose moment has come, for as long as a connection is free to take them.
        while f64::from(sent) < total && gap.mul_f64(f64::from(sent)) <= time {
            let due = gap.mul_f64(f64::from(sent));
            let Some(free_since) = run.send(due)? else { break };
            // One that was due while the server kept every connection is late by the server.
            let own = if free_since <= due { begun.elapsed().saturating_sub(due) } else { Duration::ZERO };
            late.push(nanoseconds(own));
            sent += 1;
            clock.worked();
        }
        run.receive(begun, &mut latencies, &mut clock)?;
        let end = gap.mul_f64(total) + MISSING_MAX;
        ensure!(time < end, "{:.0} answers are missing", total - latencies.len() as f64);
    }
    let busy = clock.busy.as_secs_f64() / begun.elapsed().as_secs_f64();

    latencies.sort_unstable();
    late.sort_unstable();
    let us = |permille| quantile(&latencies, permille) as f64 / 1e3;
    let latency = Latency { rate: job.rate, p50_us: us(500), p99_us: us(990), p999_us: us(999) };
    Ok(Seen { latency, late_us: quantile(&late, 990) as f64 / 1e3, busy })
}

/// Tells the time, and how much of it was work.
struct Clock {
    begun: Instant,
    last: Duration,
    busy: Duration,
}

impl Clock {
    /// A new turn of the loop begins.
    fn tick(&mut self) -> Duration {
        self.last = self.begun.elapsed();
        self.last
    }

    /// The time since this was last asked in this turn was spent on work.
    fn worked(&mut self) {
        let now = self.begun.elapsed();
        self.busy += now.saturating_sub(self.last);
        self.last = now;
    }
}

/// The connections and what goes over them.
struct Run {
    epoll: OwnedFd,
    connections: Vec<Connection>,
    /// Those without a request, longest first, and since when.
    free: VecDeque<(usize, Duration)>,
    messages: Vec<Vec<u8>>,
    order: Vec<usize>,
    /// Next place in `order`.
    next: usize,
    answer: Vec<u8>,
    events: Vec<epoll::Event>,
    buffer: Box<[u8]>,
}

struct Connection {
    stream: TcpStream,
    answer: Answer,
    /// The request that is under way.
    under_way: Option<UnderWay>,
}

struct UnderWay {
    due: Duration,
    /// Place of the request in the messages.
    message: usize,
    /// Bytes of it that were taken.
    written: usize,
}

impl Run {
    /// Connects, and sends one request over each connection, which does not count.
    fn connect(job: &Job) -> Result<Self> {
        // No load of ours that ends its connections is asked for latencies.
        let Requests { all, order, answer, closing: _ } = &job.requests;
        let host = job.address.to_string();
        let messages: Vec<_> = all.iter().map(|request| request.bytes(&host)).collect();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut connections = Vec::with_capacity(job.connections);
        for place in 0..job.connections {
            let stream = first_exchange(job.address, &messages[order[0]], answer.as_bytes())?;
            // Edge by edge: what is ready is drained at once.
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(place as u64), flags)?;
            connections.push(Connection { stream, answer: Answer::default(), under_way: None });
        }
        Ok(Self {
            epoll,
            free: (0..connections.len()).map(|place| (place, Duration::ZERO)).collect(),
            connections,
            messages,
            order: order.clone(),
            next: 0,
            answer: answer.clone().into_bytes(),
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; 64 * 1024].into(),
        })
    }

    /// Sends the next request, which is `due`; since when its connection was free, none if none is.
    fn send(&mut self, due: Duration) -> Result<Option<Duration>> {
        let Some((place, free_since)) = self.free.pop_front() else { return Ok(None) };
        let message = self.order[self.next];
        self.next = (self.next + 1) % self.order.len();
        let connection = &mut self.connections[place];
        connection.under_way = Some(UnderWay { due, message, written: 0 });
        connection.write(&self.messages)?;
        Ok(Some(free_since))
    }

    /// Takes what has arrived; whole answers give their latency, in nanoseconds.
    fn receive(&mut self, begun: Instant, latencies: &mut Vec<u64>, clock: &mut Clock) -> Result<()> {
        self.events.clear();
        epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&NOW))?;
        for event in &self.events {
            let place = usize::try_from(event.data.u64()).context("an event of no connection")?;
            let connection = &mut self.connections[place];
            connection.write(&self.messages)?;
            if let Some(due) = connection.read(&mut self.buffer, &self.answer)? {
                let time = begun.elapsed();
                latencies.push(nanoseconds(time.saturating_sub(due)));
                self.free.push_back((place, time));
            }
            clock.worked();
        }
        Ok(())
    }
}

impl Connection {
    /// Goes on writing the request under way.
    fn write(&mut self, messages: &[Vec<u8>]) -> Result<()> {
        let Some(under_way) = &mut self.under_way else { return Ok(()) };
        let message = &messages[under_way.message];
        while under_way.written < message.len() {
            match self.stream.write(&message[under_way.written..]) {
                Ok(len) => under_way.written += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("a request cannot be sent"),
            }
        }
        Ok(())
    }

    /// Reads what there is; when the answer is whole, the moment its request was due.
    fn read(&mut self, buffer: &mut [u8], answer: &[u8]) -> Result<Option<Duration>> {
        let mut whole = false;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => bail!("the server closed a connection"),
                Ok(len) => {
                    ensure!(!whole && self.under_way.is_some(), "an answer came that nobody had asked for");
                    whole = self.answer.take(&buffer[..len], Some(answer))?;
                    // Less than would fit: there is no more, and asking would cost as much as reading.
                    if len < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("an answer cannot be read"),
            }
        }
        Ok(if whole { self.under_way.take().map(|under_way| under_way.due) } else { None })
    }
}

/// Returns at once.
const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A connection over which one request was answered, non-blocking from now on.
fn first_exchange(address: SocketAddr, message: &[u8], answer: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(address).context("cannot connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(MISSING_MAX))?;
    stream.write_all(message).context("a request cannot be sent")?;
    let (mut received, mut whole, mut buffer) = (Answer::default(), false, [0; 16 * 1024]);
    while !whole {
        let len = stream.read(&mut buffer).context("an answer cannot be read")?;
        ensure!(len > 0, "the server closed a connection");
        whole = received.take(&buffer[..len], Some(answer))?;
    }
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Durations of a run fit for half a thousand years.
fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
