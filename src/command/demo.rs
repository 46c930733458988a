//! Serves against a simulated WeChat.

use std::time::Duration;

use super::{Error, serve};
use crate::config::{Args, Config};
use crate::demo::{Options, Simulation};

/// At most one account-list call in this time, unless `--wechat.min-interval` says otherwise: short enough to watch
/// the balances fall.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Enough for a call each [`MIN_INTERVAL`] all day: nobody's quota is spent, and there is a budget to look at.
const DAILY_LIMIT: u64 = 20_000;

/// Starts the simulation and serves its apps until told to stop.
///
/// # Errors
/// When it can't start.
pub(super) async fn run(args: Args, options: &Options) -> Result<(), Error> {
    // No error: they may be environment variables of a container that serves otherwise.
    for flag in args.flags_of_real_apps() {
        tracing::warn!(
            flag,
            "not used: the demo simulates Mini Programs of its own; leave the word demo out to serve yours"
        );
    }
    let simulation = Simulation::start(options)
        .await
        .map_err(Error::Simulation)?;
    let mut apps = simulation.apps();
    for app in &mut apps {
        app.min_interval = MIN_INTERVAL;
        app.daily_limit = Some(DAILY_LIMIT);
        // So that dashboards have something to show.
        app.api_quota = true;
        app.refresh_couriers = true;
    }
    let config = Config::for_simulated(&args, apps.clone())?;
    for app in &config.apps {
        tracing::info!(
            appid = app.appid,
            name = app.name,
            "Simulating a Mini Program"
        );
    }
    let address = config
        .web
        .listen_addresses
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    tracing::info!(
        simulated_api = %simulation.address(),
        "Nothing here is real: look at / for the accounts and at {} for the metrics, on {address}",
        config.web.telemetry_path,
    );
    serve::with_config(Box::new(move || Config::for_simulated(&args, apps.clone()))).await
}
