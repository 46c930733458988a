//! The program as its users run it: a process, scraped over HTTP, with a fake WeChat API that counts calls.
//!
//! | file | about |
//! |---|---|
//! | `scrape` | what one scrape costs and shows: first, joined, within the interval, late |
//! | `token` | rejected tokens: one renewal, never a loop |
//! | `limits` | the daily limit, the breaker, and what survives a restart |
//! | `replies` | answers that are broken, endless or huge: a counted reason, bounded memory, and nothing else changes |
//! | `explanations` | the table of replies: reason, errcode and fix of each, in both languages |
//! | `page` | golden pages, promtool, a strict parser |
//! | `endpoints` | every route except `/metrics`, and reloading and stopping |
//! | `commands` | `check`, `collect`, usage errors and exit codes |
//! | `nginx` | a real nginx in front of it |
//! | `environment` | environment variables |
//! | `log` | standard error that nobody reads |
//! | `readme` | README, docs and examples are correct |
//! | `cloud_function` | results of the shipped cloud function |
//! | `secrets` | no secret in anything the program writes |
//! | `properties` | what must hold for any input from WeChat, a token source or an operator |
//! | `clients` | greedy, broken and countless clients: memory and descriptors stay bounded, scrapes go on |
//! | `sockets` | Unix sockets, IPv6, systemd's sockets, running out of descriptors |
//! | `kills` | SIGKILL at any moment, and endless reloads |
//! | `disk` | full, read-only, damaged and foreign state |
//! | `clock` | a wall clock that jumps by a day |
//! | `replicas` | several processes with one Redis, over TLS |
//! | `prometheus` | a real Prometheus |
//! | `dashboards` | what their panels show, with the rules and without |
//!
//! docs/reliability.md describes what `replies` and the files from `clients` on show. These need Debian's packages
//! `prometheus`, `redis-server`, `faketime`, `systemd` and `util-linux`, and fail without them.

// A fixture that can't be set up fails its test.
#![allow(
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub
)]

mod raw_api;
mod support;

mod clients;
mod clock;
mod cloud_function;
mod commands;
mod dashboards;
mod disk;
mod endpoints;
mod environment;
mod explanations;
mod kills;
mod limits;
mod log;
mod nginx;
mod page;
mod prometheus;
mod properties;
mod readme;
mod replicas;
mod replies;
mod scrape;
mod secrets;
mod sockets;
mod token;
