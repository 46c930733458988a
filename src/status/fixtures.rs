//! Apps and accounts for tests, and the pages that the browser tests open.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::overview::{AppFacts, Overview};
use super::templates::Page;
use super::translations::Texts;
use super::{Language, content_security_policy};
use crate::clock::{Moment, unix_seconds};
use crate::snapshot::{Dropped, Snapshot};
use crate::store::LastFetch;
use crate::wechat::{Account, AccountList, Api, Cause, Error, Reason};

/// Returns 2026-11-24 20:15 in China.
pub(super) fn now() -> Moment {
    Moment {
        wall: UNIX_EPOCH + Duration::from_secs(1_795_522_500),
        monotonic: Instant::now(),
    }
}

/// Returns an app that was fetched 42 seconds ago.
pub(super) fn app(appid: &str, name: &str, accounts: Vec<Account>) -> AppFacts {
    app_fetched(Duration::from_secs(42), appid, name, accounts)
}

fn app_fetched(age: Duration, appid: &str, name: &str, accounts: Vec<Account>) -> AppFacts {
    let now = now();
    let days_left = accounts.iter().enumerate().map(|(index, account)| {
        let rate = [35.0, 120.0, 410.0, 88.0, 260.0][index % 5];
        let is_known = !index.is_multiple_of(7);
        is_known.then(|| account.quota_num.unwrap_or(0.0).max(0.0) / rate)
    });
    AppFacts {
        appid: appid.to_owned(),
        name: name.to_owned(),
        host: "api.weixin.qq.com".to_owned(),
        days_left: days_left.collect(),
        snapshot_age: Some(age),
        is_expired: age > Duration::from_secs(900),
        last_fetch: Some(LastFetch {
            at: now.wall - age,
            failure: None,
        }),
        calls_used: 1_214,
        calls_left: Some(786),
        shows_remarks: true,
        snapshot: Some(Arc::new(Snapshot::new(
            AccountList {
                accounts,
                ..AccountList::default()
            },
            Dropped::default(),
            now.wall - age,
            now,
        ))),
        ..AppFacts::default()
    }
}

pub(super) fn failed(reason: Reason) -> LastFetch {
    let (errcode, text) = match reason {
        Reason::IpWhitelist => (40164, "40164: invalid ip 203.0.113.7, not in whitelist"),
        _ => (0, "the reply has no list"),
    };
    let text = format!("the account list could not be read: {text}");
    let cause = Cause {
        reason,
        api: Some(Api::AccountGetall),
        errcode,
        symptom: None,
    };
    LastFetch {
        at: now().wall - Duration::from_secs(42),
        failure: Some(Error { cause, text }),
    }
}

/// Returns `count` accounts of every kind.
pub(super) fn accounts(count: usize) -> Vec<Account> {
    const COURIERS: [&str; 10] = [
        "YTO", "ZTO", "STO", "YUNDA", "JTSD", "SF", "BEST", "JDL", "EMS", "NEWCO",
    ];
    let now = unix_seconds(now().wall);
    let account = |index: usize| {
        let delivery_id = COURIERS[index % COURIERS.len()];
        let number = (index * 7_919 + 3) % 9_973;
        let balance = match number % 31 {
            0 => 0,
            1..4 => number % 90,
            4..9 => number % 900,
            _ => 500 + number,
        };
        Account {
            biz_id: format!("{delivery_id}{:08}", 10_000_019 + number * 937 + index).into(),
            delivery_id: delivery_id.into(),
            update_time: Some(now - (number as i64 % 6) * 86_400),
            status_code: Some([0, 1, 2, 3, 9].get(number % 40).copied().unwrap_or(0)),
            alias: ["", "仓库一", "Returns", "成都网点"][number % 4].into(),
            quota_num: Some(balance as f64),
            quota_update_time: Some(now - [3, 12, 27, 55, 190, 2_000][number % 6] * 60),
            ..Account::default()
        }
    };
    (0..count).map(account).collect()
}

/// Returns three shops such as an operator may have.
pub(super) fn shops() -> Vec<AppFacts> {
    let mut first = accounts(22);
    let mut second = first.split_off(10);
    let third = second.split_off(6);
    first[0].quota_num = Some(0.0);
    first[0].status_code = Some(0);
    first[1].quota_num = Some(61.0);
    first[2].biz_id = "四川省成都三公司_商户4711".into();
    first[3].status_code = Some(2);
    first[3].remark_wrong_msg = "客户编码与密码不符".into();
    let age = Duration::from_secs(420);
    let mut failing = app_fetched(age, "wx0000000000000003", "outlet · 折扣店", third);
    failing.last_fetch = Some(failed(Reason::IpWhitelist));
    failing.held_until = Some(now().wall + Duration::from_secs(372));
    vec![
        app("wx0000000000000001", "main shop · 旗舰店", first),
        app("wx0000000000000002", "wholesale · 批发", second),
        failing,
    ]
}

/// One app for each reason of failure, and one for each other state that is not `Up`.
fn failures() -> Vec<AppFacts> {
    let mut apps: Vec<_> = Reason::ALL
        .iter()
        .enumerate()
        .map(|(index, reason)| {
            let mut app = app(&format!("wx{index}"), reason.as_str(), accounts(index % 3));
            app.last_fetch = Some(failed(*reason));
            if index.is_multiple_of(2) {
                app.snapshot = None;
                app.snapshot_age = None;
                app.held_until = Some(now().wall + Duration::from_secs(600));
            }
            app
        })
        .collect();
    apps.push(AppFacts {
        appid: "wx101".to_owned(),
        name: "wx101".to_owned(),
        ..AppFacts::default()
    });
    let day = Duration::from_secs(26 * 3600);
    apps.push(app_fetched(day, "wx102", "not scraped", accounts(2)));
    let mut limit = app("wx103", "daily limit", Vec::new());
    limit.calls_left = Some(0);
    apps.push(limit);
    apps
}

/// Returns an app with texts that break a page which isn't prepared for them.
pub(super) fn hostile() -> Vec<AppFacts> {
    let texts = [
        "<script>document.title='owned'</script>",
        "<img src=x onerror=alert(1)>",
        "\u{202e}txet desrever",
        "\u{2067}right to left\u{2066}",
        "\"' onmouseover=alert(1) x=\"",
        &"very-long-customer-code".repeat(40),
        "controls\0\u{1b}[31m\r\n",
    ];
    let account = |index: usize| Account {
        biz_id: texts[index].into(),
        alias: texts[(index + 1) % texts.len()].into(),
        delivery_id: "YTO".into(),
        status_code: Some(0),
        quota_num: Some([1234.0, -1e300][index % 2]),
        quota_update_time: Some([i64::MAX, i64::MIN, 1_795_522_000][index % 3]),
        ..Account::default()
    };
    let accounts = (0..texts.len()).map(account).collect();
    let mut app = app("wx1", "</title></h2><h1>\u{202e}", accounts);
    app.host = "\"><b>host".to_owned();
    vec![app]
}

pub(super) fn page(facts: &[AppFacts], appid: Option<&str>, language: Language) -> String {
    let page = Page {
        overview: &Overview::new(facts, appid, now().wall),
        telemetry_path: "/metrics",
        texts: Texts::of(language),
    };
    page.render()
}

/// Writes the pages that `tests/browser` opens, in both languages, and the policy to serve them with, to
/// `target/status-pages`.
#[test]
fn pages_for_the_browser_tests() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/status-pages");
    std::fs::create_dir_all(&folder).unwrap();
    let thousands = vec![app("wx1", "main shop · 旗舰店", accounts(2_000))];
    for (name, facts, appid) in [
        ("shops", shops(), None),
        ("2000-accounts", thousands, Some("wx1")),
        ("failures", failures(), None),
        ("hostile", hostile(), Some("wx1")),
    ] {
        for (suffix, language) in [("en", Language::English), ("zh", Language::Chinese)] {
            let page = page(&facts, appid, language);
            std::fs::write(folder.join(format!("{name}.{suffix}.html")), page).unwrap();
        }
    }
    std::fs::write(folder.join("policy.txt"), content_security_policy()).unwrap();
}
