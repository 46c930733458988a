//! What a scraper asks for: `Accept` and `Accept-Encoding`.
//!
//! Clients can send anything in these headers. A range that can't be parsed asks for nothing. If a client asks for
//! nothing that is known, the answer is uncompressed text 0.0.4, which every scraper reads.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};

use super::encoder::Format;

/// Ways to write names beyond ASCII. No metric has such a name, so the bytes are the same with each of them, and the
/// answer names the one that was asked for.
const ESCAPING_SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub(super) format: Format,
    escaping: Option<&'static str>,
    pub(crate) gzip: bool,
}

impl Form {
    /// Plain text 0.0.4.
    pub const TEXT: Self = Self {
        format: Format::Text,
        escaping: None,
        gzip: false,
    };

    /// Returns the form that the headers ask for: like Go's exporters, the first known type of the highest quality.
    pub fn negotiate(headers: &HeaderMap) -> Self {
        let types = most_welcome_first(headers, &ACCEPT);
        let mut known = types
            .iter()
            .filter_map(|range| Some((format(range)?, range)));
        let (format, escaping) = match known.next() {
            Some((format, range)) => (format, escaping(range)),
            None => (Format::Text, None),
        };
        let codings = most_welcome_first(headers, &ACCEPT_ENCODING);
        let mut codings = codings.into_iter().map(value);
        let coding = codings.find(|coding| coding == "gzip" || coding == "identity");
        Self {
            format,
            escaping,
            gzip: coding.is_some_and(|coding| coding == "gzip"),
        }
    }

    pub(crate) fn content_type(self) -> HeaderValue {
        let media = match self.format {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        };
        match self.escaping {
            None => HeaderValue::from_static(media),
            Some(escaping) => HeaderValue::from_str(&format!("{media}; escaping={escaping}"))
                .expect("the known escaping schemes are plain ASCII"),
        }
    }
}

/// Returns the elements of all lines of a header, such as `text/plain;q=0.5`, by descending quality and without those
/// of quality 0. Elements of equal quality stay in their order.
fn most_welcome_first<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lines = headers.get_all(name).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let mut ranges: Vec<_> = lines.flat_map(|line| line.split(',')).collect();
    ranges.retain(|range| quality(range) > 0.0);
    ranges.sort_by(|a, b| quality(b).total_cmp(&quality(a)));
    ranges
}

/// Returns an element's value, such as `text/plain`.
fn value(range: &str) -> String {
    let value = range.split(';').next().unwrap_or_default();
    value.trim_ascii().to_ascii_lowercase()
}

fn parameter<'a>(range: &'a str, name: &str) -> Option<&'a str> {
    let parameters = range.split(';').skip(1);
    let mut parameters = parameters.filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(key, _)| key.trim_ascii().eq_ignore_ascii_case(name))?;
    Some(value.trim_ascii().trim_matches('"'))
}

/// Returns an element's quality from 0, not acceptable, to 1. A quality that can't be parsed counts as 0.
fn quality(range: &str) -> f64 {
    let quality = parameter(range, "q").map_or(Ok(1.0), str::parse);
    let quality = quality.unwrap_or_default();
    if (0.0..=1.0).contains(&quality) {
        quality
    } else {
        0.0
    }
}

fn format(range: &str) -> Option<Format> {
    match (
        &*value(range),
        parameter(range, "version").unwrap_or_default(),
    ) {
        ("text/plain", "0.0.4" | "") => Some(Format::Text),
        ("application/openmetrics-text", "1.0.0" | "") => Some(Format::OpenMetrics),
        _ => None,
    }
}

fn escaping(range: &str) -> Option<&'static str> {
    let asked = parameter(range, "escaping");
    let mut known = ESCAPING_SCHEMES.into_iter();
    known.find(|scheme| asked == Some(scheme))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const ESCAPED: &str =
        "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8";

    fn negotiate(name: &HeaderName, lines: &[&str]) -> Form {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        Form::negotiate(&headers)
    }

    #[test]
    fn first_known_type_of_those_most_welcome_is_answered() {
        for (accept, expected) in [
            // Prometheus 2.26, 2.42, 3.5, and 3.5 with native histograms.
            (
                "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                TEXT,
            ),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OPENMETRICS,
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                ESCAPED,
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1",
                ESCAPED,
            ),
            // A browser, curl, and other clients.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                TEXT,
            ),
            ("", TEXT),
            ("*/*", TEXT),
            (
                "text/plain;version=0.0.4;escaping=allow-utf-8",
                "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
            ),
            ("text/plain;escaping=<script>", TEXT),
            (
                "Application/OpenMetrics-Text ; Version = \"1.0.0\"",
                OPENMETRICS,
            ),
            ("application/openmetrics-text;version=2.0.0", TEXT),
            ("text/plain,application/openmetrics-text", TEXT),
            (
                "text/plain;q=0.4,application/openmetrics-text;q=0.5",
                OPENMETRICS,
            ),
            ("application/openmetrics-text;q=0", TEXT),
            ("application/openmetrics-text;q=NaN", TEXT),
            ("application/openmetrics-text;q=2", TEXT),
            (";;;,,,q=1", TEXT),
        ] {
            let content_type = negotiate(&ACCEPT, &[accept]).content_type();
            assert_eq!(content_type, expected, "{accept}");
        }
        let lines = ["text/plain;q=0.1", "application/openmetrics-text"];
        assert_eq!(negotiate(&ACCEPT, &lines).content_type(), OPENMETRICS);
    }

    #[test]
    fn gzip_is_answered_where_it_is_named_and_most_welcome() {
        for (accept_encoding, gzip) in [
            ("gzip", true),
            ("GZIP;q=0.5", true),
            ("br, deflate, gzip;q=0.001", true),
            ("gzip, identity", true),
            ("identity, gzip", false),
            ("identity;q=0.9, gzip", true),
            ("*;q=0, gzip", true),
            ("*", false),
            ("gzip;q=0", false),
            ("gzip;q=nan", false),
            ("gzipped, zstd, br", false),
            ("", false),
        ] {
            let form = negotiate(&ACCEPT_ENCODING, &[accept_encoding]);
            assert_eq!(form.gzip, gzip, "{accept_encoding}");
        }
        assert_eq!(Form::negotiate(&HeaderMap::new()), Form::TEXT);
    }
}
