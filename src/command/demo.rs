//! Serves against a simulated WeChat.

use std::time::Duration;

use super::{Error, serve};
use crate::config::Args;
use crate::demo::{Options, Simulation};

/// The interval between account-list calls unless `--wechat.min-interval` is set; short enough to see balances fall.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Allows a call every [`MIN_INTERVAL`] all day. No real quota is spent, but there is a budget to look at.
const DAILY_LIMIT: u64 = 20_000;

/// The minimum time for which balances are observed before the exporter tells how long they last. They are refreshed
/// once a minute, and two drops don't make a rate. Above this minimum, the real observation time is divided by the
/// speed, because few users watch a demo for an hour.
const DAYS_LEFT_AFTER: Duration = Duration::from_secs(180);

/// Starts the simulation and serves its apps until told to stop.
///
/// # Errors
/// Fails if it can't start.
pub(super) async fn run(mut args: Args, options: &Options) -> Result<(), Error> {
    let Simulation { address, mut apps } = Simulation::start(options)
        .await
        .map_err(Error::Simulation)?;
    for app in &mut apps {
        app.min_interval = MIN_INTERVAL;
        app.daily_limit = Some(DAILY_LIMIT);
        app.days_left_after = (app.days_left_after / options.speed).max(DAYS_LEFT_AFTER);
        // Gives the dashboards something to show.
        app.api_quota = true;
        app.refresh_couriers = true;
        tracing::info!(
            appid = app.appid,
            name = app.name,
            "Simulating a Mini Program"
        );
    }
    tracing::info!(
        simulated_api = %address,
        "Nothing here is real: open / for the accounts and a link to the metrics"
    );
    args.simulated_apps = Some(apps);
    serve::run(args).await
}
