//! `--web.config.file`.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use wechat_logistics_exporter::web_config;

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
        web_config::check(&self.file).map_err(|error| error.to_string())
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
            let document = with_secret(text, sentence::one_of(SECRET_PLACES, input));
            if let Err(error) = place.check(document.as_bytes()) {
                sentence::keeps_the_secret(&error, &document);
            }
        }
    });
}

/// Ways to write a hash or a key into a document.
const SECRET_PLACES: usize = 14;

/// A document with a hash or a key where it belongs, or nearby, around any other text.
fn with_secret(text: &str, place: usize) -> String {
    let before = || format!("{text}{CANARY}");
    let after = || format!("{CANARY}{text}");
    let document = match place {
        0 => json!({"basic_auth_users": {"bob": after()}}),
        1 => json!({"basic_auth_users": {"bob": [before()]}}),
        2 => json!({"basic_auth_users": {"bob": {"password": after()}}}),
        3 => json!({"basic_auth_users": before()}),
        4 => json!({"basic_auth_users": [after()]}),
        5 => json!({"basic_auth_user": {"bob": after()}}),
        6 => json!({"tls_server_config": {"cert_file": "server.pem", "key": after()}}),
        7 => json!({"tls_server_config": {"cert_file": "server.pem", "key": [before()]}}),
        8 => json!({"tls_server_config": {"cert": before(), "key_file": "server.key"}}),
        9 => json!({"tls_server_config": {"cert_file": "server.pem", "private_key": after()}}),
        10 => json!({"tls_server_config": before()}),
        11 => json!(after()),
        // A fault in the line after a secret.
        12 => return format!("basic_auth_users:\n  bob: {CANARY}\n{text}\n"),
        _ => return format!("basic_auth_users:\n  bob: \"{CANARY}\n{text}\n"),
    };
    document.to_string()
}
