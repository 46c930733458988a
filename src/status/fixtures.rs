//! Apps and accounts for tests, and the pages of them that the browser tests look at.

use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use super::overview::{AppFacts, Names, Overview, Scope};
use super::templates::Page;
use super::{Language, content_security_policy};
use crate::clock::{Moment, unix_seconds};
use crate::snapshot::Snapshot;
use crate::store::LastFetch;
use crate::wechat::{Account, AccountList, Api, Reason};

/// 2026-11-24 20:15 in China.
pub(super) fn now() -> Moment {
    Moment {
        wall: UNIX_EPOCH + Duration::from_secs(1_795_522_500),
        monotonic: Instant::now(),
    }
}

/// An app that was fetched 42 seconds ago.
pub(super) fn app(appid: &str, name: &str, accounts: Vec<Account>) -> AppFacts {
    app_fetched(Duration::from_secs(42), appid, name, accounts)
}

/// An app that was fetched so long ago.
fn app_fetched(age: Duration, appid: &str, name: &str, accounts: Vec<Account>) -> AppFacts {
    let days_left = accounts
        .iter()
        .enumerate()
        .map(|(index, account)| invented_days_left(index, account))
        .collect();
    let list = AccountList {
        accounts,
        ..AccountList::default()
    };
    let now = now();
    let snapshot = Snapshot::new(list, now.wall - age, now);
    AppFacts {
        appid: appid.to_owned(),
        name: name.to_owned(),
        host: "api.weixin.qq.com".to_owned(),
        snapshot: Some(Arc::new(snapshot)),
        snapshot_age: Some(age),
        last_fetch: Some(LastFetch::succeeded_at(now.wall - age)),
        calls_used: 1_214,
        calls_left: Some(786),
        days_left,
        shows_remarks: true,
        ..AppFacts::default()
    }
}

fn invented_days_left(index: usize, account: &Account) -> Option<f64> {
    let pace = [35.0, 120.0, 410.0, 88.0, 260.0][index % 5];
    (!index.is_multiple_of(7)).then(|| account.quota_num.unwrap_or(0.0).max(0.0) / pace)
}

/// A fetch that failed so.
pub(super) fn failed(reason: Reason) -> LastFetch {
    let (errcode, text) = match reason {
        Reason::Transient => (Some(-1), "-1: system error"),
        Reason::Token => (
            Some(40001),
            "40001: invalid credential, access_token is invalid or not latest",
        ),
        Reason::Config => (Some(40125), "40125: invalid appsecret"),
        Reason::Permission => (Some(48001), "48001: api unauthorized"),
        Reason::IpWhitelist => (
            Some(40164),
            "40164: invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
        ),
        Reason::DailyQuota => (Some(45009), "45009: reach max api daily quota limit"),
        Reason::Rate => (
            Some(45011),
            "45011: api minute-quota reach limit, must slower, retry next minute",
        ),
        Reason::Decode => (None, "the reply has no list"),
        Reason::Network => (None, "connection refused"),
        Reason::Timeout => (None, "no answer in 8 s"),
        Reason::Unknown => (Some(9_300_999), "9300999: unknown"),
    };
    let text = format!("the account list could not be read: {text}");
    LastFetch::failed(reason, errcode, text, now().wall - Duration::from_secs(42))
        .at_endpoint(Some(Api::AccountGetall))
}

/// So many accounts of every kind.
pub(super) fn accounts(count: usize) -> Vec<Account> {
    const COURIERS: [&str; 10] = [
        "YTO", "ZTO", "STO", "YUNDA", "JTSD", "SF", "BEST", "JDL", "EMS", "NEWCO",
    ];
    let now = unix_seconds(now().wall);
    (0..count)
        .map(|index| {
            let delivery_id = COURIERS[index % COURIERS.len()];
            let number = (index * 7_919 + 3) % 9_973;
            let status_code = match number % 40 {
                1 => 1,
                2 => 2,
                3 => 3,
                4 if index > 100 => 9,
                _ => 0,
            };
            let balance = match number % 31 {
                0 => 0,
                1..4 => number % 90,
                4..9 => number % 900,
                _ => 500 + number,
            };
            let minutes = [3, 12, 27, 55, 190, 2_000][number % 6];
            Account {
                biz_id: match delivery_id {
                    "STO" => format!("四川省成都{index}公司_商户{number}").into(),
                    _ => format!("{delivery_id}{:08}", 10_000_019 + number * 937 + index).into(),
                },
                delivery_id: delivery_id.into(),
                create_time: Some(now - 90 * 86_400),
                update_time: Some(now - (number as i64 % 6) * 86_400),
                status_code: Some(status_code),
                alias: match number % 4 {
                    0 => "".into(),
                    1 => "仓库一".into(),
                    2 => "Returns".into(),
                    _ => format!("网点 {}", number % 30).into(),
                },
                quota_num: Some(balance as f64),
                quota_update_time: Some(now - minutes * 60),
                ..Account::default()
            }
        })
        .collect()
}

/// Three shops as an operator may have them.
pub(super) fn shops() -> Vec<AppFacts> {
    let mut accounts = accounts(22);
    let mut of_first: Vec<_> = accounts.drain(..10).collect();
    of_first[0].quota_num = Some(0.0);
    of_first[0].status_code = Some(0);
    of_first[1].quota_num = Some(61.0);
    of_first[3].status_code = Some(2);
    of_first[3].remark_wrong_msg = "客户编码与密码不符".into();
    let mut failing = app_fetched(
        Duration::from_secs(420),
        "wx0000000000000003",
        "outlet · 折扣店",
        accounts.split_off(6),
    );
    failing.last_fetch = Some(failed(Reason::IpWhitelist));
    failing.breaker = Some((Reason::IpWhitelist, now().wall + Duration::from_secs(372)));
    let first = app("wx0000000000000001", "main shop · 旗舰店", of_first);
    vec![
        first,
        app("wx0000000000000002", "wholesale · 批发", accounts),
        failing,
    ]
}

/// One app for each way to fail, and for each way to be without a snapshot.
fn failures() -> Vec<AppFacts> {
    let mut apps: Vec<_> = Reason::ALL
        .iter()
        .enumerate()
        .map(|(index, reason)| {
            let mut app = app(
                &format!("wx{:016}", index + 1),
                reason.as_str(),
                accounts(index % 3),
            );
            app.last_fetch = Some(failed(*reason));
            if reason.needs_mending() || *reason == Reason::DailyQuota {
                app.breaker = Some((*reason, now().wall + Duration::from_secs(600)));
            }
            if index.is_multiple_of(2) {
                app.snapshot = None;
                app.snapshot_age = None;
            }
            app
        })
        .collect();
    let unread = |appid: &str, name: &str, fetching| AppFacts {
        appid: appid.to_owned(),
        name: name.to_owned(),
        host: "api.weixin.qq.com".to_owned(),
        calls_left: Some(2_000),
        fetching,
        ..AppFacts::default()
    };
    apps.push(unread("wx0000000000000101", "never fetched", false));
    apps.push(unread("wx0000000000000102", "wx0000000000000102", true));
    let day = Duration::from_secs(26 * 3600);
    apps.push(app_fetched(
        day,
        "wx0000000000000103",
        "not scraped",
        accounts(2),
    ));
    let mut limit = app("wx0000000000000104", "daily limit", accounts(2));
    limit.calls_left = Some(0);
    limit.calls_used = 2_000;
    apps.push(limit);
    apps
}

/// Everything a remote side can send to break a page.
fn hostile() -> Vec<AppFacts> {
    let account = |biz_id: &str, alias: &str| Account {
        biz_id: biz_id.into(),
        alias: alias.into(),
        delivery_id: "YTO".into(),
        status_code: Some(0),
        quota_num: Some(1234.0),
        quota_update_time: Some(unix_seconds(now().wall) - 60),
        ..Account::default()
    };
    let mut odd = account("odd numbers", "");
    odd.quota_num = Some(-1e300);
    odd.quota_update_time = Some(i64::MAX);
    odd.status_code = Some(i64::MIN);
    let accounts = vec![
        account(
            "<script>document.title='owned'</script>",
            "<img src=x onerror=alert(1)>",
        ),
        account("\u{202e}txet desrever", "\u{2067}right to left\u{2066}"),
        account("\"' onmouseover=alert(1) x=\"", "&amp;&lt;"),
        account(&"very-long-customer-code".repeat(40), &"别名".repeat(200)),
        account("controls\0\u{1b}[31m\r\n", "\u{feff}\u{200b}"),
        odd,
    ];
    let mut app = app("wx1", "</title></h2><h1>\u{202e}", accounts);
    app.host = "\"><b>host".to_owned();
    vec![app]
}

/// The page of these apps as if they were scraped every 15 minutes at least.
pub(super) fn page(facts: &[AppFacts], scope: Scope, language: Language) -> String {
    let names = Names::new();
    let max_stale = Duration::from_secs(900);
    let overview = Overview::new(facts, scope, &names, max_stale, now());
    Page::new(&overview, "/metrics", language).render()
}

/// Writes the pages that `tests/browser` opens, each in both languages, and the policy to serve them with, into
/// `target/status-pages`.
#[test]
fn pages_for_the_browser_tests() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/status-pages");
    std::fs::create_dir_all(&folder).unwrap();
    let thousands = vec![app("wx1", "main shop · 旗舰店", accounts(2_000))];
    for (name, facts, scope) in [
        ("shops", shops(), Scope::AllApps),
        ("2000-accounts", thousands, Scope::OneApp),
        ("failures", failures(), Scope::AllApps),
        ("hostile", hostile(), Scope::OneApp),
    ] {
        for (suffix, language) in [("en", Language::English), ("zh", Language::Chinese)] {
            let page = page(&facts, scope, language);
            std::fs::write(folder.join(format!("{name}.{suffix}.html")), page).unwrap();
        }
    }
    std::fs::write(folder.join("policy.txt"), content_security_policy()).unwrap();
}
