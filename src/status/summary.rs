//! The page above and below the apps: the verdict, the table of apps, what the states mean.

use std::time::Duration;

use super::document::{Writer, calls, class, whole};
use super::numbers::{ChinaTime, Span};
use super::reading::{AppFacts, AppRows};
use super::standing::{AppStanding, Level, Standing};

impl Writer<'_> {
    /// How things stand, in a few words.
    pub(super) fn verdict_text(&self) -> &'static str {
        let texts = self.texts;
        let apps = &self.overview.apps;
        let unread = |app: &AppRows<'_>| {
            matches!(app.standing, AppStanding::NeverRead | AppStanding::Reading)
        };
        if apps.iter().all(unread) {
            return texts.verdict_unread;
        }
        match self.overview.level() {
            Level::Critical => texts.verdict_critical,
            Level::Warning => texts.verdict_warning,
            Level::Note => texts.verdict_note,
            Level::Fine => texts.verdict_fine,
        }
    }

    /// How things stand, at a glance.
    pub(super) fn verdict(&mut self) {
        let texts = self.texts;
        let overview = self.overview;
        let verdict = self.verdict_text();
        self.html
            .raw("<section aria-labelledby=\"verdict\" class=\"sheet verdict ")
            .raw(class(overview.level()))
            .raw("\"><h2 id=\"verdict\" class=\"mark ")
            .raw(class(overview.level()))
            .raw("\">")
            .text(verdict)
            .raw("</h2><p class=\"sums\">");
        if overview.apps.is_empty() {
            self.html.text(texts.no_apps);
        }
        for (n, one, many) in [
            (
                overview.apps_at(Level::Critical),
                texts.apps_critical_one,
                texts.apps_critical_many,
            ),
            (
                overview.accounts_at(Level::Critical),
                texts.accounts_critical_one,
                texts.accounts_critical_many,
            ),
            (
                overview.apps_at(Level::Warning),
                texts.apps_warning_one,
                texts.apps_warning_many,
            ),
            (
                overview.accounts_at(Level::Warning),
                texts.accounts_warning_one,
                texts.accounts_warning_many,
            ),
            (
                overview.apps_at(Level::Note),
                texts.apps_note_one,
                texts.apps_note_many,
            ),
        ] {
            if n > 0 {
                self.html.raw("<strong>");
                self.count(n, one, many);
                self.html.raw("</strong> · ");
            }
        }
        if !overview.apps.is_empty() {
            self.count(overview.apps.len(), texts.apps_one, texts.apps_many);
            self.html.raw(" · ");
            self.count(overview.accounts(), texts.accounts_one, texts.accounts_many);
        }
        self.html.raw("</p>");
        if overview.accounts() > 0 {
            self.counts();
        }
        self.html.raw("<p class=\"quiet\">");
        if let Some(now) = ChinaTime::from_unix(self.now) {
            self.html
                .phrase(texts.as_of, &[("time", &now.to_the_second())]);
        }
        self.html.raw("</p></section>");
    }

    /// How many accounts stand how.
    fn counts(&mut self) {
        let texts = self.texts;
        self.html
            .raw("<ul class=\"counts\" aria-label=\"")
            .text(texts.counted)
            .raw("\">");
        for (standing, count) in Standing::ALL.into_iter().zip(self.overview.counts) {
            if count > 0 {
                self.html
                    .raw("<li class=\"mark ")
                    .raw(class(standing.level()))
                    .raw("\"><b>")
                    .show(whole(count))
                    .raw("</b> ")
                    .text(texts.name_of(standing))
                    .raw("</li>");
            }
        }
        self.html.raw("</ul>");
    }

    /// Every app in one line.
    pub(super) fn apps(&mut self) {
        let texts = self.texts;
        self.html
            .raw("<section class=\"sheet\" aria-labelledby=\"apps\"><h2 id=\"apps\">")
            .text(texts.apps_heading)
            .raw("</h2><table class=\"apps\"><caption class=\"hidden\">")
            .text(texts.apps_caption)
            .raw("</caption><thead><tr>");
        for (column, number) in [
            (texts.column_state, false),
            (texts.column_app, false),
            (texts.column_accounts, true),
            (texts.column_trouble, true),
            (texts.column_read, false),
            (texts.column_calls, true),
        ] {
            self.column(column, number);
        }
        self.html.raw("</tr></thead><tbody>");
        let sections = self.overview.sections().len();
        for (index, app) in self.overview.apps.iter().enumerate() {
            self.html.raw("<tr><td>");
            self.app_mark(app);
            self.html.raw("</td><th scope=\"row\"><a href=\"");
            // An app without a section of its own has its metrics at least.
            self.html.raw(if index < sections {
                "#app-"
            } else {
                "./probe?target="
            });
            self.html.text(&app.facts.appid).raw("\">");
            self.html.isolated(&app.facts.name).raw("</a></th>");
            let trouble =
                app.levels[Level::Critical as usize] + app.levels[Level::Warning as usize];
            self.html
                .raw("<td class=\"number\">")
                .show(whole(app.accounts))
                .raw("</td><td class=\"number\">");
            self.label(texts.column_trouble);
            if trouble > 0 {
                self.mark(app.accounts_level(), &whole(trouble).to_string());
            } else {
                self.html.raw("0");
            }
            self.html.raw("</td><td>");
            self.label(texts.column_read);
            self.read_time(app);
            self.html
                .raw("</td><td class=\"number\">")
                .show(calls(app.facts.calls_used));
            self.html.raw("</td></tr>");
        }
        self.html.raw("</tbody></table>");
        if sections < self.overview.apps.len() {
            self.html
                .raw("<p class=\"quiet\">")
                .phrase(texts.sections_shown, &[("shown", &whole(sections))]);
            self.html.raw("</p>");
        }
        self.html.raw("</section>");
    }

    /// What the states on this page mean.
    pub(super) fn key(&mut self) {
        let texts = self.texts;
        let counts = self.overview.counts;
        if self.overview.accounts() == 0 {
            return;
        }
        self.html
            .raw("<section aria-labelledby=\"key\" class=\"sheet key\"><h2 id=\"key\">")
            .text(texts.key)
            .raw("</h2><dl>");
        for (standing, count) in Standing::ALL.into_iter().zip(counts) {
            if count > 0 {
                self.html.raw("<div><dt>");
                self.mark(standing.level(), texts.name_of(standing));
                self.html
                    .raw("</dt><dd>")
                    .text(texts.meaning_of(standing))
                    .raw("</dd></div>");
            }
        }
        self.html.raw("</dl><p class=\"quiet\">");
        let longest = |of: fn(&AppFacts) -> Duration| {
            let longest = self.overview.apps.iter().map(|app| of(app.facts)).max();
            let seconds = longest.unwrap_or_default().as_secs();
            Span { seconds, texts }
        };
        let span = longest(|facts| facts.burn_observed_for);
        let shortest = longest(|facts| facts.days_left_after);
        self.html
            .phrase(
                texts.days_left_known,
                &[("span", &span), ("shortest", &shortest)],
            )
            .raw("</p></section>");
    }
}
