//! Does what one scrape does for every app and reports the results to the user.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use super::{CheckArgs, Error};
use crate::app::App;
use crate::collector::{self, AppReading, Collector};
use crate::config::{AppConfig, Args, Config, ConfigError, Couriers, Credential};
use crate::logging::is_unseen;
use crate::snapshot::Snapshot;
use crate::status::AccountState;
use crate::store::Store;
use crate::web_config;
use crate::wechat::{self, Account, Api, Reason};

/// The number of tokens minted in a day: a token lives two hours and is renewed before it expires.
const TOKENS_PER_DAY: u64 = 13;
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Checks the settings and, unless told not to, every app.
///
/// # Errors
/// [`Error::AppsFailing`] when an app fails; the reason has been printed.
pub(super) async fn run(args: &Args, options: &CheckArgs) -> Result<(), Error> {
    let mut config = Config::load(args)?;
    if let Some(file) = &config.web.config_file {
        web_config::check(file)?;
    }
    let configured = config.apps.len();
    narrow(&mut config.apps, &options.only)?;
    let say = |line: &str| writeln!(io::stdout(), "{line}").map_err(Error::Output);
    let plural = if configured == 1 { "" } else { "s" };
    say(&format!(
        "Settings: valid, {configured} app{plural}; secrets and web configuration can be read."
    ))?;
    if options.config_only {
        return Ok(());
    }
    let checked = config.apps.len();
    if checked < configured {
        say(&format!(
            "Apps: {checked} of {configured} checked, as --only says."
        ))?;
    }
    for app in &mut config.apps {
        // These are not part of the report, and each would cost calls.
        app.live_quota = None;
        app.api_quota = false;
        app.refresh_couriers = false;
    }
    let (store, is_counted, note) = budget(&config)?;
    if let Some(note) = note {
        say(&format!("Budget: {}", printable(&note)))?;
    }
    super::warn_of_pitfalls(&config);
    let collector = Collector::among(None, &config, store)?;
    let failing = report_all(&collector, &config, is_counted, say).await;
    // State is written after a fetch has answered.
    collector
        .drain(Instant::now() + config.wechat.timeout)
        .await;
    match failing? {
        0 => say("All apps are healthy."),
        failing => {
            say(&format!("{failing} of {checked} apps failed."))?;
            Err(Error::AppsFailing)
        }
    }
}

/// Fetches all apps at the same time and reports on each as soon as those before it are done. Returns how many failed.
async fn report_all(
    collector: &Collector,
    config: &Config,
    is_counted: bool,
    say: impl Fn(&str) -> Result<(), Error>,
) -> Result<usize, Error> {
    let apps = collector.apps();
    let began = SystemTime::now();
    let begin = |app: &Arc<App>| {
        app.state.limiter.lift_waits();
        app.begin()
    };
    let begun: Vec<_> = apps.list().iter().map(begin).collect();
    // Each fetch ends by itself, long before this deadline.
    let deadline = Instant::now() + DAY;
    let mut failing = 0;
    for (app, begun) in apps.list().iter().zip(begun) {
        let reading = collector::read(app, begun, config.scrape.max_stale, deadline).await;
        let report = Report::new(&reading, began, is_counted);
        failing += usize::from(!report.healthy);
        say(&report.text)?;
    }
    Ok(failing)
}

/// Keeps only the apps with these appids, or all apps if none are given.
fn narrow(apps: &mut Vec<AppConfig>, only: &[String]) -> Result<(), ConfigError> {
    let is_unknown = |appid: &&String| !apps.iter().any(|app| app.appid == **appid);
    if let Some(unknown) = only.iter().find(is_unknown) {
        return Err(ConfigError(format!(
            "--only {}: no app with this appid is configured",
            printable(unknown)
        )));
    }
    if !only.is_empty() {
        apps.retain(|app| only.contains(&app.appid));
    }
    Ok(())
}

/// Returns where the calls of a check are counted, whether the exporter continues from that count, and a note about it.
///
/// The calls are counted in the state directory, unless an exporter is using it: a running exporter doesn't share its
/// count, and a check must work regardless.
fn budget(config: &Config) -> Result<(Store, bool, Option<String>), Error> {
    let list_limits = config.wechat.list_limits();
    let mut note = None;
    if config.shared_state.is_some() {
        note = Some("the calls of this check are not counted in shared_state.".to_owned());
    } else if let Some(directory) = &config.state_dir {
        let shown = directory.display();
        match Store::open_unused(directory, list_limits) {
            Ok(store) => {
                let note = format!("the calls of this check are counted in {shown}.");
                return Ok((store, true, Some(note)));
            }
            Err(why) => {
                note = Some(format!(
                    "the calls of this check are not counted in {shown}: {why}."
                ));
            }
        }
    }
    Ok((Store::open(None, list_limits)?, false, note))
}

/// The report on one app.
struct Report {
    text: String,
    healthy: bool,
}

impl Report {
    fn new(reading: &AppReading, began: SystemTime, is_counted: bool) -> Self {
        let app = &reading.app;
        let AppConfig { appid, name, .. } = &app.config;
        let mut report = Self {
            text: match name {
                name if name == appid => format!("\n{appid}"),
                name => format!("\n{appid} ({})", printable(name)),
            },
            healthy: true,
        };
        report.app(reading, began);
        let by_whom = if is_counted { "today" } else { "by this check" };
        let used = app.state.limiter.used(app.now());
        let calls = calls(&app.config);
        report.line("calls", &format!("{calls}; {used} sent {by_whom}"));
        report
    }

    /// Adds a line of two columns. An empty subject keeps further lines in the second column.
    fn line(&mut self, subject: &str, finding: &str) {
        let finding = printable(finding);
        self.text.push_str(&format!("\n  {subject:<11} {finding}"));
    }

    fn failed(&mut self, subject: &str, finding: &str, details: &str) {
        self.line(subject, finding);
        self.line("", details);
        self.healthy = false;
    }

    fn app(&mut self, reading: &AppReading, began: SystemTime) {
        let app = &reading.app;
        let settings = &app.config;
        // Fetches before this check, which a state directory may record, are not reported.
        let Some(fetch) = app.last_fetch().filter(|fetch| fetch.at >= began) else {
            return self.failed("accounts", "NOT CHECKED", &throttled(app));
        };
        let token = token(settings, app.tokens.expiry());
        let Some(failure) = fetch.failure else {
            self.line("token", &token);
            self.token_rejected_at_first(app);
            self.line("permission", "ok");
            if let Some(snapshot) = &reading.snapshot {
                self.accounts(snapshot, &settings.couriers, app.api_host());
            }
            return;
        };
        let subject = match (failure.cause.api, failure.cause.reason) {
            (None | Some(Api::StableToken | Api::Token), _) => "token",
            (_, Reason::Permission) => "permission",
            _ => "accounts",
        };
        if subject != "token" {
            self.line("token", &token);
        }
        self.failed(subject, "FAILED", &failure.text);
        let explanation = failure.cause.explanation(settings.credential.kind());
        let ([meaning, _], [fix, _]) = (explanation.meaning, explanation.fix);
        self.line("meaning", meaning);
        self.line("how to fix", fix);
        if let Some(address) = wechat::address_to_whitelist(&failure.text) {
            let advice = format!("The address to add to the IP whitelist is {address}");
            self.line("", &advice);
        }
    }

    /// Reports a token that was renewed at once. The fetch worked, but whatever ended the token will end the next one.
    fn token_rejected_at_first(&mut self, app: &App) {
        if app.state.limiter.rejections_in_a_row() == 0 {
            return;
        }
        self.line("", "WeChat rejected the token at first; a new one works");
        let [fix, _] = wechat::new_token(app.config.credential.kind());
        self.line("how to fix", fix);
        self.healthy = false;
    }

    fn accounts(&mut self, snapshot: &Snapshot, couriers: &Couriers, host: &str) {
        let accounts = &snapshot.accounts;
        let dropped = snapshot.dropped;
        let left_out = dropped.duplicate + dropped.limit + dropped.invalid;
        let mut finding = format!("{} from {host}", accounts.len());
        if left_out > 0 {
            finding.push_str(&format!(
                "; {left_out} rows left out ({} duplicate, {} beyond a limit, {} invalid)",
                dropped.duplicate, dropped.limit, dropped.invalid
            ));
        }
        self.line("accounts", &finding);
        for account in accounts {
            self.line("", &describe(account, couriers));
        }
    }
}

/// Explains why the exporter's own budget allowed no fetch, or not all of its calls.
fn throttled(app: &App) -> String {
    match app.state.limiter.open_breaker(app.now()) {
        Some((reason, until)) => {
            let [meaning, _] = reason.explanation().meaning;
            format!("{meaning}; no call is sent until {}", utc(until))
        }
        None => {
            "the daily limit of calls is used up until midnight in China; see --wechat.daily-limit"
                .to_owned()
        }
    }
}

fn token(app: &AppConfig, expiry: Option<SystemTime>) -> String {
    if let Credential::None { .. } = app.credential {
        return "none; Cloud Run's open-interface service adds it".to_owned();
    }
    match expiry {
        Some(end) => format!("ok, until {}", utc(end)),
        None => "ok".to_owned(),
    }
}

/// Describes an account, with its state as on the status page, as far as a single reading tells.
fn describe(account: &Account, couriers: &Couriers) -> String {
    let (delivery_id, biz_id) = (&account.delivery_id, &account.biz_id);
    let network = couriers.network(delivery_id, None);
    let state = AccountState::of(account, network, None, SystemTime::now());
    let (_, [state, _], _) = state.described();
    let courier = couriers.name(delivery_id, None);
    let balance = match account.quota_num {
        Some(quota) => format!("{quota} waybills"),
        None => "no balance".to_owned(),
    };
    let refreshed = match account
        .quota_update_time
        .map(OffsetDateTime::from_unix_timestamp)
    {
        Some(Ok(at)) => format!(", refreshed {}", utc(at)),
        _ => String::new(),
    };
    format!("{delivery_id} {biz_id}  {courier}: {state}, {balance}{refreshed}")
}

/// Compares the calls of a day with the limit, assuming one scrape in each interval.
fn calls(app: &AppConfig) -> String {
    if app.min_interval.is_zero() {
        return "one for each scrape (min_interval 0)".to_owned();
    }
    let lists = DAY.div_duration_f64(app.min_interval) as u64;
    let tokens = app.credential.token_api().map_or(0, |_| TOKENS_PER_DAY);
    let calls = lists + tokens;
    let interval = app.min_interval;
    match app.daily_limit {
        None => format!("at most {calls} a day at one in {interval:?}; no limit is set"),
        Some(limit) if calls <= limit => {
            format!("at most {calls} a day at one in {interval:?}, of {limit}")
        }
        Some(limit) => format!(
            "up to {calls} a day at one in {interval:?}, but the limit is {limit}: scraped that often, there are no new \
             readings late in the day"
        ),
    }
}

fn utc(at: impl Into<OffsetDateTime>) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let at = at.into().format(format);
    at.unwrap_or_else(|_| "a time beyond the calendar".to_owned())
}

/// Replaces what could move the terminal's cursor, or reverse the text beside it, in text from outside.
fn printable(text: &str) -> String {
    text.replace(is_unseen, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_move_no_cursor_and_reverse_no_text() {
        assert_eq!(printable("店\u{1b}[2J\u{202e}a"), "店�[2J�a");
    }

    fn app(min_interval: Duration, daily_limit: Option<u64>) -> AppConfig {
        AppConfig {
            min_interval,
            daily_limit,
            ..AppConfig::new("wx1", Credential::None { from_appid: None })
        }
    }

    #[test]
    fn calls_per_day_are_held_against_the_limit() {
        let minute = Duration::from_secs(60);
        assert_eq!(
            calls(&app(minute, Some(2000))),
            "at most 1440 a day at one in 60s, of 2000"
        );
        assert_eq!(
            calls(&app(minute, None)),
            "at most 1440 a day at one in 60s; no limit is set"
        );
        assert!(
            calls(&app(minute / 2, Some(2000)))
                .starts_with("up to 2880 a day at one in 30s, but the limit is 2000")
        );
        let minted = AppConfig {
            credential: Credential::StableToken {
                secret: crate::config::SecretSource::Simulated,
            },
            ..app(minute, Some(2000))
        };
        assert_eq!(calls(&minted), "at most 1453 a day at one in 60s, of 2000");
        assert_eq!(
            calls(&app(Duration::ZERO, Some(2000))),
            "one for each scrape (min_interval 0)"
        );
    }
}
