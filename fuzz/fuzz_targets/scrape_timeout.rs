#![no_main]

use wechat_logistics_exporter_fuzz::properties::scrape_timeout::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
