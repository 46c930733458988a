//! `--web.config.file`.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use wechat_logistics_exporter::web::config;

use super::scratch;
use super::sentence::{self, CANARY};

/// A certificate and its key, which configurations name as `server.pem` and `server.key`.
const PAIR: [(&str, &str); 2] = [
    ("server.pem", include_str!("../data/web-config/server.pem")),
    ("server.key", include_str!("../data/web-config/server.key")),
];

thread_local! {
    static PLACE: Place = Place::new();
}

struct Place {
    _folder: TempDir,
    file: PathBuf,
}

impl Place {
    fn new() -> Self {
        let folder = scratch::folder();
        for (name, text) in PAIR {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let file = folder.path().join("web.yml");
        Self {
            _folder: folder,
            file,
        }
    }

    fn check(&self, text: &[u8]) -> Result<(), String> {
        fs::write(&self.file, text).unwrap();
        config::check(&self.file)
    }
}

/// Whatever an operator writes.
pub fn check(input: &[u8]) {
    PLACE.with(|place| {
        if let Err(text) = place.check(input) {
            sentence::names_its_place(&text, &place.file, input);
        }
        if let Ok(text) = std::str::from_utf8(input)
            && !text.contains(CANARY)
        {
            let document = sentence::one_of(&with_secrets(text), input);
            if let Err(error) = place.check(document.as_bytes()) {
                sentence::keeps_the_secret(&error, &document);
            }
        }
    });
}

/// Documents with a hash or a key where they belong, or nearby, around any other text.
fn with_secrets(text: &str) -> Vec<String> {
    let before = format!("{text}{CANARY}");
    let after = format!("{CANARY}{text}");
    let mut documents: Vec<String> = [
        json!({"basic_auth_users": {"bob": after}}),
        json!({"basic_auth_users": {"bob": [before]}}),
        json!({"basic_auth_users": {"bob": {"password": after}}}),
        json!({"basic_auth_users": before}),
        json!({"basic_auth_users": [after]}),
        json!({"basic_auth_user": {"bob": after}}),
        json!({"tls_server_config": {"cert_file": "server.pem", "key": after}}),
        json!({"tls_server_config": {"cert_file": "server.pem", "key": [before]}}),
        json!({"tls_server_config": {"cert": before, "key_file": "server.key"}}),
        json!({"tls_server_config": {"cert_file": "server.pem", "private_key": after}}),
        json!({"tls_server_config": before}),
        json!(after),
    ]
    .iter()
    .map(serde_json::Value::to_string)
    .collect();
    // A fault in the line after a secret.
    documents.push(format!("basic_auth_users:\n  bob: {CANARY}\n{text}\n"));
    documents.push(format!("basic_auth_users:\n  bob: \"{CANARY}\n{text}\n"));
    documents
}
