//! Prometheus exporter for the electronic-waybill balances (电子面单余额) of WeChat Mini Programs.
//!
//! # The path of one scrape
//!
//! 1. [`web`] takes `GET /metrics`, works out the deadline and asks [`collector`] for a scrape.
//! 2. [`collector::scrape`] asks every [`app`], all at the same time. An app joins the fetch under way; else, if its
//!    [`limit`]er grants a call, it starts one; else its last [`snapshot`] has to do.
//! 3. A fetch is a task of its own: it asks the other [`replicas`] for its turn, where there are any, takes a token
//!    from [`token`], reads the account list through [`wechat`], and leaves a new snapshot, which [`store`] keeps for
//!    the next start. It ends also when nobody waits any more.
//! 4. When all have ended, or the deadline has come, [`exposition`] makes the page from the snapshots and counters,
//!    and [`web`] sends it.
//!
//! Nothing polls: without scrapes there are no calls.
//!
//! # Modules
//!
//! Dependencies point one way: [`command`] → [`web`] → [`collector`] and [`exposition`] → [`app`] → [`token`],
//! [`replicas`], [`limit`], [`snapshot`], [`store`] → [`wechat`] → [`config`].
//!
//! - [`app`]: one Mini Program at run time
//! - [`burn`]: how fast balances fall
//! - [`collector`]: all of them, and one scrape
//! - [`command`]: serve, demo, check, collect
//! - [`config`]: flags, environment and file become one checked value
//! - [`demo`]: a simulated WeChat
//! - [`exposition`]: every metric, and the formats of a page
//! - [`limit`]: the exporter's own budget of calls
//! - [`logging`]: the log on standard error
//! - [`moment`]: both clocks, and China's calendar
//! - [`replicas`]: one budget, token and snapshot for several exporters
//! - [`snapshot`]: one reading of an app's accounts
//! - [`store`]: what survives a restart
//! - [`token`]: where tokens come from
//! - [`version`]: what this program was made from
//! - [`web`]: the HTTP server and its routes
//! - [`wechat`]: the only place that knows WeChat's URLs, JSON and errcodes

pub mod app;
pub mod burn;
pub mod collector;
pub mod command;
pub mod config;
pub mod demo;
pub mod exposition;
pub mod limit;
pub mod logging;
pub mod moment;
#[cfg(test)]
mod redis_server;
pub mod replicas;
pub mod snapshot;
pub mod store;
pub mod token;
pub mod version;
pub mod web;
pub mod wechat;
