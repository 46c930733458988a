//! The page's HTML, from top to bottom. `maud` escapes every value. `bdi` isolates text from outside, so that its
//! writing direction doesn't affect the text around it.

use std::borrow::Cow;
use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::clock::unix_seconds;
use crate::store::LastFetch;
use crate::wechat::Error;
use crate::wechat::courier::Network;

use super::STYLE;
use super::numbers::{ago, amount, china_time, days_left, span};
use super::overview::{APPS, AppFacts, AppRows, Overview, Row};
use super::state::{AccountState, AppHealth, Mark, Severity};
use super::translations::{Language, Text, Texts, fill};

const API_DOCUMENTATION: &str = "https://developers.weixin.qq.com/miniprogram/dev/server/API/express/express-by-business/api_getallaccount";
/// Longer texts from outside are truncated, so that no alias can make the page big.
pub(super) const MAX_CHARS: usize = 80;

pub(super) struct Page<'a> {
    pub(super) overview: &'a Overview<'a>,
    pub(super) telemetry_path: &'a str,
    pub(super) texts: &'static Texts,
}

impl Page<'_> {
    pub(super) fn render(&self) -> String {
        let t = self.texts;
        let page = html! {
            (DOCTYPE)
            html lang=(t.language.tag()) {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="robots" content="noindex";
                    title { (self.verdict()) " · " (t.title) }
                    link rel="icon" href="data:,";
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    a.skip href="#accounts" { (t.skip) }
                    (self.header())
                    main {
                        (self.summary())
                        @if self.overview.apps.len() > 1 { (self.app_table()) }
                        div #accounts {
                            @for app in self.overview.sections() { (self.app(app)) }
                        }
                        @if !self.overview.accounts_by_state.is_empty() { (self.key()) }
                    }
                    (self.footer())
                }
            }
        };
        page.into_string()
    }

    fn header(&self) -> Markup {
        let t = self.texts;
        let (other, name) = match t.language {
            Language::English => (Language::Chinese, "中文"),
            Language::Chinese => (Language::English, "English"),
        };
        html! {
            header {
                h1 { (t.title) }
                nav aria-label=(t.language_switch) {
                    @if self.overview.appid.is_some() { a href=(page_of(None, t.language)) { (t.all_apps) } }
                    a href=(page_of(self.overview.appid, other)) hreflang=(other.tag()) lang=(other.tag()) { (name) }
                }
            }
        }
    }

    fn verdict(&self) -> &'static str {
        let t = self.texts;
        let healths = self.overview.apps_by_health.keys();
        match self.overview.severity() {
            _ if healths.eq([&AppHealth::NeverFetched]) => t.verdict_unfetched,
            Severity::Critical => t.verdict_critical,
            Severity::Warning => t.verdict_warning,
            Severity::Info => t.verdict_info,
            Severity::Ok => t.verdict_ok,
        }
    }

    fn summary(&self) -> Markup {
        let t = self.texts;
        let class = class(self.overview.severity());
        let apps = self.overview.apps_by_health.iter();
        let apps = apps.map(|(health, number)| (health.mark(), *number));
        let accounts = self.overview.accounts_by_state.iter();
        let accounts = accounts.map(|(state, number)| (state.mark(), *number));
        html! {
            section.sheet.verdict.(class) aria-labelledby="verdict" {
                h2 #verdict.mark.(class) { (self.verdict()) }
                dl.counts {
                    (self.counts(t.apps, apps))
                    (self.counts(t.accounts, accounts))
                }
                @if let Some(time) = china_time(unix_seconds(self.overview.now)) {
                    p.quiet { (fill(t.as_of, &[("time", &time)])) }
                }
            }
        }
    }

    fn app_table(&self) -> Markup {
        let t = self.texts;
        let overview = self.overview;
        let all = overview.apps.len();
        let listed = &overview.apps[..all.min(APPS)];
        html! {
            section.sheet aria-labelledby="apps" {
                h2 #apps { (t.apps) }
                table.apps aria-labelledby="apps" {
                    (table_head(&[t.health, t.app, t.accounts, t.in_trouble, t.last_fetched, t.calls_today]))
                    tbody {
                        @for app in listed { (self.app_row(app)) }
                    }
                }
                @if listed.len() < all {
                    p.quiet { (fill(t.apps_shown, &[("shown", &count(listed.len())), ("all", &count(all))])) }
                }
                @if overview.sections().len() < all {
                    p.quiet { (fill(t.sections_shown, &[("shown", &count(overview.sections().len()))])) }
                }
            }
        }
    }

    fn app_row(&self, app: &AppRows<'_>) -> Markup {
        let t = self.texts;
        let facts = app.facts;
        html! {
            tr {
                td { (self.mark(app.health.mark())) }
                th scope="row" { a href=(page_of(Some(&facts.appid), t.language)) { bdi { (shortened(&facts.name)) } } }
                td.number { (count(app.rows.len())) }
                td.number data-label=(t.in_trouble) {
                    @match app.rows_in_trouble() {
                        0 => { "0" }
                        troubled => { (mark(app.worst_account(), &count(troubled))) }
                    }
                }
                td data-label=(t.last_fetched) {
                    @match facts.snapshot_age {
                        Some(age) => (ago(age.as_secs(), t)),
                        None => (t.never),
                    }
                }
                td.number { (amount(facts.calls_used as f64)) }
            }
        }
    }

    fn app(&self, app: &AppRows<'_>) -> Markup {
        let t = self.texts;
        let facts = app.facts;
        let heading = format!("app-{}", facts.appid);
        html! {
            section.sheet.app aria-labelledby=(heading) {
                div.name {
                    h2 id=(heading) { bdi { (shortened(&facts.name)) } }
                    @if facts.name != facts.appid { code { (facts.appid) } }
                    (self.mark(app.health.mark()))
                }
                @if let Some(explanation) = app.health.explanation(facts) { (self.problem(app, explanation)) }
                (self.facts(app))
                @if !app.rows.is_empty() {
                    (self.accounts(app))
                } @else if facts.snapshot.is_some() {
                    p.quiet { (t.no_accounts) }
                }
                @let dropped = facts.snapshot.as_ref().map(|snapshot| snapshot.dropped).unwrap_or_default();
                @if dropped != Default::default() {
                    @let [duplicate, limit, invalid] = [dropped.duplicate, dropped.limit, dropped.invalid].map(|n| n.to_string());
                    p.quiet { (fill(t.dropped, &[("duplicate", &duplicate), ("limit", &limit), ("invalid", &invalid)])) }
                }
            }
        }
    }

    /// Renders what is wrong with the app and how to fix it.
    fn problem(&self, app: &AppRows<'_>, [what, fix]: [Text; 2]) -> Markup {
        let t = self.texts;
        let facts = app.facts;
        let age = facts.snapshot_age.unwrap_or_default();
        let fetches = facts.token_rejections.to_string();
        let values = [("span", &*span(age.as_secs(), t)), ("fetches", &*fetches)];
        html! {
            div.problem.(class(app.health.severity())) {
                h3 { (fill(t.of_both(what), &values)) }
                p { b { (t.how_to_fix) } (fill(t.of_both(fix), &[("path", self.telemetry_path)])) }
                @if let Some((last, failure)) = facts.failed() { (self.failure(facts, last, failure)) }
            }
        }
    }

    /// Renders the details of the failure, and when the exporter tries again.
    fn failure(&self, facts: &AppFacts, last: &LastFetch, failure: &Error) -> Markup {
        let t = self.texts;
        let until = facts.held_until;
        let until = until.and_then(|until| china_time(unix_seconds(until)));
        let age = self.overview.now.duration_since(last.at);
        let age = age.unwrap_or_default();
        html! {
            @if let Some(age) = facts.snapshot_age {
                @let text = if facts.is_expired { t.expired_snapshot } else { t.old_snapshot };
                p { (fill(text, &[("age", &ago(age.as_secs(), t))])) }
            }
            dl.facts aria-label=(t.details) {
                (fact(t.next_attempt, &html! {
                    @match until {
                        Some(time) => (fill(t.next_attempt_after, &[("time", &time)])),
                        None => (t.next_attempt_now),
                    }
                }))
                (fact(t.failed_at, &self.dated(unix_seconds(last.at), age)))
                (fact(t.reason, &html! {
                    code { (failure.cause.reason.as_str()) }
                    @if let Some(api) = failure.cause.api { " · " code { (api.as_str()) } }
                    @if last.errcode() != 0 { " · errcode " code { (last.errcode()) } }
                }))
                div.wide { dt { (t.error) } dd { bdi { (failure.text) } } }
            }
        }
    }

    fn facts(&self, app: &AppRows<'_>) -> Markup {
        let t = self.texts;
        let facts = app.facts;
        let used = amount(facts.calls_used as f64);
        html! {
            dl.facts {
                (fact(t.last_fetched, &html! {
                    @match (&facts.snapshot, facts.snapshot_age) {
                        // The age comes from the monotonic clock; the time beside it is what the wall clock said then.
                        (Some(snapshot), Some(age)) => (self.dated(unix_seconds(snapshot.fetched), age)),
                        _ => (t.never),
                    }
                }))
                (fact(t.calls_today, &html! {
                    @match facts.calls_left {
                        Some(left) => (fill(t.calls_left, &[("used", &used), ("left", &amount(left as f64))])),
                        None => (fill(t.calls_used, &[("used", &used)])),
                    }
                }))
                @if facts.snapshot.is_some() { (fact(t.accounts, &html! { (count(app.rows.len())) })) }
                (fact(t.host, &html! { code { bdi { (facts.host) } } }))
                @let probe = format!("probe?target={}", facts.appid);
                (fact(t.metrics_of_app, &html! { a href={ "./" (probe) } { "/" (probe) } }))
            }
        }
    }

    fn accounts(&self, app: &AppRows<'_>) -> Markup {
        let t = self.texts;
        let (shown, all) = (&app.rows[..app.shown], app.rows.len());
        html! {
            @if !shown.is_empty() {
                table.accounts aria-labelledby={ "app-" (app.facts.appid) } {
                    (table_head(&[t.state, t.courier, t.account, t.balance, t.lasts, t.binding, t.balance_time]))
                    tbody {
                        @for row in shown { (self.account(row, app.facts.shows_remarks)) }
                    }
                }
            }
            @if shown.len() < all {
                p.quiet {
                    (fill(t.rows_shown, &[("shown", &count(shown.len())), ("all", &count(all))])) " "
                    @if self.overview.appid.is_none() {
                        a href=(page_of(Some(&app.facts.appid), t.language)) { (t.more_accounts) }
                    }
                }
            }
        }
    }

    fn account(&self, row: &Row<'_>, shows_remarks: bool) -> Markup {
        let t = self.texts;
        let account = row.account;
        // WeChat's names are Chinese, and a screen reader has to know that.
        let is_foreign = t.language == Language::English && !row.courier.is_ascii();
        let is_monthly = row.network == Network::Direct;
        // WeChat sends the id as the alias of an account that has none.
        let has_own_alias = !account.alias.is_empty() && account.alias != account.biz_id;
        let has_stock = !is_monthly && account.status_code == Some(0);
        html! {
            tr {
                td { (self.mark(row.state.mark())) }
                td {
                    bdi lang=[is_foreign.then_some("zh-CN")] { (shortened(row.courier)) }
                    @if row.courier != &*account.delivery_id { " " small { bdi { (shortened(&account.delivery_id)) } } }
                }
                th scope="row" {
                    bdi { (shortened(&account.biz_id)) }
                    @if has_own_alias { " " small { bdi { (shortened(&account.alias)) } } }
                }
                td.number data-label=(t.balance) {
                    @if is_monthly { span.quiet { (t.monthly_balance) } }
                    @else if let Some(balance) = account.quota_num { (amount(balance)) }
                    @else { (self.not_known()) }
                }
                td.number data-label=(t.lasts) {
                    @match row.days_left.filter(|_| has_stock) {
                        // "< 2 hours" would be too much.
                        Some(_) if row.state == AccountState::Empty => { "0" }
                        Some(days) => (days_left(days, t)),
                        None => (self.not_known()),
                    }
                }
                td {
                    (self.binding(account.status_code))
                    @if shows_remarks && !account.remark_wrong_msg.is_empty() {
                        " " small { (t.remark) bdi { (shortened(&account.remark_wrong_msg)) } }
                    }
                }
                td data-label=(t.balance_time) {
                    @match account.quota_update_time.filter(|_| !is_monthly) {
                        Some(unix) => (ago(unix_seconds(self.overview.now).saturating_sub(unix).max(0).unsigned_abs(), t)),
                        None => (self.not_known()),
                    }
                }
            }
        }
    }

    /// Names a binding status as the API's documentation does.
    fn binding(&self, status_code: Option<i64>) -> Cow<'static, str> {
        let t = self.texts;
        match status_code {
            Some(0) => t.bound.into(),
            Some(1) => t.under_review.into(),
            Some(2) => t.binding_failed.into(),
            Some(3) => t.unbound.into(),
            Some(code) => fill(t.status_code, &[("code", &code.to_string())]).into(),
            None => t.status_not_sent.into(),
        }
    }

    /// Renders a time as its age, with the time itself beside it.
    fn dated(&self, unix: i64, age: Duration) -> Markup {
        let age = ago(age.as_secs(), self.texts);
        html! { (age) " " small { (china_time(unix).unwrap_or_default()) } }
    }

    /// Renders an unknown value as a dash, and in words for screen readers.
    fn not_known(&self) -> Markup {
        html! { span.quiet aria-hidden="true" { "–" } span.hidden { (self.texts.not_known) } }
    }

    /// Renders how many there are of each kind, worst first.
    fn counts(&self, name: &str, of_each: impl Iterator<Item = (Mark, usize)> + Clone) -> Markup {
        let total = of_each.clone().map(|(_, number)| number).sum();
        html! {
            dt { (name) " " b { (count(total)) } }
            dd {
                @for ((severity, name), number) in of_each {
                    span.mark.(class(severity)) { b { (count(number)) } " " (self.texts.of_both(name)) } " "
                }
            }
        }
    }

    fn mark(&self, (severity, name): Mark) -> Markup {
        mark(severity, self.texts.of_both(name))
    }

    /// Explains the states on this page.
    fn key(&self) -> Markup {
        let t = self.texts;
        html! {
            section.sheet.key aria-labelledby="key" {
                h2 #key { (t.key) }
                dl {
                    @for state in self.overview.accounts_by_state.keys() {
                        @let (_, _, meaning) = state.described();
                        div { dt { (self.mark(state.mark())) } dd { (t.of_both(meaning)) } }
                    }
                }
                p.quiet { (t.lasts_meaning) }
            }
        }
    }

    fn footer(&self) -> Markup {
        let t = self.texts;
        html! {
            footer {
                nav aria-label=(t.links) {
                    ul {
                        li { a href={ "." (self.telemetry_path) } { (t.metrics) } }
                        li { a href="./sd" { (t.service_discovery) } }
                        li { a href="./-/healthy" { (t.healthy) } }
                        li { a href="./-/ready" { (t.ready) } }
                        li { a href=(API_DOCUMENTATION) { (t.api_documentation) } }
                    }
                }
                p { "wechat-logistics-exporter · " (fill(t.version, &[("version", env!("CARGO_PKG_VERSION"))])) }
            }
        }
    }
}

/// Returns the address of a page relative to any other page, so that it works behind a proxy under any path. An appid
/// needs no escaping.
fn page_of(appid: Option<&str>, language: Language) -> String {
    let language = language.tag();
    match appid {
        Some(appid) => format!("./?appid={appid}&lang={language}"),
        None => format!("./?lang={language}"),
    }
}

fn shortened(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

fn count(number: usize) -> String {
    // Counts are far below the integers that a float can't represent.
    amount(number as f64)
}

fn table_head(columns: &[&str]) -> Markup {
    html! { thead { tr { @for column in columns { th scope="col" { (column) } } } } }
}

fn fact(term: &str, value: &Markup) -> Markup {
    html! { div { dt { (term) } dd { (value) } } }
}

/// Renders a state in words, with a shape and a colour for its severity.
fn mark(severity: Severity, text: &str) -> Markup {
    html! { span.mark.(class(severity)) { (text) } }
}

fn class(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
        Severity::Ok => "ok",
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures;
    use super::super::overview::AppFacts;
    use super::*;
    use crate::wechat::{Account, Reason};

    fn english(facts: AppFacts) -> String {
        fixtures::page(&[facts], None, Language::English)
    }

    fn account(delivery_id: &str, quota_num: Option<f64>) -> Account {
        Account {
            biz_id: "customer".into(),
            delivery_id: delivery_id.into(),
            status_code: Some(0),
            quota_num,
            ..Account::default()
        }
    }

    #[test]
    fn app_without_a_working_fetch_says_what_to_do() {
        let mut paused = fixtures::app("wx1", "shop", fixtures::accounts(3));
        let mut not_scraped = paused.clone();
        let mut limited = paused.clone();
        paused.last_fetch = Some(fixtures::failed(Reason::IpWhitelist));
        paused.held_until = Some(fixtures::now().wall + Duration::from_secs(600));
        not_scraped.snapshot_age = Some(Duration::from_secs(3 * 3600));
        not_scraped.is_expired = true;
        limited.calls_left = Some(0);
        let empty = fixtures::app("wx1", "shop", Vec::new());
        for (facts, text) in [
            (paused.clone(), "first scrape after 2026-11-24 20:25:00"),
            (paused, "errcode <code>40164</code>"),
            (not_scraped, "not been scraped for 3\u{a0}hours."),
            (limited, "--wechat.daily-limit"),
            (AppFacts::default(), "open /metrics once"),
            (empty, "WeChat lists no courier accounts"),
        ] {
            assert!(english(facts).contains(text), "{text}");
        }
    }

    #[test]
    fn balance_that_is_none_is_not_shown_as_a_number() {
        let monthly = english(fixtures::app(
            "wx1",
            "shop",
            vec![account("SF", Some(4_711.0))],
        ));
        assert!(!monthly.contains("4,711") && monthly.contains(">monthly<"));
        assert!(monthly.contains("All apps are healthy."));
        let not_sent = english(fixtures::app("wx1", "shop", vec![account("YTO", None)]));
        let cell = "data-label=\"Waybills left\"><span class=\"quiet\" aria-hidden=\"true\">–";
        assert!(not_sent.contains(cell));
    }

    #[test]
    fn alias_that_is_the_id_is_not_shown_again() {
        for (alias, shown) in [("K0", 1), ("Returns", 2)] {
            let mut account = account("YTO", None);
            account.biz_id = "K0".into();
            account.alias = alias.into();
            let page = english(fixtures::app("wx1", "shop", vec![account]));
            let names = page.matches("K0<").count() + page.matches("Returns<").count();
            assert_eq!(names, shown, "{alias}");
        }
    }

    #[test]
    fn links_are_relative_and_lead_to_each_app_in_the_same_language() {
        let page = fixtures::page(&fixtures::shops(), None, Language::Chinese);
        for link in [
            "./metrics",
            "./sd",
            "./-/healthy",
            "./probe?target=wx0000000000000001",
            "./?appid=wx0000000000000001&amp;lang=zh-CN",
            "./?lang=en",
        ] {
            assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
        }
        assert!(!page.contains("href=\"/"));
    }

    #[test]
    fn page_stays_within_a_megabyte_whatever_there_is() {
        let long = "很长的名字".repeat(200);
        let accounts = |count| {
            let mut accounts = fixtures::accounts(count);
            for account in &mut accounts {
                account.biz_id = format!("{}{long}", account.biz_id).into();
                account.alias = long.as_str().into();
            }
            accounts
        };
        let mut failed = fixtures::failed(Reason::Decode);
        failed.failure.as_mut().unwrap().text = "x".repeat(1_000);
        let many: Vec<_> = (0..5_000)
            .map(|app| {
                let mut facts = fixtures::app(&format!("wx{app}"), &long, accounts(5));
                facts.last_fetch = Some(failed.clone());
                facts
            })
            .collect();
        let big = [fixtures::app("wx1", &long, accounts(20_000))];
        for language in [Language::English, Language::Chinese] {
            let overview = fixtures::page(&many, None, language);
            assert!(overview.len() < 1_000_000, "{}", overview.len());
            assert!(overview.contains("5,000") && overview.contains("25,000"));
            assert_eq!(overview.matches("<section class=\"sheet app\"").count(), 50);
            let one = fixtures::page(&big, Some("wx1"), language);
            assert!(one.len() < 1_000_000, "{}", one.len());
            assert_eq!(one.matches("<tr>").count(), 1_001);
        }
    }

    #[test]
    fn nothing_from_outside_brings_markup_into_the_page() {
        let page = fixtures::page(&fixtures::hostile(), Some("wx1"), Language::English);
        assert!(page.contains("&lt;script&gt;"));
        for markup in [
            "<script",
            "<img",
            "<b>host",
            "</title></h2>",
            "\" onmouseover",
        ] {
            assert!(!page.contains(markup), "{markup}");
        }
    }
}
