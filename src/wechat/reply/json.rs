//! JSON as it comes: read in one pass where it is JSON, and once more after a repair where it nearly is.
//!
//! Known deviations are control characters in the shop's own remarks, halves of surrogate pairs from strings that were
//! cut, bytes that are no UTF-8, and numbers that no float holds. None of them may cost the whole list.

use std::borrow::Cow;

use serde::de::DeserializeSeed;
use serde_json::error::Category;

/// Reads `body`; invalid UTF-8 is replaced and a byte order mark is passed over.
///
/// Tries a repaired copy where the body is no JSON as it stands; the plain path copies nothing.
pub(super) fn read<S, V>(body: &[u8], seed: S) -> Result<V, String>
where
    S: Copy + for<'any> DeserializeSeed<'any, Value = V>,
{
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    match std::str::from_utf8(body) {
        Ok(text) => read_text(text, seed),
        Err(_) => read_text(&String::from_utf8_lossy(body), seed),
    }
}

fn read_text<S, V>(text: &str, seed: S) -> Result<V, String>
where
    S: Copy + for<'any> DeserializeSeed<'any, Value = V>,
{
    read_strictly(text, seed).or_else(|error| match repaired(text) {
        Cow::Borrowed(_) => Err(describe(&error, text)),
        Cow::Owned(repaired) => {
            read_strictly(&repaired, seed).map_err(|error| describe(&error, &repaired))
        }
    })
}

fn read_strictly<'de, S: DeserializeSeed<'de>>(
    text: &'de str,
    seed: S,
) -> Result<S::Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// What is wrong, without a word of the text itself: it could hold a token.
fn describe(error: &serde_json::Error, text: &str) -> String {
    let start = text.trim_start();
    match error.classify() {
        _ if start.is_empty() => "it is empty".to_owned(),
        _ if start.starts_with('<') => {
            "it is a web page and not JSON; a proxy, a firewall or a login portal may have answered"
                .to_owned()
        }
        Category::Eof => format!("it ends in the midst of JSON, after {} bytes", text.len()),
        _ => format!(
            "it is not JSON from line {}, column {} on",
            error.line(),
            error.column()
        ),
    }
}

/// The text with the known deviations mended; borrowed where there is none, or so many that it would grow large.
fn repaired(text: &str) -> Cow<'_, str> {
    let mut repair = Repair {
        text,
        copied: 0,
        out: String::new(),
    };
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut in_string = false;
    let out_max = 2 * text.len() + 4096;
    while let Some(&byte) = bytes.get(at)
        && repair.out.len() <= out_max
    {
        at += match (in_string, byte) {
            (_, b'"') => {
                in_string = !in_string;
                1
            }
            (true, b'\\') => repair.escape(at),
            (true, control @ ..0x20) => repair.replace(at, 1, &format!("\\u{control:04x}")),
            (false, b'-' | b'0'..=b'9') => repair.number(at),
            _ => 1,
        };
    }
    if repair.out.is_empty() || repair.out.len() > out_max {
        Cow::Borrowed(text)
    } else {
        repair.out.push_str(&text[repair.copied..]);
        Cow::Owned(repair.out)
    }
}

struct Repair<'a> {
    text: &'a str,
    /// Bytes of the text that `out` stands for.
    copied: usize,
    out: String,
}

impl Repair<'_> {
    /// Writes something else for `length` bytes, which begin and end at ASCII characters. Returns `length`.
    fn replace(&mut self, at: usize, length: usize, by: &str) -> usize {
        self.out.push_str(&self.text[self.copied..at]);
        self.out.push_str(by);
        self.copied = at + length;
        length
    }

    /// Looks at the escape that begins here and returns its length.
    fn escape(&mut self, at: usize) -> usize {
        /// Of `\u1234`.
        const UNIT: usize = 6;
        match self.text.as_bytes().get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => match (self.code_unit(at), self.code_unit(at + UNIT)) {
                (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 2 * UNIT,
                (Some(0xd800..=0xdfff), _) => self.replace(at, UNIT, "\\ufffd"),
                (Some(_), _) => UNIT,
                (None, _) => self.replace(at, 1, "\\\\"),
            },
            // Not an escape: the backslash means itself.
            _ => self.replace(at, 1, "\\\\"),
        }
    }

    /// The code unit of a `\u1234` that stands here.
    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 6)?.strip_prefix("\\u")?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        u16::from_str_radix(digits, 16).ok()
    }

    /// Looks at the number that begins here and returns its length. One that no float holds says nothing.
    fn number(&mut self, at: usize) -> usize {
        let rest = &self.text[at..];
        let length = rest
            .find(|c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'))
            .unwrap_or(rest.len());
        match rest[..length].parse::<f64>() {
            Ok(value) if value.is_infinite() => self.replace(at, length, "null"),
            _ => length,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    /// Reads any JSON, and can be used twice.
    #[derive(Clone, Copy)]
    struct AnyJson;

    impl<'de> DeserializeSeed<'de> for AnyJson {
        type Value = Value;

        fn deserialize<D: serde::Deserializer<'de>>(
            self,
            deserializer: D,
        ) -> Result<Value, D::Error> {
            serde::Deserialize::deserialize(deserializer)
        }
    }

    fn read_string(json: &[u8]) -> String {
        match read(json, AnyJson) {
            Ok(Value::String(text)) => text,
            other => panic!("not read as a string: {other:?}"),
        }
    }

    #[test]
    fn control_characters_in_strings_are_kept() {
        assert_eq!(read_string(b"\"a\nb\tc\x01\""), "a\nb\tc\u{1}");
    }

    #[test]
    fn half_a_surrogate_pair_becomes_the_replacement_character() {
        assert_eq!(read_string(br#""a\ud83d""#), "a\u{fffd}");
        assert_eq!(read_string(br#""\ude00b\n""#), "\u{fffd}b\n");
        assert_eq!(read_string(br#""\ud83d\ud83d\ude00""#), "\u{fffd}\u{1f600}");
    }

    #[test]
    fn backslash_that_escapes_nothing_means_itself() {
        assert_eq!(read_string(br#""C:\x\u12""#), r"C:\x\u12");
        assert_eq!(read_string("\"\\圆\n\"".as_bytes()), "\\圆\n");
    }

    #[test]
    fn bytes_that_are_no_utf8_are_replaced() {
        assert_eq!(read_string(b"\"a\xffb\""), "a\u{fffd}b");
    }

    #[test]
    fn number_that_no_float_holds_says_nothing() {
        let read = read(br#"{"a":1e999,"b":-1e999,"c":1,"d":"1e999"}"#, AnyJson);
        let expected = serde_json::json!({"a": null, "b": null, "c": 1, "d": "1e999"});
        assert_eq!(read, Ok(expected));
    }

    #[test]
    fn text_of_nothing_but_deviations_is_not_repaired() {
        let text = format!("\"{}\"", "\u{1}".repeat(100_000));
        assert!(read(text.as_bytes(), AnyJson).is_err());
    }

    #[test]
    fn byte_order_mark_is_passed_over() {
        assert_eq!(read_string(b"\xef\xbb\xbf\"a\""), "a");
    }

    #[test]
    fn truncated_and_trailing_text_is_not_read() {
        for json in [
            "[1", "{\"a\":", "\"a", "[1] [2]", "{} x", "", " ", "<html>", "\"a\n",
        ] {
            assert!(read(json.as_bytes(), AnyJson).is_err(), "{json:?}");
        }
    }

    #[test]
    fn description_of_a_fault_never_quotes_the_text() {
        for json in [
            "TOKEN",
            "<p>TOKEN",
            "{TOKEN",
            "{\"a\":TOKEN}",
            "\"TOKEN",
            "[\"TOKEN\"",
            "{} TOKEN",
        ] {
            let error = read(json.as_bytes(), AnyJson).unwrap_err();
            assert!(!error.contains("TOKEN"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes, AnyJson);
        }

        #[test]
        fn no_near_json_panics(text in r#"["\\u0-9a-fdDeE{}\[\]:,.+\-\n圆]{0,60}"#) {
            let _ = read(text.as_bytes(), AnyJson);
        }

        #[test]
        fn repair_leaves_valid_json_alone(text in any::<String>(), number in any::<f64>()) {
            let json = serde_json::json!({"text": text, "list": [number, -1]}).to_string();
            prop_assert!(matches!(repaired(&json), Cow::Borrowed(_)), "{json}");
        }

        #[test]
        fn string_with_raw_control_characters_is_read_as_it_was(text in "[a-z\\x00-\\x1f圆]{0,40}") {
            prop_assert_eq!(read_string(format!("\"{text}\"").as_bytes()), text);
        }
    }
}
