//! Asking at a fixed rate, whatever the answers do (an open loop).
//!
//! A latency counts from the moment at which its request was due, so that a slow answer is charged for those
//! that it holds up. What the client itself waits for a core is in the figures, and said beside them: where
//! it is as long as a latency, that latency says nothing about the server.

#[cfg(test)]
mod tests;

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{http::Connection, times::now};

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub struct OpenLoop<'a> {
    /// The server.
    pub address: SocketAddr,
    /// What is got.
    pub path: &'a str,
    /// Requests in a second, at least one.
    pub rate: u32,
    /// Connections that take turns, at least one; each has a thread and waits for its answers.
    pub connections: u32,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Asked {
    /// From when each request was due to its answer, in no order.
    pub latencies: Vec<Duration>,
    /// The longest time from when a request was due and its connection free to when it was sent: what the
    /// client, and not the server, held up.
    pub late_max: Duration,
}

impl OpenLoop<'_> {
    /// Asks for as long as `goes_on` says so of the time, since the start, at which the next request is due,
    /// and waits for what was asked.
    ///
    /// # Errors
    ///
    /// A rate or number of connections of zero; an answer that was lost, or is not 200.
    pub fn run(&self, goes_on: impl Fn(Duration) -> bool + Sync) -> Result<Asked> {
        let Self { address, path, rate, connections } = *self;
        ensure!(
            rate > 0 && connections > 0,
            "found {rate} requests a second over {connections} connections, expected one of each or more"
        );
        let open = |first| {
            let mut connection = Connection::open(address)?;
            expect_200(&mut connection, path)?;
            Ok((first, connection))
        };
        let clients = (0..connections).map(open).collect::<Result<Vec<_>>>()?;
        let begun = now();
        let goes_on = &goes_on;
        thread::scope(|scope| {
            let clients: Vec<_> = clients
                .into_iter()
                .map(|(first, connection)| {
                    scope.spawn(move || self.client(connection, first, begun, goes_on))
                })
                .collect();
            let mut all = Asked::default();
            for client in clients {
                let Asked { latencies, late_max } = client.join().expect("clients return their errors")?;
                all.latencies.extend(latencies);
                all.late_max = all.late_max.max(late_max);
            }
            Ok(all)
        })
    }

    /// Sends request number `first` and, from there, each that is this connection's.
    fn client(
        &self,
        mut connection: Connection,
        first: u32,
        begun: Instant,
        goes_on: impl Fn(Duration) -> bool,
    ) -> Result<Asked> {
        let mut asked = Asked::default();
        let (mut number, mut free) = (first, begun);
        loop {
            let since = Duration::from_secs(1) * number / self.rate;
            let due = begun + since;
            thread::sleep(due.saturating_duration_since(now()));
            if !goes_on(since) {
                return Ok(asked);
            }
            asked.late_max = asked.late_max.max(due.max(free).elapsed());
            expect_200(&mut connection, self.path)?;
            free = now();
            asked.latencies.push(free.saturating_duration_since(due));
            number = number.checked_add(self.connections).context("there are no numbers left")?;
        }
    }
}

fn expect_200(connection: &mut Connection, path: &str) -> Result<()> {
    let answer = connection.get(path).with_context(|| format!("a request for {path} was lost"))?;
    if answer.status != 200 {
        bail!("{path} answered {}, expected 200", answer.status);
    }
    Ok(())
}
