//! The program among clients, networks, disks and clocks that mean it ill. docs/reliability.md says what each shows.
//!
//! | file | about |
//! |---|---|
//! | `clients` | slow, greedy, broken and countless clients: memory and descriptors stay bounded, scrapes go on |
//! | `api` | an API that lies, floods or breaks off, with bounds on memory |
//! | `tls_api` | an API whose certificate is wrong |
//! | `tls_redis` | a Redis over TLS, and one whose certificate is wrong |
//! | `secrets` | every kind of credential, every way that it fails, and nothing of it in anything written |
//! | `kills` | SIGKILL at any moment |
//! | `disk` | full, read-only, corrupt, truncated and foreign state |
//! | `clock` | a wall clock that jumps by a day |
//! | `sockets` | Unix sockets, IPv6, sockets of systemd, no descriptors left |
//! | `prometheus` | a real Prometheus: mutual TLS and passwords, and no gap while files are broken and mended |
//!
//! `RELIABILITY_ROUNDS` multiplies how often, `RELIABILITY_CONNECTIONS` says how many connections are held; nothing is
//! left out without them.

// A fixture that can't be made is a failed test.
#![allow(
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub
)]

#[path = "../integration/support.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod support;

#[path = "../../src/web/tests/certificates.rs"]
mod certificates;

#[path = "../integration/real_prometheus.rs"]
mod real_prometheus;

#[path = "../integration/raw_api.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod raw_api;

#[path = "../../src/redis_server.rs"]
#[expect(dead_code, reason = "the unit tests use the rest")]
mod redis_server;

mod api;
mod clients;
mod clock;
mod disk;
mod kills;
mod process;
mod prometheus;
mod secrets;
mod sockets;
mod tls_api;
mod tls_redis;
