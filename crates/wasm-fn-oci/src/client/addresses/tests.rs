//! What is noted, and for how long.

use super::*;

/// Permits everything.
#[derive(Debug)]
struct Permitting;

impl AddressJudge for Permitting {
    fn judge(&self, _: SocketAddr) -> Result<(), String> {
        Ok(())
    }
}

fn url(host: usize) -> Url {
    format!("https://h{host}.example").parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn hosts_beyond_the_bound_are_refused_until_others_are_old() {
    let addresses = Addresses::new(Arc::new(Permitting), Duration::from_secs(60));
    for host in 0..NOTED_MAX {
        addresses.admit(&url(host)).unwrap();
    }
    assert_eq!(addresses.admit(&url(NOTED_MAX)), Err(AddressError::TooManyHosts));
    // An address needs no note.
    addresses.admit(&"https://[::1]/".parse().unwrap()).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    addresses.admit(&url(NOTED_MAX)).unwrap();
    assert_eq!(addresses.ports("h0.example"), [0]);
    assert_eq!(addresses.ports(&format!("h{NOTED_MAX}.example")), [443]);
}
