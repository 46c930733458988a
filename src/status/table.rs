//! The table of one app's accounts.

use crate::wechat::courier::Network;

use super::Language;
use super::document::{Writer, whole};
use super::numbers::{Amount, DaysLeft};
use super::reading::{AppRows, Row};
use super::standing::Standing;

pub(super) fn write(page: &mut Writer<'_>, app: &AppRows<'_>) {
    let texts = page.texts;
    if app.accounts == 0 {
        page.html
            .raw("<p class=\"quiet\">")
            .text(texts.no_accounts)
            .raw("</p>");
    } else if !app.rows.is_empty() {
        page.table(app);
    }
    if app.rows.len() < app.accounts {
        page.html.raw("<p class=\"quiet\">").phrase(
            texts.rows_shown,
            &[
                ("shown", &whole(app.rows.len())),
                ("all", &whole(app.accounts)),
            ],
        );
        page.html.raw("</p>");
    }
    let dropped = app
        .facts
        .snapshot
        .as_ref()
        .map(|snapshot| snapshot.dropped());
    if let Some(dropped) = dropped.filter(|dropped| *dropped != Default::default()) {
        page.html.raw("<p class=\"quiet\">").phrase(
            texts.dropped,
            &[
                ("duplicate", &dropped.duplicate),
                ("limit", &dropped.limit),
                ("invalid", &dropped.invalid),
            ],
        );
        page.html.raw("</p>");
    }
}

impl Writer<'_> {
    fn table(&mut self, app: &AppRows<'_>) {
        let texts = self.texts;
        self.html
            .raw("<table class=\"accounts\"><caption class=\"hidden\">")
            .isolated(&app.facts.name)
            .raw(" · ")
            .text(texts.accounts_caption)
            .raw("</caption><thead><tr>");
        for (column, number) in [
            (texts.column_state, false),
            (texts.column_courier, false),
            (texts.column_account, false),
            (texts.column_balance, true),
            (texts.column_days_left, true),
            (texts.column_status, false),
            (texts.column_balance_age, false),
        ] {
            self.column(column, number);
        }
        self.html.raw("</tr></thead><tbody>");
        for row in &app.rows {
            self.row(row);
        }
        self.html.raw("</tbody></table>");
    }

    fn row(&mut self, row: &Row<'_>) {
        let account = row.account;
        self.html.raw("<tr><td>");
        self.mark(row.standing.level(), self.texts.name_of(row.standing));
        self.html.raw("</td><td>");
        self.courier(row);
        self.html
            .raw("</td><th scope=\"row\">")
            .isolated(&account.biz_id);
        if !account.alias.is_empty() {
            self.html
                .raw(" <small>")
                .isolated(&account.alias)
                .raw("</small>");
        }
        self.html.raw("</th><td class=\"number\">");
        self.label(self.texts.column_balance);
        self.balance(row);
        self.html.raw("</td><td class=\"number\">");
        self.label(self.texts.column_days_left);
        self.days_left(row);
        self.html.raw("</td><td>");
        self.binding(row);
        self.html.raw("</td><td>");
        self.label(self.texts.column_balance_age);
        match account.quota_update_time {
            Some(unix) if row.standing != Standing::Monthly => self.time(unix),
            _ => self.not_known(),
        }
        self.html.raw("</td></tr>");
    }

    fn courier(&mut self, row: &Row<'_>) {
        // WeChat's names are Chinese; a screen reader has to know.
        let foreign = self.texts.language == Language::English && !row.courier.is_ascii();
        self.html
            .raw(if foreign {
                "<bdi lang=\"zh-CN\">"
            } else {
                "<bdi>"
            })
            .text(row.courier)
            .raw("</bdi>");
        if row.courier != &*row.account.delivery_id {
            self.html
                .raw(" <small>")
                .isolated(&row.account.delivery_id)
                .raw("</small>");
        }
    }

    fn balance(&mut self, row: &Row<'_>) {
        match row.account.quota_num {
            _ if row.network == Network::Direct => {
                self.html
                    .raw("<span class=\"quiet\">")
                    .text(self.texts.monthly)
                    .raw("</span>");
            }
            Some(balance) => {
                self.html.show(Amount(balance));
            }
            None => self.not_known(),
        }
    }

    fn days_left(&mut self, row: &Row<'_>) {
        let is_stock = row.network != Network::Direct && row.account.status_code == Some(0);
        match row.days_left.filter(|_| is_stock) {
            // "Less than an hour" is too much for nothing.
            Some(_) if row.standing == Standing::Empty => {
                self.html.raw("0");
            }
            Some(days) => {
                let texts = self.texts;
                self.html.show(DaysLeft { days, texts });
            }
            None => self.not_known(),
        }
    }

    fn binding(&mut self, row: &Row<'_>) {
        let texts = self.texts;
        match row.account.status_code {
            Some(0) => self.html.text(texts.status_bound),
            Some(1) => self.html.text(texts.status_under_review),
            Some(2) => self.html.text(texts.status_failed),
            Some(3) => self.html.text(texts.status_unbound),
            Some(code) => self.html.phrase(texts.status_unknown, &[("code", &code)]),
            None => self.html.text(texts.status_not_sent),
        };
        if !row.remark.is_empty() {
            self.html
                .raw(" <small>")
                .text(texts.remark)
                .isolated(row.remark)
                .raw("</small>");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::document;
    use super::super::fixtures;
    use super::super::reading::{Names, Overview};
    use super::*;
    use crate::wechat::Account;

    fn page(accounts: Vec<Account>) -> String {
        let names = Names::new();
        let facts = [fixtures::app("wx1", "shop", accounts)];
        let overview = Overview::new(&facts, &names, Duration::from_secs(900), fixtures::now());
        document::write(&overview, "/metrics", Language::English)
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
    fn balance_of_a_courier_paid_by_the_month_is_no_number() {
        let page = page(vec![account("SF", Some(4_711.0))]);
        assert!(!page.contains("4,711"));
        assert!(page.contains(">monthly<"));
        assert!(page.contains("All is well"));
    }

    #[test]
    fn balance_that_was_not_sent_is_not_shown_as_0() {
        let page = page(vec![account("YTO", None)]);
        let cell = "<span class=\"label\">Waybills left</span><span class=\"quiet\" aria-hidden";
        assert!(page.contains(cell));
    }

    #[test]
    fn app_without_accounts_says_where_to_bind_one() {
        assert!(page(Vec::new()).contains("WeChat lists no courier account"));
    }

    #[test]
    fn courier_is_named_with_its_language_and_id() {
        let page = page(vec![account("YTO", Some(5.0)), account("NEW", Some(5.0))]);
        assert!(page.contains("<bdi lang=\"zh-CN\">圆通速递</bdi> <small><bdi>YTO</bdi></small>"));
        assert!(page.contains("<td><bdi>NEW</bdi></td>"));
    }

    #[test]
    fn more_accounts_than_are_shown_are_counted() {
        let page = page(fixtures::accounts(5_001));
        assert!(page.contains("The worst 5,000 of 5,001 accounts are shown"));
    }

    proptest! {
        #[test]
        fn no_account_brings_markup_into_the_page(
            biz_id in any::<String>(),
            alias in any::<String>(),
            remark_wrong_msg in any::<String>(),
            status_code in any::<Option<i64>>(),
            quota_num in any::<Option<f64>>(),
            quota_update_time in any::<Option<i64>>(),
        ) {
            let hostile = |text: &str| format!("<i>{text}").into_boxed_str();
            let account = Account {
                biz_id: hostile(&biz_id),
                delivery_id: "<i>".into(),
                alias: hostile(&alias),
                remark_wrong_msg: hostile(&remark_wrong_msg),
                status_code,
                quota_num,
                quota_update_time,
                update_time: quota_update_time,
                ..Account::default()
            };
            let page = page(vec![account]);
            prop_assert!(!page.contains("<i>"));
            prop_assert_eq!(page.matches("<table class=\"accounts\"").count(), 1);
        }
    }
}
