//! Prometheus exporter for the electronic-waybill balances (电子面单余额) of WeChat Mini Programs.
//!
//! # The path of one scrape
//!
//! 1. `web` receives `GET /metrics`, computes the deadline and calls [`collector::scrape`].
//! 2. [`collector::scrape`] asks every [`app`] concurrently. An app joins the fetch under way; otherwise it starts one
//!    if its [`limiter`] grants a call; otherwise it serves its last [`snapshot`].
//! 3. A fetch runs in its own task, which goes on even if no scrape waits for it any more. Where [`replicas`] share the
//!    budget, it first takes their lock. It gets a token from [`token`], reads the account list through [`wechat`] and
//!    leaves a new snapshot. Before the fetch, [`store`] counts the calls that it can send; afterwards it keeps the
//!    state and the snapshot for the next start.
//! 4. When all fetches have ended, or the deadline has come, [`exposition`] writes the page from the snapshots and
//!    counters while `web` sends it.
//!
//! Nothing polls: without scrapes there are no calls.
//!
//! # Modules
//!
//! From top to bottom; each module uses only those below it:
//!
//! - [`command`]: serve, demo, check, collect
//! - `web`: the HTTP server and its routes
//! - [`web_config`]: TLS, passwords and headers of `--web.config.file`
//! - [`status`]: the status page for people
//! - [`exposition`]: every metric, and the formats of a page
//! - [`collector`]: all apps, and one scrape
//! - [`app`]: one Mini Program at run time
//! - [`token`]: where tokens come from
//! - [`replicas`]: one budget and one snapshot for several exporters
//! - [`store`]: what survives a restart
//! - [`snapshot`]: one reading of an app's accounts
//! - `usage_rate`: how fast balances fall
//! - [`limiter`]: the exporter's own budget of calls
//! - `redis`: the Redis client
//! - [`logging`]: the log on standard error
//! - [`demo`]: a simulated WeChat
//! - [`config`]: flags, environment variables and the configuration file as one validated value
//! - [`wechat`]: the only place that knows WeChat's URLs, JSON and errcodes
//! - `http_client`: what all outgoing HTTP calls share
//! - `tls`: how server certificates are verified
//! - `proxy`: the proxies that the environment sets
//! - [`clock`]: the wall clock, the monotonic clock and China's calendar
//! - [`version`]: the version and the source of this build
//! - `blocking`: blocking work, kept off the threads that serve scrapes
//! - `labels`: closed sets of label values
//! - `error`: errors as text for people

pub mod app;
mod blocking;
pub mod clock;
pub mod collector;
pub mod command;
pub mod config;
pub mod demo;
mod error;
pub mod exposition;
mod http_client;
mod labels;
pub mod limiter;
pub mod logging;
mod proxy;
mod redis;
mod redis_server;
pub mod replicas;
pub mod snapshot;
pub mod status;
pub mod store;
mod tls;
pub mod token;
mod usage_rate;
pub mod version;
mod web;
pub mod web_config;
pub mod wechat;
