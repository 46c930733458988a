//! Sentences for the operator, in a log line or on a terminal.

use std::path::Path;

/// A run of these characters this long looks like a secret, whoever wrote it.
const SECRET_CHARS: usize = 32;

/// What stands for a secret. Inputs that hold it by themselves are left out where it is searched for.
pub const CANARY: &str = "canary-3b1f0e";

/// One line that a terminal can show.
pub fn is_one_line(text: &str) {
    assert!(!text.is_empty(), "an error says nothing");
    assert!(
        !text.chars().any(char::is_control),
        "more than one plain line: {text:?}"
    );
    assert!(text.len() < 8192, "longer than anybody reads: {text}");
}

/// One line, which begins with the file and the line in it.
pub fn names_its_place(text: &str, path: &Path, input: &[u8]) {
    is_one_line(text);
    let place = format!("{}, line ", path.display());
    let rest = text
        .strip_prefix(&place)
        .unwrap_or_else(|| panic!("names no line of {}: {text}", path.display()));
    let number = rest.split(':').next().unwrap_or_default();
    let line: usize = number
        .parse()
        .unwrap_or_else(|_| panic!("names no line: {text}"));
    // YAML also ends lines at a carriage return, and the end of a file may count as a line of its own.
    let is_end = |byte: &&u8| matches!(byte, b'\n' | b'\r');
    let lines = input.iter().filter(is_end).count() + 2;
    assert!((1..=lines).contains(&line), "no line of {lines}: {text}");
}

/// Nothing in it is long enough to be a token that a remote side echoed.
pub fn quotes_no_secret(text: &str) {
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let longest = text.split(|c| !is_token(c)).map(str::len).max();
    assert!(
        longest.is_none_or(|length| length < SECRET_CHARS),
        "may quote a secret: {text}"
    );
}

/// The canary is not in it.
pub fn keeps_the_secret(text: &str, document: &str) {
    assert!(
        !text.contains(CANARY),
        "the secret of\n{document}\nis in: {text}"
    );
}

/// One of so many kinds, which the input itself picks: all of them would make each run slow.
pub fn one_of(kinds: usize, input: &[u8]) -> usize {
    let sum: usize = input.iter().map(|byte| usize::from(*byte)).sum();
    sum % kinds
}
