//! Finds the token in what a source gives: bare text, a JSON string, or JSON in the forms of token servers and SDKs.

use std::time::{Duration, SystemTime};

use secrecy::SecretString;
use serde_json::Value;

use super::error::no_token;
use crate::wechat::{AccessToken, Error};

/// The maximum that is read from a source. Unit: bytes.
pub(super) const TEXT_MAX: usize = 64 << 10;

/// The maximum length of a token. WeChat asks to reserve 512 (`getStableAccessToken`, seen 2026-11). Unit: bytes.
const TOKEN_MAX: usize = 4096;

/// The length below which text without a digit is a word. WeChat's tokens have more than 100 letters and digits.
const WORD_MAX: usize = 32;

/// The maximum lifetime. A longer one is a date or a mistake, because WeChat's tokens live for two hours.
const LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) const TOO_LONG: &str = "it is too long for a token";

const TOKEN_POINTERS: [&str; 9] = [
    "/access_token",
    "/accessToken",
    "/authorizer_access_token",
    "/data/access_token",
    "/data/accessToken",
    "/data/authorizer_access_token",
    "/token",
    "/data/token",
    "/data",
];
const LIFETIME_POINTERS: [&str; 3] = ["/expires_in", "/data/expires_in", "/time"];

/// Finds the token in what a source gave. Errors never show the text.
///
/// A lifetime in the text counts from `written`, and is ignored if that is `None`.
pub(super) fn find(
    bytes: &[u8],
    pointer: Option<&str>,
    written: Option<SystemTime>,
) -> Result<AccessToken, Error> {
    parse(bytes, pointer, written).map_err(no_token)
}

/// Parses the text. An error says what is wrong with it.
fn parse(
    bytes: &[u8],
    pointer: Option<&str>,
    written: Option<SystemTime>,
) -> Result<AccessToken, String> {
    if bytes.len() > TEXT_MAX {
        return Err(TOO_LONG.to_owned());
    }
    if is_serialized(bytes) {
        return Err(
            "it is serialized by PHP or Java; let that program store the token as plain text, or print it with a \
             token command"
                .to_owned(),
        );
    }
    let text = std::str::from_utf8(bytes).map_err(
        |_| "it is not text; let the program that keeps the token store it as plain text",
    )?;
    // Editors on Windows begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.starts_with('<') {
        return Err("it is an HTML page".to_owned());
    }
    match (serde_json::from_str(text), pointer) {
        (Ok(document), _) => in_document(&document, pointer, written),
        (Err(_), Some(pointer)) => Err(format!(
            "it is not JSON, so it has no {pointer}; correct or remove token_pointer"
        )),
        (Err(_), None) => Ok(AccessToken {
            secret: token(text)?,
            expires: None,
        }),
    }
}

/// Reports whether the bytes are from a language's own serializer: PHP's `serialize` or igbinary, or Java's.
fn is_serialized(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [b's' | b'a' | b'O' | b'C', b':', b'0'..=b'9', ..]
            | [0, 0, 0, 1 | 2, ..]
            | [0xac, 0xed, 0, 5, ..]
    )
}

fn in_document(
    document: &Value,
    pointer: Option<&str>,
    written: Option<SystemTime>,
) -> Result<AccessToken, String> {
    let errcode = document.get("errcode").and_then(number).unwrap_or(0.0);
    if errcode != 0.0 {
        return Err(format!(
            "it is WeChat's error {errcode}, passed on by the program that keeps the token"
        ));
    }
    let text = match (pointer, document) {
        (Some(pointer), _) => text_at(document, &[pointer])?,
        (None, Value::String(text)) => text,
        (None, _) => text_at(document, &TOKEN_POINTERS)?,
    };
    let lifetime = LIFETIME_POINTERS
        .iter()
        .find_map(|pointer| document.pointer(pointer).and_then(lifetime));
    Ok(AccessToken {
        secret: token(text.trim())?,
        expires: written.and_then(|written| written.checked_add(lifetime?)),
    })
}

/// Returns the first text at one of the pointers.
fn text_at<'a>(document: &'a Value, pointers: &[&str]) -> Result<&'a str, String> {
    let mut values = pointers.iter().filter_map(|at| document.pointer(at));
    if let Some(text) = values.clone().find_map(Value::as_str) {
        Ok(text)
    } else if document.is_null() || values.any(Value::is_null) {
        Err("it is null".to_owned())
    } else {
        Err(format!(
            "it is JSON without a text at {}; set token_pointer to where the token is",
            pointers.join(", ")
        ))
    }
}

fn token(text: &str) -> Result<SecretString, &'static str> {
    let is_token_character =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+/!*@|$".contains(&byte);
    let has_digit = text.contains(|c: char| c.is_ascii_digit());
    if text.is_empty() {
        Err("it is empty")
    } else if text.len() > TOKEN_MAX {
        Err(TOO_LONG)
    } else if !text.trim_end_matches('=').bytes().all(is_token_character) {
        Err("it holds characters that no token has; only the token alone or JSON can be read")
    } else if !has_digit && text.len() < WORD_MAX {
        Err("it is a word, not a token")
    } else {
        Ok(text.into())
    }
}

/// Reads a number, which the JSON libraries of some languages write as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => text.trim().parse().ok(),
        value => value.as_f64(),
    }
}

fn lifetime(value: &Value) -> Option<Duration> {
    let lifetime = Duration::try_from_secs_f64(number(value)?).ok();
    lifetime.filter(|lifetime| *lifetime <= LIFETIME_MAX)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    const NOW: SystemTime = SystemTime::UNIX_EPOCH;

    /// Returns the token and the seconds that it has left.
    fn parsed(
        text: impl AsRef<[u8]>,
        pointer: Option<&str>,
    ) -> Result<(String, Option<u64>), String> {
        let token = find(text.as_ref(), pointer, Some(NOW)).map_err(|error| error.to_string())?;
        let left = |expires: SystemTime| expires.duration_since(NOW).unwrap().as_secs();
        let text = token.secret.expose_secret().to_owned();
        Ok((text, token.expires.map(left)))
    }

    #[test]
    fn token_is_found_in_every_form_that_token_servers_and_sdks_use() {
        #[rustfmt::skip]
        let table = [
            ("82_tok-En", None),
            ("\u{feff}82_tok-En\r\n", None),
            ("\"82_tok-En\"", None),
            (r#"{"access_token":"82_tok-En","expires_in":7130}"#, Some(7130)),
            (r#"{"errcode":0,"errmsg":"ok","access_token":"82_tok-En","expires_in":"7130"}"#, Some(7130)),
            (r#"{"success":true,"code":0,"data":{"access_token":"82_tok-En","expires_in":60.5}}"#, Some(60)),
            (r#"{"token":"82_tok-En","time":12}"#, Some(12)),
            (r#"{"data":{"token":"82_tok-En"}}"#, None),
            (r#"{"data":"82_tok-En"}"#, None),
            (r#"{"accessToken":"82_tok-En"}"#, None),
            (r#"{"authorizer_access_token":"82_tok-En","expires_in":7200}"#, Some(7200)),
            (r#"{"access_token":null,"data":{"access_token":"82_tok-En"}}"#, None),
            // These can't be the seconds left.
            (r#"{"token":"82_tok-En","expires_in":-5}"#, None),
            (r#"{"token":"82_tok-En","expires_in":1764547200}"#, None),
            (r#"{"token":"82_tok-En","expires_in":1e300}"#, None),
            (r#"{"token":"82_tok-En","expires_in":"NaN"}"#, None),
        ];
        for (text, seconds) in table {
            let found = parsed(text, None);
            assert_eq!(found, Ok(("82_tok-En".to_owned(), seconds)), "{text}");
        }
    }

    #[test]
    fn configured_pointer_replaces_the_usual_ones() {
        let pointer = Some("/wx/0/t");
        let text = r#"{"access_token":"wrong-1","expires_in":99,"wx":[{"t":"right-1"}]}"#;
        assert_eq!(parsed(text, pointer), Ok(("right-1".to_owned(), Some(99))));
        for (text, sentence) in [
            (r#"{"access_token":"wrong-1"}"#, "without a text at /wx/0/t"),
            ("bare-1", "it is not JSON, so it has no /wx/0/t"),
        ] {
            let error = parsed(text, pointer).unwrap_err();
            assert!(error.contains(sentence), "{error}");
        }
    }

    #[test]
    fn what_is_not_a_token_is_told_apart() {
        let long = format!("1{}", "x".repeat(TOKEN_MAX));
        #[rustfmt::skip]
        let table: [(&[u8], &str); 22] = [
            (b"", "it is empty"),
            (b" \n", "it is empty"),
            (br#"{"access_token":""}"#, "it is empty"),
            (b"null", "it is null"),
            (br#"{"data":null}"#, "it is null"),
            (b"<!DOCTYPE html><html>", "HTML"),
            (br#"{"errcode":"-1","access_token":"tok-1"}"#, "WeChat's error -1"),
            (b"two words 1", "characters that no token has"),
            (b"\"tab\\there1\"", "characters that no token has"),
            (b"nul1\0", "characters that no token has"),
            ("没有1".as_bytes(), "characters that no token has"),
            (br#"{"access_token":"tok-1"#, "characters that no token has"),
            (b"access_token=82_tok-En", "only the token alone or JSON"),
            (b"not_found", "it is a word"),
            (br#"{"token":"pending"}"#, "it is a word"),
            (long.as_bytes(), "too long"),
            (b"[]", "it is JSON without a text at /access_token"),
            (br#"{"access_token":7}"#, "set token_pointer"),
            (br#"s:9:"82_tok-En";"#, "serialized by PHP or Java; let that program"),
            (b"\x00\x00\x00\x02\x11\x0982_tok-En", "by PHP or Java"),
            (b"\xac\xed\x00\x05t\x00\x0982_tok-En", "by PHP or Java"),
            (b"82_tok-En\xff", "it is not text"),
        ];
        for (bytes, sentence) in table {
            let error = parsed(bytes, None).unwrap_err();
            let text = String::from_utf8_lossy(bytes);
            assert!(error.contains(sentence), "{text:.40}: {error}");
        }
    }
}
