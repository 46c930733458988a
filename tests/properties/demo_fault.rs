//! The language of `--demo.fault`.

use wechat_logistics_exporter::demo::Fault;

use super::sentence;

/// What somebody types.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match text.parse::<Fault>() {
        Ok(fault) => {
            let written = fault.to_string();
            assert_eq!(
                written.parse().as_ref(),
                Ok(&fault),
                "written as {written:?}"
            );
        }
        Err(error) => {
            let error = error.to_string();
            // It quotes what was typed.
            if text.len() < 1024 {
                sentence::is_one_line(&error);
            }
        }
    }
}
