//! Fetches once and prints the metrics, for the textfile collector or cron.

use std::sync::Arc;

use tokio::time::Instant;

use super::Error;
use crate::collector::scrape;
use crate::config::{Args, Config};
use crate::exposition::{Exposition, Form, Scope};

/// Fetches every app and prints the page, even if an app failed.
///
/// # Errors
/// Returns [`Error::AppsFailing`] if an app failed, and other errors if there is no page.
pub(super) async fn run(args: &Args) -> Result<(), Error> {
    let mut config = Config::load(args)?;
    for app in &mut config.apps {
        // Live balances appear in the reading after the one that requests them, and there is only one reading here.
        app.live_quota = None;
    }
    let collector = Arc::new(super::collector(&config)?);
    let exposition = Exposition::new(Arc::clone(&collector));
    let deadline = Instant::now() + config.scrape.timeout;
    let apps = collector.apps();
    let readings = scrape(apps.list(), config.scrape.max_stale, deadline).await;
    // WeChat's own figures are requested after the accounts, and belong on the page.
    collector
        .settled_by(Instant::now() + config.wechat.timeout)
        .await;
    let all_up = readings.iter().all(|reading| reading.up);
    exposition
        .page(readings, Scope::AppsOnly, &[], Form::TEXT)
        .write_to(&mut std::io::stdout().lock())
        .map_err(Error::Output)?;
    collector
        .drain(Instant::now() + config.wechat.timeout)
        .await;
    if all_up {
        Ok(())
    } else {
        Err(Error::AppsFailing)
    }
}
