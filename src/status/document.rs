//! The document and what all its parts are written with: head, title, links, states.

use std::fmt;

use crate::clock::unix_seconds;

use super::html::Html;
use super::numbers::Amount;
use super::reading::{AppRows, Overview};
use super::standing::{AppStanding, Level};
use super::translations::Texts;
use super::{Language, STYLE, section};

/// Where the project lives; empty where the build doesn't say.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
/// The reference of the API behind it all.
const API_DOCUMENTATION: &str = "https://developers.weixin.qq.com/miniprogram/dev/server/API/express/express-by-business/api_getallaccount";
/// What a row takes in a page. Unit: bytes.
const ROW_SIZE: usize = 640;

/// What every part of the page is written with.
pub(super) struct Writer<'a> {
    pub(super) html: Html,
    pub(super) texts: &'static Texts,
    pub(super) overview: &'a Overview<'a>,
    /// The time on the page. Unit: seconds since 1970.
    pub(super) now: i64,
    pub(super) telemetry_path: &'a str,
}

/// The whole page.
pub(super) fn write(overview: &Overview<'_>, telemetry_path: &str, language: Language) -> String {
    let rows: usize = overview.apps.iter().map(|app| app.rows.len()).sum();
    let size =
        16_384 + ROW_SIZE * rows + 2_048 * overview.sections().len() + 512 * overview.apps.len();
    let mut page = Writer {
        html: Html::with_capacity(size),
        texts: Texts::of(language),
        overview,
        now: unix_seconds(overview.now.wall),
        telemetry_path,
    };
    page.head();
    page.header();
    page.html.raw("<main>");
    page.verdict();
    if overview.apps.len() > 1 {
        page.apps();
    }
    page.html.raw("<div id=\"accounts\">");
    for app in overview.sections() {
        section::write(&mut page, app);
    }
    page.html.raw("</div>");
    page.key();
    page.html.raw("</main>");
    page.footer();
    page.html.raw("</body></html>\n");
    page.html.into_string()
}

impl Writer<'_> {
    fn head(&mut self) {
        let texts = self.texts;
        let verdict = self.verdict_text();
        self.html
            .raw("<!doctype html><html lang=\"")
            .text(texts.language.tag())
            .raw("\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\"><meta name=\"robots\" content=\"noindex\"><title>")
            .text(verdict)
            .raw(" · ")
            .text(texts.title)
            .raw("</title>")
            .raw(icon(self.overview.level()))
            .raw("<style>")
            .raw(STYLE)
            .raw("</style></head><body>");
    }

    fn header(&mut self) {
        let texts = self.texts;
        self.html
            .raw("<a class=\"skip\" href=\"#accounts\">")
            .text(texts.skip)
            .raw("</a><header><h1>")
            .text(texts.title)
            .raw("</h1><nav aria-label=\"")
            .text(texts.language_switch)
            .raw("\">")
            .raw(match texts.language {
                Language::English => {
                    "<a href=\"./?lang=zh\" hreflang=\"zh-CN\" lang=\"zh-CN\">中文</a>"
                }
                Language::Chinese => {
                    "<a href=\"./?lang=en\" hreflang=\"en\" lang=\"en\">English</a>"
                }
            })
            .raw("</nav></header>");
    }

    fn footer(&mut self) {
        let texts = self.texts;
        self.html
            .raw("<footer><nav aria-label=\"")
            .text(texts.links)
            .raw("\"><ul><li><a href=\".")
            .text(self.telemetry_path)
            .raw("\">")
            .text(texts.link_metrics)
            .raw("</a></li><li><a href=\"./sd\">")
            .text(texts.link_sd)
            .raw("</a></li><li><a href=\"./-/healthy\">")
            .text(texts.link_healthy)
            .raw("</a></li><li><a href=\"./-/ready\">")
            .text(texts.link_ready)
            .raw("</a></li>");
        if !REPOSITORY.is_empty() {
            self.html
                .raw("<li><a rel=\"noreferrer\" href=\"")
                .text(REPOSITORY)
                .raw("\">")
                .text(texts.link_project)
                .raw("</a></li>");
        }
        self.html
            .raw("<li><a rel=\"noreferrer\" href=\"")
            .text(API_DOCUMENTATION)
            .raw("\">")
            .text(texts.link_api)
            .raw("</a></li></ul></nav><p>wechat-logistics-exporter · ")
            .phrase(texts.version, &[("version", &env!("CARGO_PKG_VERSION"))])
            .raw("</p></footer>");
    }

    /// A column's head.
    pub(super) fn column(&mut self, name: &str, number: bool) {
        self.html
            .raw(if number {
                "<th scope=\"col\" class=\"number\">"
            } else {
                "<th scope=\"col\">"
            })
            .text(name)
            .raw("</th>");
    }

    /// The column's name, for screens too narrow for columns.
    pub(super) fn label(&mut self, column: &str) {
        self.html
            .raw("<span class=\"label\">")
            .text(column)
            .raw("</span>");
    }

    /// A state in words, with a shape and a colour by its level.
    pub(super) fn mark(&mut self, level: Level, text: &str) {
        self.html
            .raw("<span class=\"mark ")
            .raw(class(level))
            .raw("\">")
            .text(text)
            .raw("</span>");
    }

    pub(super) fn app_mark(&mut self, app: &AppRows<'_>) {
        let texts = self.texts;
        let text = match app.standing {
            AppStanding::Held { .. } => texts.app_held,
            AppStanding::Failing(_) => texts.app_failing,
            AppStanding::DailyLimit => texts.app_daily_limit,
            AppStanding::Outdated => texts.app_outdated,
            AppStanding::NeverRead => texts.app_never_read,
            AppStanding::Reading => texts.app_reading,
            AppStanding::Up => texts.app_up,
        };
        self.mark(app.standing.level(), text);
    }

    pub(super) fn count(&mut self, n: usize, one: &str, many: &str) {
        let template = if n == 1 { one } else { many };
        self.html.phrase(template, &[("n", &whole(n))]);
    }
}

/// A number of things, with its thousands apart.
pub(super) fn whole(count: usize) -> impl fmt::Display {
    // Far below the numbers that a float can't tell apart.
    Amount(count as f64)
}

/// A number of calls, with its thousands apart.
pub(super) fn calls(calls: u64) -> impl fmt::Display {
    // A day's calls are as few.
    Amount(calls as f64)
}

/// The class that gives a level its shape and colour.
pub(super) fn class(level: Level) -> &'static str {
    match level {
        Level::Critical => "critical",
        Level::Warning => "warning",
        Level::Note => "note",
        Level::Fine => "fine",
    }
}

/// The tab's icon says how things stand, too.
fn icon(level: Level) -> &'static str {
    macro_rules! icon {
        ($shape:literal) => {
            concat!(
                "<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E",
                $shape,
                "%3C/svg%3E\">"
            )
        };
    }
    match level {
        Level::Critical => icon!("%3Cpath fill='%23c62828' d='M8 0l8 8-8 8-8-8z'/%3E"),
        Level::Warning => icon!("%3Cpath fill='%23c77700' d='M8 1l8 14H0z'/%3E"),
        Level::Note => {
            icon!(
                "%3Ccircle cx='8' cy='8' r='5.5' fill='none' stroke='%23607080' stroke-width='4'/%3E"
            )
        }
        Level::Fine => icon!("%3Ccircle cx='8' cy='8' r='7' fill='%232e7d4f'/%3E"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::fixtures;
    use super::super::reading::{AppFacts, Names};
    use super::*;

    fn page(facts: &[AppFacts], language: Language) -> String {
        let names = Names::new();
        let overview = Overview::new(facts, &names, Duration::from_secs(900), fixtures::now());
        write(&overview, "/metrics", language)
    }

    #[test]
    fn page_without_a_reading_says_so_and_what_to_do() {
        let facts = [AppFacts {
            appid: "wx1".to_owned(),
            name: "wx1".to_owned(),
            ..AppFacts::default()
        }];
        let english = page(&facts, Language::English);
        assert!(english.contains("No scrape has read this app yet."));
        assert!(english.contains("open /metrics once"));
        assert!(english.contains("<h2 id=\"verdict\" class=\"mark note\">Nothing read yet"));
        assert!(page(&facts, Language::Chinese).contains("还没有任何抓取读取过这个小程序"));
    }

    #[test]
    fn each_language_says_which_it_is_and_offers_the_other() {
        let english = page(&[], Language::English);
        assert!(english.starts_with("<!doctype html><html lang=\"en\">"));
        assert!(english.contains("href=\"./?lang=zh\" hreflang=\"zh-CN\""));
        let chinese = page(&[], Language::Chinese);
        assert!(chinese.contains("<html lang=\"zh-CN\">"));
        assert!(chinese.contains("href=\"./?lang=en\""));
    }

    #[test]
    fn page_links_to_what_else_the_exporter_serves() {
        let facts = [fixtures::app("wx1", "shop", Vec::new())];
        let page = page(&facts, Language::English);
        for link in ["./metrics", "./sd", "./-/healthy", "./probe?target=wx1"] {
            assert!(page.contains(&format!("href=\"{link}\"")), "{link}");
        }
    }

    #[test]
    fn page_is_one_document_without_script_style_attribute_or_outside_asset() {
        let page = page(&fixtures::shops(), Language::Chinese);
        for forbidden in [
            "<script",
            " style=",
            "javascript:",
            "src=",
            "@import",
            " onclick",
        ] {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn two_thousand_accounts_take_no_more_room_than_was_set_aside() {
        let facts = [fixtures::app("wx1", "shop", fixtures::accounts(2_000))];
        let page = page(&facts, Language::English);
        assert_eq!(page.matches("<tr><td><span class=\"mark").count(), 2_000);
        assert!(page.len() < 16_384 + ROW_SIZE * 2_000, "{}", page.len());
    }
}
