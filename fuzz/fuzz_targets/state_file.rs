#![no_main]

use wechat_logistics_exporter_fuzz::properties::state_file::check;

libfuzzer_sys::fuzz_target!(|input: &[u8]| check(input));
