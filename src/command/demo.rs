//! Serves against a simulated WeChat.

use std::time::Duration;

use super::{Error, serve};
use crate::config::Args;
use crate::demo::{Options, Simulation};

/// At most one account-list call in this time, unless `--wechat.min-interval` says otherwise: short enough to watch
/// the balances fall.
const MIN_INTERVAL: Duration = Duration::from_secs(5);

/// Enough for a call each [`MIN_INTERVAL`] all day: nobody's quota is spent, and there is a budget to look at.
const DAILY_LIMIT: u64 = 20_000;

/// How long balances are watched at least before it is said how long they last: they are refreshed once a minute, and two
/// falls are no rate. Else as long in the shops' time as real balances are watched, for few look on for an hour.
const DAYS_LEFT_AFTER: Duration = Duration::from_secs(180);

/// Starts the simulation and serves its apps until told to stop.
///
/// # Errors
/// When it can't start.
pub(super) async fn run(mut args: Args, options: &Options) -> Result<(), Error> {
    let Simulation { address, mut apps } = Simulation::start(options)
        .await
        .map_err(Error::Simulation)?;
    for app in &mut apps {
        app.min_interval = MIN_INTERVAL;
        app.daily_limit = Some(DAILY_LIMIT);
        app.days_left_after = (app.days_left_after / options.speed).max(DAYS_LEFT_AFTER);
        // So that dashboards have something to show.
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
