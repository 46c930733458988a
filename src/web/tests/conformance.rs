//! `promtool check web-config` (exporter-toolkit's own check) and ours give the same verdict on each file
//! under `tests/data/web-config`, except for those listed here and in docs/web-configuration.md.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::web_config::check;

/// Files that the exporter accepts and Debian 12's promtool (2.42, of 2023) doesn't know yet.
const NEWER_THAN_PROMTOOL: [&str; 6] = [
    "rate-limit",
    "rate-limit-off",
    "tls-client-ca-inline",
    "tls-client-sans",
    "tls-file-and-inline-file-counts",
    "tls-inline",
];

/// Files that promtool accepts and the exporter refuses, with the reason.
const STRICTER: [(&str, &str); 11] = [
    (
        "client-ca-empty",
        "without a certificate in it, nobody could connect",
    ),
    ("curve-p521", "rustls has no P-521 key exchange with ring"),
    (
        "header-with-newline",
        "a header can't carry it; Go leaves it out in silence",
    ),
    ("tls-10", "rustls has no TLS 1.0"),
    ("tls-key-p521", "ring has no P-521"),
    ("tls-key-rsa1024", "ring takes no RSA key below 2048 bits"),
    ("tls-max-11", "rustls has no TLS 1.1"),
    ("two-documents", "promtool does not look at the second"),
    ("user-password-no-base64", "no password would ever match"),
    ("versions-crossed", "nobody could connect"),
    ("weak-cipher", "rustls has no CBC cipher suites"),
];

fn files(kind: &str) -> Vec<(String, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/web-config")
        .join(kind);
    let mut files: Vec<(String, PathBuf)> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path))
        .collect();
    files.sort();
    assert!(files.len() > 20);
    files
}

/// Reports whether promtool accepts the file.
fn promtool_takes(path: &Path) -> bool {
    let mut promtool = Command::new("promtool");
    let output = promtool.args(["check", "web-config"]).arg(path).output();
    let output = output.expect("promtool is installed (Debian package prometheus)");
    output.status.success()
}

#[test]
fn files_get_the_verdict_of_their_folder_from_us_and_from_promtool() {
    for (name, path) in files("good") {
        assert_eq!(check(&path), Ok(()), "{name}");
        let is_newer = NEWER_THAN_PROMTOOL.contains(&name.as_str());
        assert!(promtool_takes(&path) || is_newer, "{name}");
    }
    for (name, path) in files("bad") {
        let error = check(&path).expect_err(&name).to_string();
        assert!(!error.contains('\n'), "{name}: one sentence: {error}");
        let place = format!("bad/{name}.yml, line ");
        assert!(
            error.contains(&place),
            "{name}: it names the place: {error}"
        );
        let is_stricter = STRICTER.iter().any(|(stricter, _)| *stricter == name);
        assert_eq!(promtool_takes(&path), is_stricter, "{name}");
    }
}
