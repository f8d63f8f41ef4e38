//! An upper bound for a rate that was observed in the past.

/// Number of times that the searched interval is halved: enough for every bit of a rate.
const HALVINGS: u32 = 60;

/// Upper confidence bound of the rate behind `bad` bad events in `requests` requests. It is too low with a
/// probability of at most `alpha`.
///
/// The Chernoff bound in its Kullback-Leibler form: the rate `u` above `bad / requests` for which `requests *
/// KL(bad / requests, u)` is `ln(1 / alpha)`. 1 if there were no requests.
pub(crate) fn upper(bad: u64, requests: u64, alpha: f64) -> f64 {
    if requests == 0 || bad >= requests {
        return 1.0;
    }
    let seen = bad as f64 / requests as f64;
    let allowed = (1.0 / alpha).ln() / requests as f64;
    let (mut low, mut high) = (seen, 1.0);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if divergence(seen, middle) > allowed {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// Kullback-Leibler divergence of two Bernoulli distributions, nats.
fn divergence(seen: f64, rate: f64) -> f64 {
    let hits = if seen > 0.0 { seen * (seen / rate).ln() } else { 0.0 };
    hits + (1.0 - seen) * ((1.0 - seen) / (1.0 - rate)).ln()
}

#[cfg(test)]
mod tests;
