//! What TLS adds is a difference.

use super::{Connections, Costs, Round};

/// A round in which requests cost this without TLS and with it, µs, and a connection ten times the latter.
pub(crate) fn round(ours: [f64; 2], limit: [f64; 2]) -> Round {
    let costs = |[plain_us, tls_us]: [f64; 2]| {
        let connections = Connections { cpu_us: 10.0 * tls_us, per_second: 1e5 / tls_us, busy: 1.0 };
        Costs { plain_us, tls_us, connections }
    };
    Round { ours: costs(ours), limit: costs(limit) }
}

#[test]
fn tls_adds_what_it_costs_beyond_plain_text() {
    let Round { ours, limit } = round([10.0, 13.5], [5.0, 8.0]);
    assert_eq!((ours.added_us(), limit.added_us()), (3.5, 3.0));
}
