//! What reading an account list costs, against what others make of the same bytes.
//!
//! `cargo run --release --manifest-path benches/reading/Cargo.toml -- --bench`
//!
//! `exporter` takes every field in each of its spellings, drops what can't be read and leaves accounts that outlive the
//! bytes. The others read one fixed shape, `owned` into accounts like the exporter's, `borrowed` into such as point into
//! the bytes, which would have to stay; a field of another type fails the whole list.

use std::borrow::Cow;
use std::fmt::Write as _;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use serde::Deserialize;
use wechat_logistics_exporter::wechat::{ListLimits, read_account_list};

const ACCOUNTS: [usize; 4] = [10, 1_000, 20_000, 100_000];

fn main() {
    for accounts in ACCOUNTS {
        let body = body(accounts);
        let ours = read_account_list(body.as_bytes(), ListLimits::default()).expect("it is a list");
        let theirs: Reply<Owned> = serde_json::from_str(&body).expect("it is a list");
        assert_eq!(ours.accounts.len(), theirs.list.len());
    }
    divan::main();
}

/// A reply as WeChat sends it: compact, Chinese as it is, 300 bytes an account.
fn body(accounts: usize) -> String {
    let mut body = format!(r#"{{"count":{accounts},"list":["#);
    for number in 0..accounts {
        let separator = if number == 0 { "" } else { "," };
        let courier = ["YTO", "ZTO", "STO", "SF"][number % 4];
        let quota = number * 7919 % 10_000;
        write!(
            body,
            r#"{separator}{{"biz_id":"某某快递公司_{number}","delivery_id":"{courier}","create_time":{},"update_time":{},"status_code":0,"alias":"","remark_wrong_msg":"","remark_content":"","quota_num":{quota},"quota_update_time":{},"service_type":[{{"service_type":1,"service_name":"标准快递"}}]}}"#,
            1_700_000_000 + number,
            1_750_000_000 + number,
            1_795_000_000 + number,
        )
        .expect("a String takes everything");
    }
    body.push_str("]}");
    body
}

#[derive(Deserialize)]
struct Reply<A> {
    list: Vec<A>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is what is measured")]
struct Owned {
    biz_id: Box<str>,
    delivery_id: Box<str>,
    create_time: Option<i64>,
    update_time: Option<i64>,
    status_code: Option<i64>,
    alias: Box<str>,
    remark_wrong_msg: Box<str>,
    remark_content: Box<str>,
    quota_num: Option<f64>,
    quota_update_time: Option<i64>,
    service_type: Vec<OwnedService>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is what is measured")]
struct OwnedService {
    service_type: i64,
    service_name: Box<str>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is what is measured")]
struct Borrowed<'b> {
    #[serde(borrow)]
    biz_id: Cow<'b, str>,
    #[serde(borrow)]
    delivery_id: Cow<'b, str>,
    create_time: Option<i64>,
    update_time: Option<i64>,
    status_code: Option<i64>,
    #[serde(borrow)]
    alias: Cow<'b, str>,
    #[serde(borrow)]
    remark_wrong_msg: Cow<'b, str>,
    #[serde(borrow)]
    remark_content: Cow<'b, str>,
    quota_num: Option<f64>,
    quota_update_time: Option<i64>,
    #[serde(borrow)]
    service_type: Vec<BorrowedService<'b>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "reading them is what is measured")]
struct BorrowedService<'b> {
    service_type: i64,
    #[serde(borrow)]
    service_name: Cow<'b, str>,
}

fn measure<T>(bencher: Bencher<'_, '_>, accounts: usize, read: impl Fn(&[u8]) -> T + Sync) {
    let body = body(accounts).into_bytes();
    bencher
        .counter(BytesCount::of_slice(&body))
        .counter(ItemsCount::new(accounts))
        .bench(|| read(black_box(&body)));
}

#[divan::bench(args = ACCOUNTS)]
fn exporter(bencher: Bencher<'_, '_>, accounts: usize) {
    let limits = ListLimits::default();
    measure(bencher, accounts, |body| {
        read_account_list(body, limits).expect("it is a list")
    });
}

#[divan::bench(args = ACCOUNTS)]
fn serde_json_value(bencher: Bencher<'_, '_>, accounts: usize) {
    measure(bencher, accounts, |body| -> serde_json::Value {
        serde_json::from_slice(body).expect("it is JSON")
    });
}

#[divan::bench(args = ACCOUNTS)]
fn serde_json_owned(bencher: Bencher<'_, '_>, accounts: usize) {
    measure(bencher, accounts, |body| -> Reply<Owned> {
        serde_json::from_slice(body).expect("it is a list")
    });
}

#[divan::bench(args = ACCOUNTS)]
fn serde_json_borrowed(bencher: Bencher<'_, '_>, accounts: usize) {
    let body = body(accounts).into_bytes();
    bencher
        .counter(BytesCount::of_slice(&body))
        .counter(ItemsCount::new(accounts))
        .bench(|| -> Reply<Borrowed<'_>> {
            serde_json::from_slice(black_box(&body)).expect("it is a list")
        });
}

#[divan::bench(args = ACCOUNTS)]
fn sonic_rs_owned(bencher: Bencher<'_, '_>, accounts: usize) {
    measure(bencher, accounts, |body| -> Reply<Owned> {
        sonic_rs::from_slice(body).expect("it is a list")
    });
}

#[divan::bench(args = ACCOUNTS)]
fn sonic_rs_borrowed(bencher: Bencher<'_, '_>, accounts: usize) {
    let body = body(accounts).into_bytes();
    bencher
        .counter(BytesCount::of_slice(&body))
        .counter(ItemsCount::new(accounts))
        .bench(|| -> Reply<Borrowed<'_>> {
            sonic_rs::from_slice(black_box(&body)).expect("it is a list")
        });
}

// simd-json writes into the bytes that it reads; the copy that it needs each time is not counted.

#[divan::bench(args = ACCOUNTS)]
fn simd_json_owned(bencher: Bencher<'_, '_>, accounts: usize) {
    let body = body(accounts).into_bytes();
    bencher
        .counter(BytesCount::of_slice(&body))
        .counter(ItemsCount::new(accounts))
        .with_inputs(|| body.clone())
        .bench_refs(|body| -> Reply<Owned> {
            simd_json::serde::from_slice(body).expect("it is a list")
        });
}

#[divan::bench(args = ACCOUNTS)]
fn simd_json_borrowed(bencher: Bencher<'_, '_>, accounts: usize) {
    let body = body(accounts).into_bytes();
    bencher
        .counter(BytesCount::of_slice(&body))
        .counter(ItemsCount::new(accounts))
        .with_inputs(|| body.clone())
        .bench_refs(|body| -> usize {
            let reply: Reply<Borrowed<'_>> =
                simd_json::serde::from_slice(body).expect("it is a list");
            black_box(&reply).list.len()
        });
}
