//! The real `wasm-fn` with real guests: a node of its own and a temporary directory for each test.
//!
//! Nothing here waits for time to pass. Tests wait for answers, log lines and the end of processes, and
//! every wait has the same long deadline, after which the test fails and says what it waited for.

#[cfg(test)]
mod acme;
#[cfg(test)]
mod approving;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod capabilities;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod clustered;
#[cfg(test)]
mod cohorts;
#[cfg(test)]
mod colleagues;
#[cfg(test)]
mod compiling;
#[cfg(test)]
mod damaged;
#[cfg(test)]
mod documented;
#[cfg(test)]
mod draining;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod encrypted;
#[cfg(test)]
mod eventful;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod fairness;
#[cfg(test)]
mod federated;
#[cfg(test)]
mod first_hour;
#[cfg(test)]
mod flooding;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod harness;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod importing;
#[cfg(test)]
mod interpreted;
#[cfg(test)]
mod isolated;
#[cfg(test)]
mod jobs;
#[cfg(test)]
mod keeping_secrets;
#[cfg(test)]
mod killing;
#[cfg(test)]
mod killing_events;
#[cfg(test)]
mod killing_rollouts;
#[cfg(test)]
mod logging_in;
#[cfg(test)]
mod machine;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod packaged;
mod page;
#[cfg(test)]
mod permitted;
#[cfg(test)]
mod previewing;
#[cfg(test)]
mod projects;
#[cfg(test)]
mod proxied;
#[cfg(test)]
mod push_deploys;
#[cfg(test)]
mod pushing;
#[cfg(test)]
mod queued;
#[cfg(test)]
mod registry;
#[cfg(test)]
mod releasing;
#[cfg(test)]
mod rolling_out;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod showing;
#[cfg(test)]
mod smuggling;
#[cfg(test)]
mod splitting;
#[cfg(test)]
mod staged;
#[cfg(test)]
mod stateful;
#[cfg(test)]
mod swapping;
mod terminal;
#[cfg(test)]
mod traced;
