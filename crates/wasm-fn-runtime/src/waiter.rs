//! What is woken when its turn comes.

use tokio::sync::oneshot;
use wasm_fn_pool::Wake;

/// A request that waits for a place, or a guest that waits for a turn to compute.
pub(crate) struct Waiter(pub(crate) oneshot::Sender<()>);

impl Wake for Waiter {
    fn wake(self) -> bool {
        self.0.send(()).is_ok()
    }
}
