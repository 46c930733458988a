//! One fetch: a task of its own, so that a scrape that leaves wastes neither the call nor a fresh token.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::Moment;
use crate::error::chain;
use crate::snapshot::Snapshot;
use crate::store::LastFetch;
use crate::token::{self, Held};
use crate::wechat::{self, AccountList, Api, Reason};

use super::App;
use super::log::Kind;
use super::meter::{FetchMeter, Progress};
use super::turn::Whose;

/// Lists and tokens that one fetch can ask each host for: once, and once more after a rejected token.
const CALLS_PER_HOST: u64 = 4;

/// A fetch under way, for those who wait for it.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// How it ended, once it has.
    ended: watch::Receiver<Option<Ended>>,
    progress: Arc<Progress>,
}

/// How a fetch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// There is a new reading.
    Published,
    /// There is none; the reason is on record.
    Failed,
    /// Another replica's fetch brought a new reading.
    Followed,
    /// Nobody fetched: the budget that replicas share allows none now.
    Throttled,
}

/// Why a fetch brought no reading.
#[derive(Clone, Debug, thiserror::Error)]
pub enum FetchError {
    /// There is no token to call with.
    #[error("no access token")]
    Token(#[source] token::Error),
    /// The account list could not be read.
    #[error("the account list could not be read")]
    List(#[source] wechat::Error),
    /// The account list could not be read with the token that another program keeps at `place`.
    #[error("WeChat rejects the token of {place}; the program that keeps it there must renew it")]
    Rejected {
        /// The token's source.
        place: String,
        /// What WeChat answered.
        source: wechat::Error,
    },
}

impl FetchError {
    /// What is to be done about it.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::Token(error) => error.reason(),
            Self::List(error) | Self::Rejected { source: error, .. } => error.reason(),
        }
    }

    /// WeChat's errcode, where it gave one.
    #[must_use]
    pub fn errcode(&self) -> Option<i64> {
        match self {
            Self::Token(error) => error.errcode(),
            Self::List(error) | Self::Rejected { source: error, .. } => error.errcode(),
        }
    }

    /// The call that failed; `None` where none was sent.
    #[must_use]
    pub fn api(&self) -> Option<Api> {
        match self {
            Self::Token(error) => error.api(),
            Self::List(error) | Self::Rejected { source: error, .. } => Some(error.api()),
        }
    }

    /// Whether the exporter itself kept the call back, so that nothing was tried.
    #[must_use]
    pub fn throttled(&self) -> bool {
        match self {
            Self::Token(error) => error.throttled(),
            Self::List(error) | Self::Rejected { source: error, .. } => error.throttled(),
        }
    }
}

impl Fetch {
    /// A fetch that calls WeChat after `wait`, and its work, which is to be spawned.
    pub(super) fn new(app: Arc<App>, wait: Duration) -> (Self, impl Future<Output = ()> + Send) {
        let (sender, ended) = watch::channel(None);
        let progress = Arc::new(Progress::default());
        let fetch = Self {
            ended,
            progress: Arc::clone(&progress),
        };
        let task = app.tasks.begin();
        let under_way = UnderWay {
            app,
            sender,
            how: Ended::Failed,
        };
        let work = async move {
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
            run(under_way, &progress).await;
            drop(task);
        };
        (fetch, work)
    }

    /// Waits for its end; `None`: the deadline came first.
    pub async fn ended_by(&mut self, deadline: Instant) -> Option<Ended> {
        let ended = self.ended.wait_for(Option::is_some);
        match tokio::time::timeout_at(deadline, ended).await {
            Ok(Ok(ended)) => *ended,
            // The sender says how it ended before it goes.
            Ok(Err(_)) => Some(Ended::Failed),
            Err(_) => None,
        }
    }

    /// A scrape gave up waiting: counts what it waited for as a time-out, once.
    pub(crate) fn give_up(&self, app: &App) {
        if let Some(api) = self.progress.give_up(app.list_endpoint()) {
            app.record.counters.count_failure(api, Reason::Timeout);
            if app.failures.admits(Kind::Late) {
                tracing::warn!(
                    appid = app.config.appid,
                    api = api.as_str(),
                    reason = Reason::Timeout.as_str(),
                    "late for a scrape; the fetch goes on and serves the next one"
                );
            }
        }
    }
}

/// A fetch that is under way on record until this is dropped, also where its task panics or goes with the runtime.
struct UnderWay {
    app: Arc<App>,
    sender: watch::Sender<Option<Ended>>,
    how: Ended,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut reading = self.app.record.lock();
        reading.fetch = None;
        if std::thread::panicking() {
            let text = "the fetch was broken off by a fault of the exporter's; please report it";
            let now = Moment::now();
            let failed = LastFetch::failed(Reason::Unknown, None, text.to_owned(), now.wall);
            reading.finish(failed, Some(now.monotonic));
        }
        drop(reading);
        self.sender.send_replace(Some(self.how));
    }
}

async fn run(mut under_way: UnderWay, progress: &Progress) {
    let app = Arc::clone(&under_way.app);
    let calls = CALLS_PER_HOST * app.config.api_urls.len() as u64;
    let turn = match app.ask_for_turn(calls).await {
        Whose::Ours(turn) => turn,
        Whose::NotOurs(how) => {
            under_way.how = how;
            drop(under_way);
            super::optional_calls::follow(&app).await;
            return app.save_progress().await;
        }
    };
    let permit = app.permits.acquire().await;
    app.record.limiter.begins(app.budget(), Moment::now());
    let reserved = app.reserve(calls);
    app.save_progress().await;

    let meter = FetchMeter {
        app: &app,
        progress,
    };
    let started = Instant::now();
    let (result, token) = match account_list(&app, &meter).await {
        Ok((list, token)) => (Ok(list), Some(token)),
        Err(error) => (Err(error), None),
    };
    let tried = !result.as_ref().is_err_and(FetchError::throttled);
    if tried {
        app.record
            .fetch_duration
            .observe(started.elapsed().as_secs_f64());
    }
    let snapshot = publish(&app, result, progress);
    under_way.how = match (&snapshot, tried) {
        (Some(_), _) => Ended::Published,
        (None, true) => Ended::Failed,
        (None, false) => Ended::Throttled,
    };
    // The waiting scrapes go on from here; what follows is nobody's wait.
    drop(under_way);
    drop(permit);

    let shared = turn.as_ref().map(|turn| turn.fetch.clone());
    match turn {
        Some(turn) => {
            let last_fetch = if tried { app.last_fetch() } else { None };
            app.end_turn(turn, last_fetch, snapshot.as_ref()).await;
        }
        None => app.end_alone().await,
    }
    // First the reading: a crash in between must not leave a success with nothing to show for it.
    if let Some(snapshot) = &snapshot {
        app.store.save_snapshot(&app.config.appid, snapshot).await;
    }
    drop(reserved);
    app.save_progress().await;
    if let (Some(snapshot), Some(token)) = (snapshot, token) {
        super::optional_calls::run(&app, &snapshot, &token, shared.as_deref(), &meter).await;
    }
}

/// The list, and the token that it was read with.
async fn account_list(
    app: &App,
    meter: &FetchMeter<'_>,
) -> Result<(AccountList, Held), FetchError> {
    let token = app
        .tokens
        .token(&app.client, meter)
        .await
        .map_err(FetchError::Token)?;
    let rejected = match list_with(app, &token, meter).await {
        Ok(list) => return Ok((list, token)),
        Err(error) if error.token_rejected() => list_failed(app, error),
        Err(error) => return Err(list_failed(app, error)),
    };
    let again = match app.tokens.renew(&token, &app.client, meter).await {
        Ok(Some(token)) => list_with(app, &token, meter)
            .await
            .map(|list| (list, token))
            .map_err(|error| list_failed(app, error)),
        // The same token again would be rejected again.
        Ok(None) => return Err(rejected),
        Err(error) => Err(FetchError::Token(error)),
    };
    match again {
        // What was tried failed; that no call is left for another try is not the news.
        Err(error) if error.throttled() => Err(rejected),
        again => again,
    }
}

fn list_failed(app: &App, error: wechat::Error) -> FetchError {
    match app.tokens.place() {
        Some(place) if error.token_rejected() => FetchError::Rejected {
            place,
            source: error,
        },
        _ => FetchError::List(error),
    }
}

async fn list_with(
    app: &App,
    token: &Held,
    meter: &FetchMeter<'_>,
) -> Result<AccountList, wechat::Error> {
    let authorization = token.authorization();
    match &app.config.cloud_function {
        None => app.client.account_getall(authorization, meter).await,
        Some(function) => {
            app.client
                .invoke_cloud_function(authorization, function, meter)
                .await
        }
    }
}

/// Puts the outcome on record and logs a failure, the one place where it is logged.
pub(super) fn publish(
    app: &App,
    result: Result<AccountList, FetchError>,
    progress: &Progress,
) -> Option<Arc<Snapshot>> {
    let record = &app.record;
    let now = Moment::now();
    let appid = app.config.appid.as_str();
    match result {
        Ok(mut list) => {
            app.forget_remarks(&mut list);
            if let Some(count) = list.count
                && u64::try_from(count)
                    != Ok(list.accounts.len() as u64 + list.invalid + list.beyond_limit)
            {
                tracing::warn!(
                    appid,
                    count,
                    listed = list.accounts.len(),
                    "count is not the list's length"
                );
            }
            if list.lossy {
                tracing::warn!(
                    appid,
                    "the account list has bytes that are no UTF-8; accounts whose ids differ in those alone count as \
                     duplicates"
                );
            }
            let listed = Snapshot::fetched_now(list, now);
            let live_quota = app.config.live_quota;
            let snapshot = Arc::new(app.record.extras.with_balances(listed, live_quota));
            let dropped = snapshot.dropped();
            tracing::debug!(
                appid,
                accounts = snapshot.accounts().len(),
                dropped_duplicate = dropped.duplicate,
                dropped_limit = dropped.limit,
                dropped_invalid = dropped.invalid,
                "accounts read"
            );
            record.limiter.succeeded();
            record.counters.set_errcode(0);
            record.burn().observe(&snapshot, now);
            let mut reading = record.lock();
            let before = reading.snapshot.replace(Arc::clone(&snapshot));
            reading.finish(LastFetch::succeeded_at(now.wall), Some(now.monotonic));
            drop(reading);
            // Of many accounts this takes a while, and every scrape needs the lock.
            drop(before);
            Some(snapshot)
        }
        Err(error) if error.throttled() => {
            tracing::warn!(appid, "the exporter's own daily limit of calls is reached");
            None
        }
        Err(error) => {
            let (reason, errcode) = (error.reason(), error.errcode());
            let text = chain(&error);
            let before = record.lock().failed_for();
            let kind = match before {
                Some(before) if before == reason => Kind::FailedAgain(reason),
                _ => Kind::Failed(reason),
            };
            if app.failures.admits(kind) {
                tracing::warn!(
                    appid,
                    reason = reason.as_str(),
                    errcode,
                    error = text,
                    "fetch failed"
                );
            }
            record.limiter.failed(reason, errcode, app.budget(), now);
            if app.is_replaced() {
                // What only the operator mends may have been mended since it began.
                record.limiter.reloaded(app.budget(), now);
            }
            if error.api().is_none() {
                let counted = progress.end_stage();
                if !counted {
                    record.counters.count_failure(app.list_endpoint(), reason);
                }
            }
            let failed = LastFetch::failed(reason, errcode, text, now.wall);
            let failed = failed.at_endpoint(error.api());
            record.lock().finish(failed, Some(now.monotonic));
            None
        }
    }
}
