//! The three formats say the same, whatever WeChat said.

use std::io::Read as _;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

/// One collector for all cases: what varies is what WeChat says.
static EXPOSITION: LazyLock<(Arc<Collector>, Exposition)> = LazyLock::new(|| {
    let frank = AppConfig {
        remark_wrong_msg: true,
        remark_content: true,
        ..app("wx0000000000000002", "说 \"hello\"\n\\")
    };
    let collector = collector(vec![app("wx0000000000000001", "main shop"), frank]);
    let exposition = Exposition::new(Arc::clone(&collector));
    (collector, exposition)
});

fn words() -> impl Strategy<Value = Box<str>> {
    prop_oneof![
        any::<String>(),
        "[\"\\\\\n\r\t,={} a圆通]{0,8}",
        Just(String::new()),
        Just("很长\"\\\n".repeat(500)),
    ]
    .prop_map(String::into_boxed_str)
}

fn services() -> impl Strategy<Value = Vec<ServiceType>> {
    // Few numbers and names, so that the same service is there twice, and once by the name that the table knows.
    let name = prop_oneof![
        Just(String::new()),
        Just("圆准达".to_owned()),
        Just("普通快递".to_owned()),
        any::<String>()
    ];
    let service = (0_i64..3, name).prop_map(|(service_type, name)| ServiceType {
        service_type,
        service_name: name.into(),
    });
    prop::collection::vec(service, 0..5)
}

fn accounts() -> impl Strategy<Value = Vec<Account>> {
    let number = || prop::option::of(prop_oneof![any::<i64>(), 0_i64..5]);
    let id = || prop_oneof![Just("1".into()), Just("YTO".into()), words()];
    let account = (
        (id(), id(), words(), words(), words()),
        (number(), number(), number(), number()),
        prop::option::of(any::<f64>().prop_filter("JSON has no other", |quota| quota.is_finite())),
        services(),
    )
        .prop_map(|(texts, numbers, quota_num, service_types)| Account {
            biz_id: texts.0,
            delivery_id: texts.1,
            alias: texts.2,
            remark_wrong_msg: texts.3,
            remark_content: texts.4,
            create_time: numbers.0,
            update_time: numbers.1,
            status_code: numbers.2,
            quota_update_time: numbers.3,
            quota_num,
            service_types,
        });
    prop::collection::vec(account, 0..6)
}

fn snapshots() -> impl Strategy<Value = Vec<Option<Arc<Snapshot>>>> {
    let one = || prop::option::weighted(0.9, accounts().prop_map(snapshot));
    (one(), one()).prop_map(|(a, b)| vec![a, b])
}

fn read(page: &Page) -> reading::Samples {
    let body = page.body.concat();
    assert_eq!(page.content_length(), body.len() as u64);
    let mut plain = Vec::new();
    match page
        .content_encoding
        .as_ref()
        .map(|coding| coding.to_str().unwrap())
    {
        None => plain = body,
        Some("gzip") => {
            flate2::read::GzDecoder::new(&*body)
                .read_to_end(&mut plain)
                .unwrap();
        }
        Some("zstd") => plain = zstd::decode_all(&*body).unwrap(),
        Some(other) => panic!("{other}"),
    }
    let content_type = page.content_type.to_str().unwrap();
    if content_type.starts_with("application/vnd.google.protobuf") {
        return reading::protobuf(&plain);
    }
    let plain = String::from_utf8(plain).unwrap();
    if content_type.starts_with("application/openmetrics-text") {
        reading::openmetrics(&plain)
    } else {
        reading::text(&plain)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// And no series is there twice: the readers refuse that.
    #[test]
    fn every_format_and_coding_says_the_same(snapshots in snapshots()) {
        let (collector, exposition) = &*EXPOSITION;
        let scrape = scrape(collector, &snapshots);
        let page = |form| exposition.page(&scrape, Scope::AppsOnly, &[], form);
        let expected = read(&page(Form::TEXT));
        for accept in ["text/plain", OPENMETRICS, PROTOBUF] {
            for accept_encoding in ["identity", "gzip", "zstd"] {
                let samples = read(&page(form(accept, accept_encoding)));
                prop_assert!(samples == expected, "{} {}", accept, accept_encoding);
            }
        }
        for (snapshot, appid) in snapshots.iter().zip(["wx0000000000000001", "wx0000000000000002"]) {
            let accounts = snapshot.as_ref().map(|snapshot| snapshot.accounts());
            prop_assert_eq!(
                expected.value("wechat_logistics_accounts", &[("appid", appid)]),
                accounts.map(|accounts| accounts.len() as f64)
            );
            for account in accounts.unwrap_or_default() {
                let labels = [
                    ("appid", appid),
                    ("biz_id", &*account.biz_id),
                    ("delivery_id", &*account.delivery_id),
                ];
                // Bit by bit: a missing balance is no series, never a 0.
                prop_assert_eq!(
                    expected.value("wechat_logistics_account_quota", &labels).map(f64::to_bits),
                    account.quota_num.map(f64::to_bits)
                );
            }
        }
    }
}

#[test]
fn whole_page_is_the_same_in_every_format_but_for_the_process() {
    let (collector, exposition) = &*EXPOSITION;
    let snapshots = [Some(snapshot(vec![account("1", "YTO", 7.0)])), None];
    let scrape = scrape(collector, &snapshots);
    let page = |accept| {
        let mut samples =
            read(&exposition.page(&scrape, Scope::Everything, &[], form(accept, "gzip")));
        let all = samples.0.len();
        samples
            .0
            .retain(|(name, _), _| !name.starts_with("process_"));
        assert!(samples.0.len() < all, "process_* is there");
        samples
    };
    let expected = page("text/plain");
    assert!(page(OPENMETRICS) == expected && page(PROTOBUF) == expected);
    for (handler, code) in [("metrics", "200"), ("probe", "400"), ("other", "404")] {
        let labels = [("handler", handler), ("code", code)];
        assert_eq!(
            expected.value("wechat_logistics_exporter_http_requests_total", &labels),
            Some(0.0)
        );
    }
}

#[test]
fn page_without_apps_or_of_unknown_names_is_valid_in_every_format() {
    let (_, exposition) = &*EXPOSITION;
    let nothing = Scrape {
        readings: Vec::new(),
        now: noon(),
    };
    for accept in ["text/plain", OPENMETRICS, PROTOBUF] {
        for accept_encoding in ["identity", "gzip", "zstd"] {
            let form = form(accept, accept_encoding);
            for names in [vec![], vec!["no_such_metric".to_owned()]] {
                let page = exposition.page(&nothing, Scope::AppsOnly, &names, form);
                assert_eq!(read(&page), reading::Samples::default());
            }
        }
    }
}
