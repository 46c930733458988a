//! One fetch. It runs in its own task, so that a scrape that leaves wastes neither the call nor a fresh token.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::logging;
use crate::snapshot::Snapshot;
use crate::store::LastFetch;
use crate::wechat::{self, AccountList, Authorization, Cause, Error, Reason};

use super::call_budget::Stage;
use super::optional_calls::OptionalCalls;
use super::{App, Reading, Source};

/// The calls of one fetch: a token and the list, and both again after a rejected token. A host that fails can cost one
/// more, whose count is lost in a crash.
const CALLS: u64 = 4;

/// A fetch under way, shared by its task and the scrapes that wait for it.
pub struct Fetch {
    pub(super) app: Arc<App>,
    /// When it was granted.
    began: Instant,
    /// How the scrape that started the fetch is served, once the fetch has ended.
    pub(super) ended: watch::Sender<Option<Source>>,
    pub(super) stage: Mutex<Stage>,
}

/// A new snapshot, and the token that it was read with.
type Fetched = (Arc<Snapshot>, Authorization);

impl Fetch {
    pub(super) fn new(app: Arc<App>) -> Self {
        Self {
            app,
            began: Instant::now(),
            ended: watch::Sender::new(None),
            stage: Mutex::default(),
        }
    }

    /// Waits for the fetch to end and returns how the scrape that started it is served: [`Source::Fetched`] if it
    /// brought a snapshot, [`Source::Joined`] if another replica's fetch did. `None` if the deadline came first.
    pub(crate) async fn ended_by(&self, deadline: Instant) -> Option<Source> {
        let mut ended = self.ended.subscribe();
        let has_ended = ended.wait_for(Option::is_some);
        let ended = tokio::time::timeout_at(deadline, has_ended).await.ok()?;
        *ended.expect("the sender lives as long as this fetch")
    }

    /// Runs the fetch after `wait`.
    pub(super) async fn run(self: Arc<Self>, wait: Duration) {
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        // The previous fetch may still be sending optional calls.
        let _at_work = self.app.state.at_work.lock().await;
        let permits = match self.app.tokens.place() {
            None => &self.app.shared.permits,
            Some(_) => &self.app.shared.permits_with_foreign_tokens,
        };
        let permit = permits.acquire().await;
        // Boxed, so that the thousands of fetches that may wait for a permit are small.
        let fetch = AssertUnwindSafe(Box::pin(self.fetch(permit)));
        if fetch.catch_unwind().await.is_err() && self.ended.borrow().is_none() {
            let text = "the fetch was broken off by a fault of the exporter's; please report it";
            let at = self.app.now().wall;
            let failure = Some(Error {
                cause: Cause::unknown(),
                text: text.to_owned(),
            });
            let failed = LastFetch { at, failure };
            self.end(Source::Snapshot, |reading| {
                reading.last_fetch = Some(failed)
            });
        }
    }

    /// Ends the fetch for the scrapes that wait for it.
    pub(super) fn end(&self, served_by: Source, change: impl FnOnce(&mut Reading)) {
        let mut reading = self.app.state.reading();
        change(&mut reading);
        reading.fetch = None;
        drop(reading);
        self.ended.send_replace(Some(served_by));
    }

    /// Fetches if it is this replica's turn, and serves the scrapes that wait. No scrape waits for the work after that.
    async fn fetch(&self, permit: impl Sized) {
        let app = &self.app;
        let Some(mut turn) = self.take_turn().await else {
            return;
        };
        self.keep(&mut turn, CALLS, None).await;
        let started = Instant::now();
        let result = self.account_list().await;
        let throttled = |failure: &Error| failure.cause.throttled();
        if !result.as_ref().is_err_and(throttled) {
            let seconds = started.elapsed().as_secs_f64();
            app.state.fetch_duration.observe(seconds);
        }
        let fetched = self.publish(result);
        drop(permit);
        let Some((snapshot, token)) = fetched else {
            return self.keep(&mut turn, 0, None).await;
        };
        let optional = OptionalCalls::due(app, &snapshot);
        let calls = optional.calls();
        self.keep(&mut turn, calls, Some(&snapshot)).await;
        if calls > 0 {
            let revised = optional.send(self, &token, &snapshot).await;
            self.keep(&mut turn, 0, revised.as_ref()).await;
        }
    }

    /// Returns the list, and the token that it was read with.
    async fn account_list(&self) -> Result<(AccountList, Authorization), Error> {
        let app = &self.app;
        let no_token = |error: Error| error.within("no access token");
        let token = app.tokens.token(&app.client, self).await;
        let token = token.map_err(no_token)?;
        let rejected = match self.list_with(&token).await {
            Ok(list) => {
                app.state.limiter.token_accepted();
                return Ok((list, token));
            }
            Err(error) if error.token_rejected() => self.list_failed(error),
            Err(error) => return Err(self.list_failed(error)),
        };
        if !self.may_renew_token() {
            return Err(rejected);
        }
        let again = match app.tokens.renew(&token, &app.client, self).await {
            Ok(Some(token)) => match self.list_with(&token).await {
                Ok(list) => return Ok((list, token)),
                Err(error) => self.list_failed(error),
            },
            // The same token would be rejected again.
            Ok(None) => return Err(rejected),
            Err(error) => no_token(error),
        };
        if again.cause.throttled() {
            // The failure to report is the rejected token, not that no call is left for another try.
            return Err(rejected);
        }
        Err(again)
    }

    fn list_failed(&self, error: Error) -> Error {
        let what = match self.app.tokens.place() {
            Some(place) if error.token_rejected() => format!(
                "WeChat rejects the token of {place}; the program that keeps it there must renew it"
            ),
            _ => "the account list could not be read".to_owned(),
        };
        error.within(&what)
    }

    /// Records a rejected token; reports whether it may be renewed now.
    fn may_renew_token(&self) -> bool {
        let app = &self.app;
        let may_renew = app.state.limiter.token_rejected(app.now());
        let fetches = app.state.limiter.rejections_in_a_row();
        // Logged at the second fetch, and then ever more rarely.
        let is_news = fetches > 1 && fetches.is_power_of_two();
        if is_news && logging::admits(Reason::Token.as_str()) {
            let [fix, _] = wechat::new_token(app.config.credential.kind());
            tracing::warn!(
                appid = app.config.appid,
                fetches,
                fix,
                "WeChat rejected the access token in fetch after fetch; it is renewed less often now"
            );
        }
        may_renew
    }

    async fn list_with(&self, authorization: &Authorization) -> Result<AccountList, Error> {
        let app = &self.app;
        let function = app.config.cloud_function.as_ref();
        let list = app.client.account_list(authorization, function, self).await;
        if list.as_ref().is_err_and(Error::token_rejected) {
            app.tokens.rejected();
        }
        list
    }

    /// Records the outcome and serves the scrapes that wait. This is the one place where a failed fetch is logged.
    fn publish(&self, result: Result<(AccountList, Authorization), Error>) -> Option<Fetched> {
        let app = &self.app;
        match result {
            Ok((list, token)) => {
                // Dropped last: dropping many accounts takes a while, and every scrape needs the lock of the reading.
                let before = app.state.reading().snapshot.clone();
                let snapshot = Arc::new(self.snapshot(list, before.as_deref()));
                app.state.limiter.succeeded();
                app.state.counters.set_errcode(0);
                self.end(Source::Fetched, |reading| {
                    reading.snapshot = Some(Arc::clone(&snapshot));
                    reading.last_fetch = Some(LastFetch {
                        at: snapshot.fetched,
                        failure: None,
                    });
                    reading.failed_alone = false;
                });
                Some((snapshot, token))
            }
            Err(failure) if failure.cause.throttled() => {
                if logging::admits("daily_limit") {
                    let appid = app.config.appid.as_str();
                    tracing::warn!(appid, "the exporter's own daily limit of calls is reached");
                }
                self.end(Source::Snapshot, |_| ());
                None
            }
            Err(failure) => {
                let is_of_this_machine = failure.cause.is_of_this_machine();
                let failed = self.fail(failure);
                self.end(Source::Snapshot, |reading| {
                    reading.last_fetch = Some(failed);
                    reading.failed_alone = is_of_this_machine;
                });
                None
            }
        }
    }

    /// Returns the list as a snapshot, without the fields that can hold personal data, unless the operator asked for
    /// them.
    fn snapshot(&self, mut list: AccountList, before: Option<&Snapshot>) -> Snapshot {
        let app = &self.app;
        for account in &mut list.accounts {
            if !app.config.remark_wrong_msg {
                account.remark_wrong_msg = Box::default();
            }
            if !app.config.remark_content {
                account.remark_content = Box::default();
            }
        }
        self.doubt(&list);
        let snapshot = Snapshot::fetched_now(list, app.now());
        let snapshot = app.with_live_balances(snapshot, before);
        snapshot.with_usage(before)
    }

    /// Logs a warning if the list contradicts itself.
    fn doubt(&self, list: &AccountList) {
        let listed = list.accounts.len() as u64 + list.invalid + list.beyond_limit;
        if let Some(count) = list.count
            && u64::try_from(count) != Ok(listed)
            && logging::admits("count")
        {
            let appid = self.app.config.appid.as_str();
            tracing::warn!(appid, count, listed, "count is not the list's length");
        }
    }

    fn fail(&self, failure: Error) -> LastFetch {
        let app = &self.app;
        let Error { cause, text } = &failure;
        let reason = cause.reason;
        let errcode = Some(cause.errcode).filter(|errcode| *errcode != 0);
        if logging::admits(reason.as_str()) {
            tracing::warn!(
                appid = app.config.appid,
                reason = reason.as_str(),
                errcode,
                error = text,
                "fetch failed"
            );
        }
        let now = app.now();
        app.state
            .limiter
            .failed(reason, errcode, self.began.into_std(), now);
        if cause.api.is_none() {
            self.count_failure(app.list_api(), reason);
        }
        LastFetch {
            at: now.wall,
            failure: Some(failure),
        }
    }
}
