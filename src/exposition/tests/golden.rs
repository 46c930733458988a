//! The exact page of a small reading, and that others read it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;

/// Set to write the pages anew instead of comparing them.
const UPDATE: &str = "UPDATE_GOLDEN";

fn reading() -> (Arc<Collector>, Scrape) {
    let second = AppConfig {
        api_urls: vec![
            "https://api.weixin.qq.com".to_owned(),
            "https://api2.weixin.qq.com".to_owned(),
        ],
        daily_limit: None,
        remark_wrong_msg: true,
        ..app("wx0000000000000002", "第二家店")
    };
    let collector = collector(vec![app("wx0000000000000001", "main shop"), second]);
    let apps = collector.apps();
    apps.list()[0].fetch_duration().observe(0.25);
    let franchise = Account {
        create_time: Some(1_700_000_000),
        update_time: Some(1_795_400_000),
        quota_update_time: Some(1_795_490_000),
        alias: "仓库 \"A\"\\一\n二".into(),
        service_types: vec![
            ServiceType {
                service_type: 1,
                service_name: "圆准达".into(),
            },
            // The same service: the name is the documented one.
            ServiceType {
                service_type: 1,
                service_name: "".into(),
            },
        ],
        ..account("四川某某公司_商户名", "YTO", 1234.0)
    };
    let direct = Account {
        quota_num: None,
        ..account("0280000001", "SF", 0.0)
    };
    let unknown = Account {
        status_code: Some(9),
        quota_num: Some(0.5),
        ..account("1", "NEW", 0.0)
    };
    let twice = account("1", "NEW", 3.0);
    let list = AccountList {
        accounts: vec![franchise, direct, unknown, twice],
        count: Some(6),
        invalid: 1,
        beyond_limit: 1,
        ..AccountList::default()
    };
    let failed = Account {
        status_code: Some(2),
        remark_wrong_msg: "密码错误".into(),
        ..account("2", "STO", 0.0)
    };
    let snapshots = [
        Some(Arc::new(Snapshot::fetched_now(list, noon()))),
        Some(snapshot(vec![failed])),
    ];
    let scrape = scrape(&collector, &snapshots);
    (collector, scrape)
}

fn page(accept: &'static str) -> String {
    let (collector, scrape) = reading();
    let exposition = Exposition::new(collector);
    text(&exposition.page(&scrape, Scope::AppsOnly, &[], form(accept, "identity")))
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn compare(name: &str, page: &str) {
    let path = golden(name);
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap();
    for (line, (got, wanted)) in page.lines().zip(expected.lines()).enumerate() {
        assert_eq!(got, wanted, "line {} of {name}", line + 1);
    }
    assert_eq!(page, expected);
}

#[test]
fn text_page_is_the_golden_one() {
    compare("accounts.prom", &page("text/plain"));
}

#[test]
fn openmetrics_page_is_the_golden_one() {
    compare("accounts.openmetrics", &page(OPENMETRICS));
}

/// Runs a program on a page, where the machine has it.
fn accepts(program: &str, arguments: &[&str], page: &str) {
    let child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = child else {
        eprintln!("{program} is not installed; nothing was checked");
        return;
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}

#[test]
fn promtool_finds_nothing_to_say_of_a_whole_page() {
    let (collector, scrape) = reading();
    let exposition = Exposition::new(collector);
    exposition.exporter().reload_succeeded(noon().wall);
    let page = exposition.page(&scrape, Scope::Everything, &[], Form::TEXT);
    accepts("promtool", &["check", "metrics"], &text(&page));
}

#[test]
fn every_family_of_the_table_can_be_on_a_page() {
    let (collector, scrape) = reading();
    let exposition = Exposition::new(collector);
    exposition.exporter().reload_succeeded(noon().wall);
    let page = text(&exposition.page(&scrape, Scope::Everything, &[], Form::TEXT));
    for family in family::ALL {
        // These stand for what WeChat alone can say, its own figures and the end of a token, and for a Redis that
        // replicas share.
        let unknown = [
            "_api_daily_limit",
            "_api_daily_used",
            "_api_daily_remaining",
            "_access_token_expiry_timestamp_seconds",
            "_shared_state_failures_total",
        ]
        .into_iter()
        .any(|end| family.name.ends_with(end));
        let header = format!("# HELP {} ", family.name);
        assert_eq!(page.contains(&header), !unknown, "{}", family.name);
    }
    assert_eq!(
        page.matches("# HELP ").count(),
        page.matches("# TYPE ").count()
    );
}
