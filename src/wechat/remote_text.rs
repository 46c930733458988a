//! Cleans text from remote servers for log lines: without secrets, without control characters, and short.

/// The maximum length. WeChat's longest message, that of 40164, has about 150. Unit: characters.
const CHARS_MAX: usize = 300;
/// The length from which a run of token characters counts as a secret, even an unknown one. An AppSecret has 32
/// characters, a token more than 100, a `rid` only 26.
const SECRET_CHARS: usize = 32;
const REDACTED: &str = "[redacted]";

/// Cleans remote text for a log line. `secrets` are those of the call that it answers.
pub(super) fn clean(text: &str, secrets: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        // The secret as it is encoded in the query of a URL.
        let encoded: String = form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        text = text.replace(*secret, REDACTED).replace(&encoded, REDACTED);
    }
    let is_outside = |c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_');
    let text = without_runs(&text, is_outside);
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || is_unprintable(c))
        .filter(|word| !word.is_empty())
        .collect();
    let line = words.join(" ");
    match line.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Reports whether a character is a control character, or reorders or hides the text around it.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Redacts words of letters and digits that are as long as a secret.
pub(crate) fn without_long_words(text: &str) -> String {
    without_runs(text, |c| !c.is_ascii_alphanumeric())
}

/// Redacts runs that are as long as a secret. `is_outside` matches the characters that end a run.
fn without_runs(text: &str, is_outside: impl Fn(char) -> bool + Copy) -> String {
    let mut cleaned = String::with_capacity(text.len());
    // Each piece is a run, which may be empty, and the character after it.
    for piece in text.split_inclusive(is_outside) {
        let run = piece.trim_end_matches(is_outside);
        let is_secret = run.len() >= SECRET_CHARS;
        cleaned.push_str(if is_secret { REDACTED } else { run });
        cleaned.push_str(&piece[run.len()..]);
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_taken_out_in_every_form() {
        let secret = "top/secret+1";
        let text = format!("a {secret} b ?secret=top%2Fsecret%2B1&c");
        assert_eq!(
            clean(&text, &[secret]),
            "a [redacted] b ?secret=[redacted]&c"
        );
    }

    #[test]
    fn half_a_token_is_taken_out_too() {
        let token = "64_abcdefghijklmnopqrstuvwxyz0123456789-ABCDEF";
        let echoed = &token[..40];
        assert_eq!(clean(&format!("bad {echoed}"), &[token]), "bad [redacted]");
    }

    #[test]
    fn request_id_and_address_stay() {
        let text = "invalid ip 1.2.3.4 ipv6 ::ffff:1.2.3.4, not in whitelist rid: 60c976e4-051e6c8e-47215cd3";
        assert_eq!(clean(text, &["t"; 0]), text);
    }

    #[test]
    fn message_is_one_short_line() {
        assert_eq!(
            clean("a\r\n\x1b[31mlevel=error\u{202e}  b\0", &[]),
            "a [31mlevel=error b"
        );
        let long = clean(&"圆通 ".repeat(1000), &[]);
        assert_eq!(long.chars().count(), CHARS_MAX + 1);
        assert!(long.ends_with('…'));
    }

    proptest! {
        #[test]
        fn no_secret_survives(before in any::<String>(), secret in "[!-~]{8,60}", after in any::<String>()) {
            prop_assume!(!REDACTED.contains(&secret));
            let cleaned = clean(&format!("{before}{secret}{after}"), &[&secret]);
            prop_assert!(!cleaned.contains(&secret), "{cleaned}");
        }
    }
}
