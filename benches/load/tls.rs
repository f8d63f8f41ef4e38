//! What TLS costs: ours and the limit, each with TLS and without.
//!
//! What it adds to a request over a kept connection is a small difference of two costs. So all four servers
//! take turns, as in [`pairs`](crate::pairs): what slows the machine down slows all of them.
//!
//! New connections are opened to one server at a time. A client spends as much on a handshake as a server
//! does, so the server may wait for it: its CPU per connection is compared as well as the rate.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use serde::Serialize;

use crate::{
    certificate::Certificate,
    measurement::{Effort, undisturbed},
    now,
    pairs::{Sharing, cost, costs},
    report,
    systems::{Asked, Ground, Served, System},
};

/// How long servers are driven before their time is taken.
const WARM_UP: Duration = Duration::from_secs(1);

/// Connections of the client, where each has one request. `wrk` resumes the session that it had before, and
/// a rustls server keeps 256, of which each handshake makes two: with so many, none is left to be resumed.
const CLOSING: u32 = 300;

/// What was found, round by round; or why it is not known.
pub(crate) type Rounds = Result<Vec<Round>, String>;

/// What TLS cost in one round.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Round {
    pub(crate) ours: Costs,
    pub(crate) limit: Costs,
}

/// What one program used.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Costs {
    /// Server CPU per request over kept connections without TLS, µs.
    pub(crate) plain_us: f64,
    /// The same with TLS.
    pub(crate) tls_us: f64,
    /// When each request has a connection of its own, with TLS.
    pub(crate) connections: Connections,
}

/// What new connections cost, each with its handshake and one request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Connections {
    /// Server CPU per connection, µs.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    /// Share of its core that the server used. The rest of the time it waited for the client.
    pub(crate) busy: f64,
}

impl Costs {
    /// What TLS adds to a request, µs of server CPU.
    pub(crate) fn added_us(&self) -> f64 {
        self.tls_us - self.plain_us
    }
}

/// The systems of a round.
struct Systems {
    plain: [System; 2],
    kept: [System; 2],
    closing: [System; 2],
}

/// Measures what TLS costs, with servers that are started anew for each round.
///
/// # Errors
///
/// A server cannot be started, or an answer was wrong.
pub(crate) fn measure(ground: Ground<'_>, effort: Effort) -> Result<Vec<Round>> {
    let certificate = Some(Arc::new(Certificate::new()?));
    let asked = |asked: Asked| Ok::<_, anyhow::Error>(System::ours_and_limit()?.map(|one| one.asked(&asked)));
    let systems = Systems {
        plain: System::ours_and_limit()?,
        kept: asked(Asked { certificate: certificate.clone(), closing: false })?,
        closing: asked(Asked { certificate, closing: true })?,
    };
    (1..=effort.rounds)
        .map(|number| {
            report::note(&format!("round {number} of {}: TLS", effort.rounds));
            systems.round(number, ground, effort)
        })
        .collect()
}

impl Systems {
    fn round(&self, number: u32, ground: Ground<'_>, effort: Effort) -> Result<Round> {
        let [plain, kept, closing] =
            [start(&self.plain, ground)?, start(&self.kept, ground)?, start(&self.closing, ground)?];
        let nodes = [&plain[0], &plain[1], &kept[0], &kept[1]];
        let turns = |each: Duration| {
            let duration = each * 4;
            undisturbed(|| costs(nodes, Sharing::InTurns, effort.connections, duration, ground.cores))
        };
        turns(WARM_UP)?;
        let used = turns(Duration::from_secs(effort.seconds))?;
        let [ours_plain, limit_plain, ours_tls, limit_tls] = used.map(|cost| cost.per_request() * 1e6);
        if limit_tls <= limit_plain {
            bail!("hyper alone took {limit_tls:.1} µs with TLS and {limit_plain:.1} without, expected more");
        }
        let connect = |served| connect(served, ground, effort);
        // The order changes from round to round.
        let [ours, limit] = if number.is_multiple_of(2) {
            let [limit, ours] = [connect(&closing[1])?, connect(&closing[0])?];
            [ours, limit]
        } else {
            [connect(&closing[0])?, connect(&closing[1])?]
        };
        [&plain, &kept, &closing].into_iter().flatten().try_for_each(Served::check)?;
        Ok(Round {
            ours: Costs { plain_us: ours_plain, tls_us: ours_tls, connections: ours },
            limit: Costs { plain_us: limit_plain, tls_us: limit_tls, connections: limit },
        })
    }
}

fn start([ours, limit]: &[System; 2], ground: Ground<'_>) -> Result<[Served; 2]> {
    Ok([ours.start(ground)?, limit.start(ground)?])
}

/// Opens connections to `served`, each with a whole handshake and one request.
fn connect(served: &Served, ground: Ground<'_>, effort: Effort) -> Result<Connections> {
    let connect = |duration| cost(served, CLOSING, duration, ground.cores.client);
    connect(WARM_UP)?;
    let begun = now();
    let used = connect(Duration::from_secs(effort.seconds))?;
    Ok(Connections {
        cpu_us: used.per_request() * 1e6,
        per_second: used.requests_per_second,
        busy: used.cpu.as_secs_f64() / begun.elapsed().as_secs_f64(),
    })
}

#[cfg(test)]
pub(crate) mod tests;
