//! Writes each event as a line of logfmt, as Prometheus and its exporters do: `ts`, `level`, `msg`, then the fields.

use std::fmt::{self, Write};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::registry::LookupSpan;

const TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A formatter of events. It ignores spans, of which there are none.
pub(super) struct Logfmt;

impl<S, N> FormatEvent<S, N> for Logfmt
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let time = OffsetDateTime::now_utc().format(TIME);
        let time = time.map_err(|_| fmt::Error)?;
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        write!(writer, "ts={time} level={level}")?;
        let mut fields = Fields {
            line: writer,
            written: Ok(()),
        };
        event.record(&mut fields);
        fields.written?;
        fields.line.write_char('\n')
    }
}

/// A visitor that appends the fields of an event to a line.
struct Fields<'a> {
    line: Writer<'a>,
    written: fmt::Result,
}

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: &str) {
        let key = match field.name() {
            "message" => "msg",
            name => name,
        };
        self.written = self
            .written
            .and_then(|()| write!(self.line, " {key}="))
            .and_then(|()| write_value(&mut self.line, value));
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// Writes a value, in quotes if necessary. Characters are escaped as in JSON, because readers of logfmt unescape them
/// that way.
fn write_value(line: &mut impl Write, value: &str) -> fmt::Result {
    let plain = |c: char| !(c == '"' || c == '=' || c.is_whitespace() || is_unseen(c));
    if !value.is_empty() && value.chars().all(plain) {
        return line.write_str(value);
    }
    line.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' | '\\' => write!(line, "\\{c}")?,
            '\n' => line.write_str("\\n")?,
            '\r' => line.write_str("\\r")?,
            '\t' => line.write_str("\\t")?,
            c if is_unseen(c) => write!(line, "\\u{:04x}", u32::from(c))?,
            c => line.write_char(c)?,
        }
    }
    line.write_char('"')
}

/// Reports whether a character is a control, a line break or a direction mark. These would start a new line or reverse
/// text on a terminal. All of them are below U+10000, so that four digits can name them.
pub(crate) fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &str) -> String {
        let mut line = String::new();
        write_value(&mut line, value).unwrap();
        line
    }

    /// Reads the value at the start of a text and returns it with the rest, by the rules of go-logfmt, which Loki uses.
    fn read(text: &str) -> Option<(String, &str)> {
        let Some(quoted) = text.strip_prefix('"') else {
            let end = text.find(|c| c <= ' ').unwrap_or(text.len());
            let (value, rest) = text.split_at(end);
            return (!value.contains(['=', '"'])).then(|| (value.to_owned(), rest));
        };
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => _ = chars.next(),
                '"' => {
                    let value = serde_json::from_str(&text[..at + 2]).ok()?;
                    return Some((value, &quoted[at + 1..]));
                }
                _ => {}
            }
        }
        None
    }

    #[test]
    fn value_is_quoted_only_where_it_must_be_and_apostrophes_stay() {
        assert_eq!(written("wx1"), "wx1");
        assert_eq!(written("can't"), "can't");
        assert_eq!(written("it can't"), "\"it can't\"");
        assert_eq!(written("申通"), "申通");
        assert_eq!(written(""), "\"\"");
        assert_eq!(written("a=\"b\\\""), r#""a=\"b\\\"""#);
        assert_eq!(written("1\n2\u{1b}[m\u{202e}"), r#""1\n2\u001b[m\u202e""#);
    }

    proptest! {
        #[test]
        fn any_text_is_one_value_on_one_line_and_is_read_as_it_was(value in "\\PC{0,20}|.{0,20}|(?s).{0,20}") {
            let line = written(&value);
            prop_assert!(!line.chars().any(is_unseen), "{line}");
            let after = format!("{line} next=1");
            prop_assert_eq!(read(&after), Some((value, " next=1")));
        }
    }
}
