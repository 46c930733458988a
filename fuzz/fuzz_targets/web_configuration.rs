#![no_main]

use wechat_logistics_exporter_fuzz::properties::web_configuration::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
