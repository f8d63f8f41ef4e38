//! What the log says of a failure is what the data plane answers.

use std::time::Duration;

use wasm_fn_core::{Trap, Usage};
use wasm_fn_runtime::{Fault, InvocationError, Refusal};

use super::failure;

#[test]
fn a_fault_is_logged_with_the_status_that_it_is_answered_with() {
    let (limit, retry_after, reason) = (Duration::ZERO, Duration::ZERO, String::new);
    let faults = [
        Fault::Trap { reason: reason(), trap: Trap { fingerprint: 0, backtrace: "".into() } },
        Fault::Timeout { limit },
        Fault::BeganLate { limit },
        Fault::CpuExceeded { limit },
        Fault::OutOfMemory { limit_bytes: 0 },
        Fault::InvalidResponse { reason: reason() },
        Fault::Refused(Refusal::UriTooLong { found_bytes: 2, max_bytes: 1 }),
        Fault::Refused(Refusal::HeaderTooLong { variable: reason(), found_bytes: 2, max_bytes: 1 }),
        Fault::Refused(Refusal::Malformed { reason: "" }),
        Fault::NotReady { retry_after },
        Fault::FunctionOverloaded { retry_after },
        Fault::NodeOverloaded { retry_after },
        Fault::Internal { reason: reason() },
    ];
    for fault in faults {
        let logged = fault.status();
        let failed = failure(InvocationError { fault: fault.clone(), usage: Usage::default() });
        assert_eq!(failed.cause.status(), logged, "{fault:?}");
    }
}
