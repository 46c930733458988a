//! The program as its users meet it: a process, scraped over HTTP, against a fake WeChat API that counts calls.
//!
//! | file | about |
//! |---|---|
//! | `scrape` | what one scrape costs and shows: first, joined, within the interval, late, stale |
//! | `token` | rejected tokens: one retry, never a loop |
//! | `limits` | the daily limit, the breaker, and what survives a restart |
//! | `readme` | the README is true |
//! | `cloud_function` | what the shipped cloud function returns is read |
//! | `replicas` | four processes with one Redis |
//! | `replies` | answers that break off or never end: a counted reason, and nothing else changes |
//! | `explanations` | the table of replies: reason, errcode and fix of each, in both languages |
//! | `endpoints` | every route but `/metrics`, reload and stop |
//! | `commands` | `check`, `collect`, usage errors and exit codes |
//! | `nginx` | a real nginx in front of it |
//! | `environment` | what the environment's variables do |
//! | `log` | standard error that nobody reads |
//! | `secrets` | no secret in anything the program writes |
//! | `page` | golden pages, promtool, duplicate series |
//! | `prometheus` | a real Prometheus scrapes `demo` |
//! | `properties` | what must hold whatever WeChat, a token source or an operator writes |

// A fixture that can't be made is a failed test.
#![allow(
    clippy::unwrap_used,
    missing_debug_implementations,
    missing_docs,
    unreachable_pub
)]

#[path = "../../src/redis_server.rs"]
#[expect(dead_code, reason = "the unit tests use the rest")]
mod redis_server;

mod cloud_function;
mod commands;
mod endpoints;
mod environment;
mod explanations;
mod limits;
mod log;
mod nginx;
mod page;
mod prometheus;
mod properties;
#[expect(dead_code, reason = "the reliability tests use the rest")]
mod raw_api;
mod readme;
mod real_prometheus;
mod replicas;
mod replies;
mod scrape;
mod secrets;
mod support;
mod token;
