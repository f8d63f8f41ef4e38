//! The faults that a cluster has to survive: drawn by chance, and done to its machines.

use std::{fmt, net::Ipv4Addr, sync::Arc, time::Duration};

use futures_util::future::join_all;
use rand::{RngExt as _, rngs::StdRng, seq::IndexedRandom as _};
use rustix::process::Signal;
use tokio::{sync::Mutex, time::sleep};

use super::sites::Site;
use crate::harness::{broker::Server, network::Network};

/// The machines of a cluster, and the network between them.
pub(super) struct Machines {
    pub(super) network: Network,
    pub(super) servers: Vec<Mutex<Server>>,
    /// Where the servers are.
    pub(super) addresses: Vec<Ipv4Addr>,
    pub(super) sites: Vec<Arc<Site>>,
}

/// What fails. Nodes and servers are counted from 0.
#[derive(Clone, Debug)]
enum Kind {
    KillNode(usize),
    StopNode(usize),
    RestartNode(usize),
    KillServer(usize),
    StopServer(usize),
    RestartServer(usize),
    KillBroker,
    /// All servers are stopped.
    StopBroker,
    /// A node reaches no server, and none reaches it.
    CutNode(usize),
    /// A node reaches no server.
    CutNodeTo(usize),
    /// No server reaches a node.
    CutNodeFrom(usize),
    /// Two nodes and a server are cut off from the rest.
    CutMinority([usize; 2], usize),
    CutAllNodes,
    /// A server is cut off from the others, and all nodes reach it.
    CutServer(usize),
}

/// A fault, how long after the beginning of its schedule it begins, and how long it lasts.
#[derive(Clone, Debug)]
struct Fault {
    kind: Kind,
    after: Duration,
    lasts: Duration,
}

/// Faults that overlap.
pub(super) struct Schedule(Vec<Fault>);

impl Schedule {
    /// One to three faults, which last as long as in life if they are `long`.
    pub(super) fn draw(dice: &mut StdRng, long: bool) -> Self {
        let mut faults: Vec<Fault> = Vec::new();
        let count = dice.random_range(1..=3);
        while faults.len() < count {
            let fault = Fault::draw(dice, long);
            // A process suffers one thing at a time; ways may be cut as often as it comes.
            if faults.iter().all(|other| !fault.kind.meets(&other.kind)) {
                faults.push(fault);
            }
        }
        Self(faults)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.0.iter().map(|Fault { kind, after, lasts }| {
            format!("{kind:?} after {} ms for {} ms", after.as_millis(), lasts.as_millis())
        });
        f.write_str(&faults.collect::<Vec<_>>().join(", "))
    }
}

impl Kind {
    /// The nodes, and the servers, whose processes it is about.
    fn processes(&self) -> (Vec<usize>, Vec<usize>) {
        match *self {
            Self::KillNode(node) | Self::StopNode(node) | Self::RestartNode(node) => (vec![node], vec![]),
            Self::KillServer(server) | Self::StopServer(server) | Self::RestartServer(server) => {
                (vec![], vec![server])
            }
            Self::KillBroker | Self::StopBroker => (vec![], vec![0, 1, 2]),
            Self::CutNode(_)
            | Self::CutNodeTo(_)
            | Self::CutNodeFrom(_)
            | Self::CutMinority(..)
            | Self::CutAllNodes
            | Self::CutServer(_) => (vec![], vec![]),
        }
    }

    /// Whether both are about one process.
    fn meets(&self, other: &Self) -> bool {
        let ((nodes, servers), (others, other_servers)) = (self.processes(), other.processes());
        nodes.iter().any(|node| others.contains(node))
            || servers.iter().any(|server| other_servers.contains(server))
    }
}

impl Fault {
    fn draw(dice: &mut StdRng, long: bool) -> Self {
        let (node, server) = (dice.random_range(0..5), dice.random_range(0..3));
        let other = (node + dice.random_range(1..5)) % 5;
        let kinds = [
            (2, Kind::KillNode(node)),
            (2, Kind::StopNode(node)),
            (2, Kind::RestartNode(node)),
            (2, Kind::KillServer(server)),
            (2, Kind::StopServer(server)),
            (2, Kind::RestartServer(server)),
            (1, Kind::KillBroker),
            (1, Kind::StopBroker),
            (2, Kind::CutNode(node)),
            (2, Kind::CutNodeTo(node)),
            (2, Kind::CutNodeFrom(node)),
            (2, Kind::CutMinority([node, other], server)),
            (1, Kind::CutAllNodes),
            (2, Kind::CutServer(server)),
        ];
        // What is of everything comes half as often: nothing can be changed then.
        let kind =
            kinds.choose_weighted(dice, |(weight, _)| *weight).expect("weights are positive").1.clone();
        // Less and more than the lease, and than the time in which servers choose another leader.
        let (millis, stops) = if long { (500..8_000, 10_000) } else { (500..4_000, 3_000) };
        let lasts = match kind {
            Kind::StopNode(_) | Kind::StopServer(_) | Kind::StopBroker => stops,
            _ => dice.random_range(millis),
        };
        let after = dice.random_range(0..2_000);
        Self { kind, after: Duration::from_millis(after), lasts: Duration::from_millis(lasts) }
    }
}

impl Machines {
    /// Does what the schedule says, until the last fault is over.
    pub(super) async fn suffer(&self, schedule: &Schedule) {
        join_all(schedule.0.iter().map(|fault| self.suffer_one(fault))).await;
    }

    async fn suffer_one(&self, Fault { kind, after, lasts }: &Fault) {
        sleep(*after).await;
        let lasts = *lasts;
        match *kind {
            Kind::KillNode(node) => self.sites[node].dies_for(lasts).await,
            Kind::StopNode(node) => self.sites[node].stands_still_for(lasts).await,
            Kind::RestartNode(node) => self.sites[node].restarts().await,
            Kind::KillServer(server) => self.kill(&[server], lasts).await,
            Kind::StopServer(server) => self.stop(&[server], lasts).await,
            Kind::RestartServer(server) => {
                let mut server = self.servers[server].lock().await;
                server.end();
                server.start_again();
            }
            Kind::KillBroker => self.kill(&[0, 1, 2], lasts).await,
            Kind::StopBroker => self.stop(&[0, 1, 2], lasts).await,
            Kind::CutNode(node) => {
                let there = pairs(&[self.node(node)], &self.addresses);
                self.cut(&[&*there, &turned(&there)].concat(), lasts).await;
            }
            Kind::CutNodeTo(node) => self.cut(&pairs(&[self.node(node)], &self.addresses), lasts).await,
            Kind::CutNodeFrom(node) => self.cut(&pairs(&self.addresses, &[self.node(node)]), lasts).await,
            Kind::CutMinority(nodes, server) => {
                let minority = [self.node(nodes[0]), self.node(nodes[1]), self.addresses[server]];
                let all = self.nodes().chain(self.addresses.iter().copied());
                let rest: Vec<_> = all.filter(|address| !minority.contains(address)).collect();
                let there = pairs(&minority, &rest);
                self.cut(&[&*there, &turned(&there)].concat(), lasts).await;
            }
            Kind::CutAllNodes => {
                let there = pairs(&self.nodes().collect::<Vec<_>>(), &self.addresses);
                self.cut(&[&*there, &turned(&there)].concat(), lasts).await;
            }
            Kind::CutServer(server) => {
                let own = self.addresses[server];
                let others = self.addresses.iter().copied().filter(|&other| other != own);
                let there = pairs(&[own], &others.collect::<Vec<_>>());
                self.cut(&[&*there, &turned(&there)].concat(), lasts).await;
            }
        }
    }

    fn node(&self, number: usize) -> Ipv4Addr {
        self.sites[number].host.address
    }

    fn nodes(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.sites.iter().map(|site| site.host.address)
    }

    async fn cut(&self, ways: &[(Ipv4Addr, Ipv4Addr)], lasts: Duration) {
        let _cut = self.network.cut(ways);
        sleep(lasts).await;
    }

    async fn kill(&self, servers: &[usize], lasts: Duration) {
        let mut killed = Vec::new();
        for &server in servers {
            let mut server = self.servers[server].lock().await;
            server.kill();
            killed.push(server);
        }
        sleep(lasts).await;
        for mut server in killed {
            server.start_again();
        }
    }

    async fn stop(&self, servers: &[usize], lasts: Duration) {
        let mut stopped = Vec::new();
        for &server in servers {
            let server = self.servers[server].lock().await;
            server.signal(Signal::STOP);
            stopped.push(server);
        }
        sleep(lasts).await;
        for server in stopped {
            server.signal(Signal::CONT);
        }
    }
}

/// Every way from one of `from` to one of `to`.
fn pairs(from: &[Ipv4Addr], to: &[Ipv4Addr]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    from.iter().flat_map(|&from| to.iter().map(move |&to| (from, to))).collect()
}

fn turned(ways: &[(Ipv4Addr, Ipv4Addr)]) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    ways.iter().map(|&(from, to)| (to, from)).collect()
}
