//! Prometheus exporter for the electronic-waybill balances (电子面单余额) of WeChat Mini Programs.
//!
//! # The path of one scrape
//!
//! 1. `web` takes `GET /metrics`, works out the deadline and asks [`collector`] for a scrape.
//! 2. [`collector::scrape`] asks every [`app`], all at the same time. An app joins the fetch under way; else, if its
//!    [`limiter`] grants a call, it starts one; else its last [`snapshot`] has to do.
//! 3. A fetch is a task of its own, which ends also when nobody waits any more. Where [`replicas`] share the budget it
//!    first takes their lock. It takes a token from [`token`], reads the account list through [`wechat`], and leaves a
//!    new snapshot. Before it, the calls that it can send are counted in [`store`]; after it, state and snapshot are
//!    kept there for the next start.
//! 4. When all have ended, or the deadline has come, [`exposition`] writes the page from the snapshots and counters,
//!    while `web` sends it.
//!
//! Nothing polls: without scrapes there are no calls.
//!
//! # Modules
//!
//! From top to bottom; each uses only those below it:
//!
//! - [`command`]: serve, demo, check, collect
//! - `web`: the HTTP server and its routes
//! - [`web_config`]: TLS, passwords and headers of `--web.config.file`
//! - [`status`]: the page for people
//! - [`exposition`]: every metric, and the formats of a page
//! - [`collector`]: all apps, and one scrape
//! - [`app`]: one Mini Program at run time
//! - [`usage_rate`]: how fast balances fall
//! - [`token`]: where tokens come from
//! - [`replicas`]: one budget and snapshot for several exporters
//! - [`store`]: what survives a restart
//! - [`snapshot`]: one reading of an app's accounts
//! - [`limiter`]: the exporter's own budget of calls
//! - `redis`: the Redis client
//! - [`logging`]: the log on standard error
//! - [`demo`]: a simulated WeChat
//! - [`config`]: flags, environment and file become one checked value
//! - [`wechat`]: the only place that knows WeChat's URLs, JSON and errcodes
//! - `http_client`: what all outgoing HTTP calls share
//! - `tls`: how servers' certificates are checked
//! - `proxy`: the proxies that the environment names
//! - [`clock`]: both clocks, and China's calendar
//! - [`version`]: what this program was made from
//! - `blocking`: what hangs or takes long, apart from the threads that serve scrapes
//! - `error`: errors as people read them

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
pub mod usage_rate;
pub mod version;
mod web;
pub mod web_config;
pub mod wechat;
