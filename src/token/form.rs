//! The forms in which tokens are handed out: bare text, a JSON string, or JSON documents of known shapes.

use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;

use super::error::Unusable;
use crate::config::TokenPointers;

/// What is taken in of a source. Unit: bytes.
pub(super) const TEXT_MAX: usize = 64 << 10;

/// Longest token. Unit: bytes. WeChat asks to reserve 512 (`getStableAccessToken`, seen 2026-11).
const TOKEN_MAX: usize = 4096;

/// A longer rest of life is no rest of life (a date, for example): WeChat's tokens live two hours.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

/// Where token servers put the token, and the seconds it has left.
const TOKEN_POINTERS: [&str; 5] = [
    "/access_token",
    "/data/access_token",
    "/token",
    "/data/token",
    "/data",
];
const EXPIRES_POINTERS: [&str; 3] = ["/expires_in", "/data/expires_in", "/time"];

/// A token with what the text beside it says of its end.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) token: SecretString,
    /// Time left when the text was written.
    pub(super) lifetime: Option<Duration>,
}

/// Finds the token in what a source gave.
pub(super) fn find(bytes: &[u8], pointers: &TokenPointers) -> Result<Found, Unusable> {
    if bytes.len() > TEXT_MAX {
        return Err(Unusable::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Unusable::NotAToken)?;
    // Editors on Windows begin a file with a byte-order mark.
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() {
        return Err(Unusable::Empty);
    }
    if text.starts_with('<') {
        return Err(Unusable::Html);
    }
    match serde_json::from_str::<Value>(text) {
        Ok(document) => in_document(&document, pointers),
        Err(_) => match &pointers.token {
            Some(pointer) => Err(Unusable::NotJson(pointer.clone())),
            None => Ok(Found {
                token: token(text)?,
                lifetime: None,
            }),
        },
    }
}

fn in_document(document: &Value, pointers: &TokenPointers) -> Result<Found, Unusable> {
    if let Some(errcode) = document.get("errcode").and_then(integer)
        && errcode != 0
    {
        return Err(Unusable::Errcode(errcode));
    }
    let text = match (&pointers.token, document) {
        (Some(pointer), _) => at(document, &[pointer]),
        (None, Value::String(text)) => Ok(text.as_str()),
        (None, Value::Null) => Err(Unusable::Null),
        (None, _) => at(document, &TOKEN_POINTERS),
    }?;
    let lifetime = match &pointers.expires {
        Some(pointer) => document.pointer(pointer).and_then(lifetime),
        None => EXPIRES_POINTERS
            .iter()
            .find_map(|pointer| document.pointer(pointer).and_then(lifetime)),
    };
    Ok(Found {
        token: token(text.trim())?,
        lifetime,
    })
}

/// The first text at one of the places.
fn at<'a, P: AsRef<str>>(document: &'a Value, pointers: &[P]) -> Result<&'a str, Unusable> {
    let values = || pointers.iter().filter_map(|p| document.pointer(p.as_ref()));
    match values().find_map(Value::as_str) {
        Some(text) => Ok(text),
        None if values().any(Value::is_null) => Err(Unusable::Null),
        None => {
            let places: Vec<_> = pointers.iter().map(AsRef::as_ref).collect();
            Err(Unusable::NoText(places.join(", ")))
        }
    }
}

fn token(text: &str) -> Result<SecretString, Unusable> {
    if text.is_empty() {
        return Err(Unusable::Empty);
    }
    // What scripts print for "there is none".
    if ["null", "undefined", "none", "nil", "false"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
    {
        return Err(Unusable::Null);
    }
    // A sentence, broken JSON or a serialised object (PHP's and Java's in Redis) is no token.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && !b"\"'`<>{}\\;".contains(&byte))
    {
        return Err(Unusable::NotAToken);
    }
    if text.len() > TOKEN_MAX {
        return Err(Unusable::TooLong);
    }
    Ok(text.into())
}

/// A number, also as text, as some languages' JSON libraries write it.
fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_i64(),
    }
}

fn lifetime(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.trim().parse().ok()?,
        value => value.as_f64()?,
    };
    // A negative rest is none; NaN and what is too large for a duration say nothing.
    Duration::try_from_secs_f64(f64::max(seconds, 0.0))
        .ok()
        .filter(|lifetime| !seconds.is_nan() && *lifetime <= LIFETIME_MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn usual(text: &str) -> Result<(String, Option<u64>), Unusable> {
        with(text, &TokenPointers::default())
    }

    fn with(text: &str, pointers: &TokenPointers) -> Result<(String, Option<u64>), Unusable> {
        find(text.as_bytes(), pointers).map(|found| {
            let seconds = found.lifetime.map(|lifetime| lifetime.as_secs());
            (found.token.expose_secret().to_owned(), seconds)
        })
    }

    #[test]
    fn token_is_found_in_every_form_that_token_servers_and_sdks_use() {
        for (text, seconds) in [
            ("82_tok-En", None),
            ("82_tok-En\r\n", None),
            ("\u{feff}82_tok-En\n", None),
            ("\"82_tok-En\"", None),
            (
                r#"{"access_token":"82_tok-En","expires_in":7130}"#,
                Some(7130),
            ),
            (
                r#"{"errcode":0,"errmsg":"ok","access_token":"82_tok-En","expires_in":"7130"}"#,
                Some(7130),
            ),
            (
                r#"{"success":true,"code":0,"data":{"access_token":"82_tok-En","expires_in":60.5}}"#,
                Some(60),
            ),
            (r#"{"token":"82_tok-En","time":12}"#, Some(12)),
            (r#"{"data":{"token":"82_tok-En"}}"#, None),
            (r#"{"data":"82_tok-En"}"#, None),
            (
                r#"{"access_token":null,"data":{"access_token":"82_tok-En"}}"#,
                None,
            ),
        ] {
            assert_eq!(usual(text), Ok(("82_tok-En".to_owned(), seconds)), "{text}");
        }
    }

    #[test]
    fn configured_pointers_replace_the_usual_places() {
        let pointers = TokenPointers {
            token: Some("/wx/0/t".into()),
            expires: Some("/wx/0/left".into()),
        };
        let text = r#"{"access_token":"wrong","expires_in":1,"wx":[{"t":"right","left":99}]}"#;
        assert_eq!(with(text, &pointers), Ok(("right".into(), Some(99))));
        assert_eq!(
            with(r#"{"access_token":"wrong"}"#, &pointers),
            Err(Unusable::NoText("/wx/0/t".into()))
        );
        assert_eq!(
            with("bare", &pointers),
            Err(Unusable::NotJson("/wx/0/t".into()))
        );
    }

    #[test]
    fn what_is_no_token_is_told_apart() {
        let long = "x".repeat(TOKEN_MAX + 1);
        let longer = "x".repeat(TEXT_MAX + 1);
        for (text, why) in [
            ("", Unusable::Empty),
            (" \n", Unusable::Empty),
            ("\"\"", Unusable::Empty),
            (r#"{"access_token":""}"#, Unusable::Empty),
            ("null", Unusable::Null),
            ("None", Unusable::Null),
            ("undefined", Unusable::Null),
            (r#"{"access_token":null}"#, Unusable::Null),
            (r#"{"data":null}"#, Unusable::Null),
            ("<!DOCTYPE html><html>", Unusable::Html),
            (
                r#"{"errcode":40013,"errmsg":"invalid appid"}"#,
                Unusable::Errcode(40013),
            ),
            (
                r#"{"errcode":"-1","access_token":"tok"}"#,
                Unusable::Errcode(-1),
            ),
            ("two words", Unusable::NotAToken),
            ("two\nlines", Unusable::NotAToken),
            ("\"tab\\there\"", Unusable::NotAToken),
            ("nul\0", Unusable::NotAToken),
            ("没有", Unusable::NotAToken),
            (r#"{"access_token":"tok"#, Unusable::NotAToken),
            (r#"s:3:"tok";"#, Unusable::NotAToken),
            (&long, Unusable::TooLong),
            (&longer, Unusable::TooLong),
        ] {
            assert_eq!(usual(text), Err(why), "{text:.40}");
        }
        for text in ["7", "true", "[]", "{}", r#"{"access_token":7}"#] {
            assert!(matches!(usual(text), Err(Unusable::NoText(_))), "{text}");
        }
    }

    #[test]
    fn rest_of_life_that_can_not_be_is_unknown() {
        for (value, seconds) in [
            ("0", Some(0)),
            ("-5", Some(0)),
            ("1e300", None),
            ("1764547200", None),
            ("\"soon\"", None),
            ("\"NaN\"", None),
            ("\"inf\"", None),
            ("null", None),
        ] {
            let text = format!(r#"{{"token":"tok","expires_in":{value}}}"#);
            assert_eq!(usual(&text), Ok(("tok".into(), seconds)), "{value}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic_and_every_token_found_can_travel_in_a_query(
            bytes in prop::collection::vec(any::<u8>(), 0..64),
            text in r#"[{}\[\]":,a-z_0-9 \n]{0,40}"#,
        ) {
            for bytes in [bytes.as_slice(), text.as_bytes()] {
                if let Ok(found) = find(bytes, &TokenPointers::default()) {
                    prop_assert!(found.token.expose_secret().bytes().all(|b| b.is_ascii_graphic()));
                }
            }
        }

        #[test]
        fn error_never_shows_what_was_given(text in "canary[ \n\"<;]{1,3}[a-z]{0,5}") {
            if let Err(why) = usual(&text) {
                let shown = format!("{why} {why:?}");
                prop_assert!(!shown.contains("canary"));
            }
        }
    }
}
