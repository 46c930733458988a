//! One app on the page: how it stands, what to do about it, its facts, its accounts.

use crate::clock::unix_seconds;
use crate::store::Failure;
use crate::wechat::Explanation;

use super::Language;
use super::document::{Writer, calls, class, whole};
use super::numbers::{Ago, Amount, ChinaTime, Span};
use super::reading::AppRows;
use super::standing::AppStanding;
use super::table;

pub(super) fn write(page: &mut Writer<'_>, app: &AppRows<'_>) {
    let facts = app.facts;
    page.html
        .raw("<section class=\"sheet app\" id=\"app-")
        .text(&facts.appid)
        .raw("\" aria-labelledby=\"name-")
        .text(&facts.appid)
        .raw("\"><div class=\"name\"><h2 id=\"name-")
        .text(&facts.appid)
        .raw("\">")
        .isolated(&facts.name)
        .raw("</h2>");
    if facts.name != facts.appid {
        page.html.raw("<code>").text(&facts.appid).raw("</code>");
    }
    page.app_mark(app);
    page.html.raw("</div>");
    page.trouble(app);
    page.facts(app);
    if facts.snapshot.is_some() {
        table::write(page, app);
    }
    page.html.raw("</section>");
}

impl Writer<'_> {
    /// What is wrong with the app and what to do about it; nothing where nothing is.
    fn trouble(&mut self, app: &AppRows<'_>) {
        let texts = self.texts;
        let (what, cure) = match &app.standing {
            AppStanding::Up => return,
            AppStanding::Held {
                reason, failure, ..
            } => self
                .explained(failure.map_or_else(|| reason.explanation(), |f| explanation(f, app))),
            AppStanding::Failing(failure) => self.explained(explanation(failure, app)),
            AppStanding::DailyLimit => (texts.daily_limit_what, texts.daily_limit_cure),
            AppStanding::Outdated => (texts.outdated_what, texts.outdated_cure),
            AppStanding::NeverRead => (texts.never_read_what, texts.never_read_cure),
            AppStanding::Reading => (texts.reading_what, texts.reading_cure),
        };
        let span = Span {
            seconds: app.facts.reading_age.unwrap_or_default().as_secs(),
            texts,
        };
        self.html
            .raw("<div class=\"trouble ")
            .raw(class(app.standing.level()))
            .raw("\"><h3>")
            .phrase(what, &[("span", &span)])
            .raw("</h3><p><b>")
            .text(texts.what_to_do)
            .raw("</b>")
            .phrase(cure, &[("path", &self.telemetry_path)])
            .raw("</p>");
        match &app.standing {
            AppStanding::Held { until, failure, .. } => {
                self.failure(*failure, app, Some(unix_seconds(*until)));
            }
            AppStanding::Failing(failure) => self.failure(Some(failure), app, None),
            _ => {}
        }
        self.html.raw("</div>");
    }

    fn explained(&self, explanation: Explanation) -> (&'static str, &'static str) {
        match self.texts.language {
            Language::English => (explanation.meaning, explanation.cure),
            Language::Chinese => (explanation.meaning_zh, explanation.cure_zh),
        }
    }

    /// The failure's details, and what the exporter does about it.
    fn failure(&mut self, failure: Option<&Failure>, app: &AppRows<'_>, until: Option<i64>) {
        let texts = self.texts;
        if let Some(age) = app.facts.reading_age {
            let left_out = age > self.overview.max_stale;
            let age = Ago {
                seconds: i64::try_from(age.as_secs()).unwrap_or(i64::MAX),
                texts,
            };
            let template = if left_out {
                texts.left_out_reading
            } else {
                texts.old_reading
            };
            self.html
                .raw("<p>")
                .phrase(template, &[("age", &age)])
                .raw("</p>");
        }
        self.html
            .raw("<dl class=\"facts\" aria-label=\"")
            .text(texts.details)
            .raw("\">");
        self.term(texts.next_try);
        match until.and_then(ChinaTime::from_unix) {
            Some(until) => self
                .html
                .phrase(texts.next_try_value, &[("time", &until.to_the_second())]),
            None => self.html.text(texts.next_try_scrape),
        };
        self.end_term();
        if let Some(failure) = failure {
            self.failed_call(failure, app);
        }
        self.html.raw("</dl>");
    }

    fn failed_call(&mut self, failure: &Failure, app: &AppRows<'_>) {
        let texts = self.texts;
        if let Some(last) = &app.facts.last_fetch {
            self.term(texts.failed_when);
            self.time(unix_seconds(last.at));
            self.end_term();
            self.term(texts.failed_reason);
            self.html
                .raw("<code>")
                .text(failure.reason.as_str())
                .raw("</code>");
            if last.errcode != 0 {
                self.html
                    .raw(" · errcode <code>")
                    .show(last.errcode)
                    .raw("</code>");
            }
            self.end_term();
        }
        if let Some(api) = failure.api {
            self.term(texts.failed_call);
            self.html.raw("<code>").text(api.as_str()).raw("</code>");
            self.end_term();
        }
        self.html
            .raw("<div class=\"wide\"><dt>")
            .text(texts.failed_text)
            .raw("</dt><dd>")
            .isolated(&failure.text)
            .raw("</dd></div>");
    }

    fn facts(&mut self, app: &AppRows<'_>) {
        let texts = self.texts;
        let facts = app.facts;
        self.html.raw("<dl class=\"facts\">");
        self.term(texts.fact_read);
        self.read_time(app);
        self.end_term();
        self.term(texts.fact_calls);
        match facts.calls_left {
            Some(left) => self.html.phrase(
                texts.fact_calls_left,
                &[("used", &calls(facts.calls_used)), ("left", &calls(left))],
            ),
            None => self
                .html
                .phrase(texts.fact_calls_used, &[("used", &calls(facts.calls_used))]),
        };
        self.end_term();
        if let Some(quota) = facts.api_quota
            && let (Some(used), Some(limit)) = (quota.used, quota.daily_limit)
        {
            self.term(texts.fact_api_quota);
            self.html.phrase(
                texts.fact_api_quota_value,
                &[("used", &Amount(used)), ("limit", &Amount(limit))],
            );
            self.end_term();
        }
        if facts.snapshot.is_some() {
            self.term(texts.fact_accounts);
            self.html.show(whole(app.accounts));
            self.end_term();
        }
        self.term(texts.fact_host);
        self.html.raw("<code>").isolated(&facts.host).raw("</code>");
        self.end_term();
        self.term(texts.fact_probe);
        self.html
            .raw("<a href=\"./probe?target=")
            .text(&facts.appid)
            .raw("\">/probe?target=")
            .text(&facts.appid)
            .raw("</a>");
        self.end_term();
        self.html.raw("</dl>");
    }

    /// When the app's last good reading was made.
    pub(super) fn read_time(&mut self, app: &AppRows<'_>) {
        let texts = self.texts;
        match (&app.facts.snapshot, app.facts.reading_age) {
            (Some(snapshot), Some(age)) => {
                // The age is the monotonic clock's; the time beside it is what the wall clock said then.
                let ago = Ago {
                    seconds: i64::try_from(age.as_secs()).unwrap_or(i64::MAX),
                    texts,
                };
                self.dated(unix_seconds(snapshot.fetched()), ago);
            }
            _ => {
                self.html.text(texts.fact_never);
            }
        }
    }

    /// A time of the wall clock, as its age with the time itself beside it.
    pub(super) fn time(&mut self, unix: i64) {
        let ago = Ago {
            seconds: self.now.saturating_sub(unix),
            texts: self.texts,
        };
        self.dated(unix, ago);
    }

    fn dated(&mut self, unix: i64, ago: Ago) {
        let now = ChinaTime::from_unix(self.now);
        match ChinaTime::from_unix(unix).zip(now) {
            Some((time, now)) => {
                self.html
                    .raw("<time datetime=\"")
                    .text(&time.machine())
                    .raw("\">")
                    .show(ago)
                    .raw(" <small>")
                    .text(&time.to_the_minute(now))
                    .raw("</small></time>");
            }
            None => self.not_known(),
        }
    }

    /// A dash for the eye, words for the ear.
    pub(super) fn not_known(&mut self) {
        self.html
            .raw("<span class=\"quiet\" aria-hidden=\"true\">–</span><span class=\"hidden\">")
            .text(self.texts.no_value)
            .raw("</span>");
    }

    fn term(&mut self, name: &str) {
        self.html.raw("<div><dt>").text(name).raw("</dt><dd>");
    }

    fn end_term(&mut self) {
        self.html.raw("</dd></div>");
    }
}

/// What a failure means and what to do about it, as far as the last fetch tells.
fn explanation(failure: &Failure, app: &AppRows<'_>) -> Explanation {
    let errcode = app.facts.last_fetch.as_ref().map_or(0, |last| last.errcode);
    failure.explanation(errcode)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::Language;
    use super::super::document;
    use super::super::fixtures;
    use super::super::reading::{AppFacts, Names, Overview};
    use crate::wechat::Reason;

    fn page(facts: AppFacts, language: Language) -> String {
        let names = Names::new();
        let facts = [facts];
        let overview = Overview::new(&facts, &names, Duration::from_secs(900), fixtures::now());
        document::write(&overview, "/metrics", language)
    }

    #[test]
    fn every_failure_is_told_with_its_cure_in_both_languages() {
        for reason in Reason::ALL {
            for language in [Language::English, Language::Chinese] {
                let mut app = fixtures::app("wx1", "shop", fixtures::accounts(3));
                app.last_fetch = Some(fixtures::failed(*reason));
                let last = app.last_fetch.clone().unwrap();
                let said = last.failure.unwrap().explanation(last.errcode);
                let page = page(app, language);
                let what = match language {
                    Language::English => said.meaning,
                    Language::Chinese => said.meaning_zh,
                };
                assert!(page.contains(&what.replace('\'', "&#39;")), "{reason}");
                assert!(page.contains(&format!("<code>{reason}</code>")));
            }
        }
    }

    #[test]
    fn paused_app_says_until_when() {
        let mut app = fixtures::app("wx1", "shop", fixtures::accounts(3));
        app.last_fetch = Some(fixtures::failed(Reason::IpWhitelist));
        app.breaker = Some((
            Reason::IpWhitelist,
            fixtures::now().wall + Duration::from_secs(600),
        ));
        let page = page(app, Language::English);
        assert!(page.contains("Failing, paused"));
        assert!(page.contains("with the first scrape after 2026-11-24 20:25:00"));
        assert!(page.contains("errcode <code>40164</code>"));
    }

    #[test]
    fn reading_too_old_for_the_metrics_page_is_shown_as_such() {
        let mut app = fixtures::app("wx1", "shop", fixtures::accounts(3));
        app.reading_age = Some(Duration::from_secs(3 * 3600));
        let page = page(app, Language::English);
        assert!(page.contains("No longer read"));
        assert!(page.contains("No scrape has come for 3\u{a0}hours."));
    }

    #[test]
    fn used_up_daily_limit_is_told() {
        let mut app = fixtures::app("wx1", "shop", Vec::new());
        app.calls_left = Some(0);
        let page = page(app, Language::English);
        assert!(page.contains("Daily limit reached"));
        assert!(page.contains("--wechat.daily-limit"));
    }

    #[test]
    fn hostile_texts_stay_texts() {
        let mut app = fixtures::app("wx1", "<script>alert(1)</script>\u{202e}", Vec::new());
        let mut failed = fixtures::failed(Reason::Unknown);
        failed.failure.as_mut().unwrap().text = "\"><img src=x>\u{202e}".to_owned();
        app.last_fetch = Some(failed);
        let page = page(app, Language::English);
        assert!(!page.contains("<script>alert"));
        assert!(!page.contains("<img"));
        assert!(page.contains("<bdi>&lt;script&gt;alert(1)&lt;/script&gt;\u{202e}</bdi>"));
        assert!(page.contains("<bdi>&quot;&gt;&lt;img src=x&gt;\u{202e}</bdi>"));
    }
}
