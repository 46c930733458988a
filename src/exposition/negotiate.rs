//! What a scraper asks for: `Accept` and `Accept-Encoding`.
//!
//! Headers are whatever a client sends. A range that can't be read asks for nothing, and where nothing that is known is
//! asked for, the answer is text 0.0.4, which every scraper reads, uncompressed.

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};

use super::encoder::Format;

/// Ways to write names beyond ASCII. No name here is, so each gives the same bytes, and what was asked for is answered.
const ESCAPING_SCHEMES: [&str; 4] = ["allow-utf-8", "underscores", "dots", "values"];

/// The form of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    pub(super) format: Format,
    escaping: Option<&'static str>,
    pub(super) gzip: bool,
}

impl Form {
    /// Plain text 0.0.4.
    pub const TEXT: Self = Self {
        format: Format::Text,
        escaping: None,
        gzip: false,
    };

    /// What the headers ask for: as Go's exporters do, the first known type of those most welcome.
    #[must_use]
    pub fn negotiate(headers: &HeaderMap) -> Self {
        let mut accepted = ranges(headers, &ACCEPT);
        // Stable: of equally welcome ones the first stays first.
        accepted.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let known = accepted.iter().filter(|range| range.quality > 0.0);
        let known = known
            .filter_map(|range| Some((range.format()?, range.escaping)))
            .next();
        let (format, escaping) = known.unwrap_or((Format::Text, None));
        Self {
            format,
            escaping,
            gzip: wants_gzip(headers),
        }
    }

    /// `Content-Type`.
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

    /// `Content-Encoding`; `None`: identity.
    pub(crate) fn content_encoding(self) -> Option<HeaderValue> {
        self.gzip.then_some(HeaderValue::from_static("gzip"))
    }
}

/// gzip where it is named, unless identity is named as more welcome.
fn wants_gzip(headers: &HeaderMap) -> bool {
    let codings = ranges(headers, &ACCEPT_ENCODING);
    let quality = |name: &str| {
        let range = codings
            .iter()
            .find(|range| range.value.eq_ignore_ascii_case(name));
        range.map_or(0.0, |range| range.quality)
    };
    let gzip = quality("gzip");
    gzip > 0.0 && gzip >= quality("identity")
}

/// One element of a header that lists what is welcome.
#[derive(Debug)]
struct Range<'a> {
    value: &'a str,
    version: Option<&'a str>,
    escaping: Option<&'static str>,
    /// From 0, not welcome at all, to 1.
    quality: f64,
}

impl<'a> Range<'a> {
    /// `None`: it can't be read.
    fn read(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim_ascii);
        let mut range = Self {
            value: parts.next()?,
            version: None,
            escaping: None,
            quality: 1.0,
        };
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim_ascii().trim_matches('"');
            match name.trim_ascii().to_ascii_lowercase().as_str() {
                "q" => {
                    let quality = value.parse().ok();
                    range.quality = quality.filter(|quality| (0.0..=1.0).contains(quality))?;
                }
                "version" => range.version = Some(value),
                "escaping" => {
                    range.escaping = ESCAPING_SCHEMES.into_iter().find(|known| *known == value);
                }
                _ => {}
            }
        }
        Some(range)
    }

    fn format(&self) -> Option<Format> {
        match (
            self.value.to_ascii_lowercase().as_str(),
            self.version.unwrap_or_default(),
        ) {
            ("text/plain", "0.0.4" | "") => Some(Format::Text),
            ("application/openmetrics-text", "1.0.0" | "") => Some(Format::OpenMetrics),
            _ => None,
        }
    }
}

/// The elements of all lines of a header.
fn ranges<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<Range<'h>> {
    let lines = headers.get_all(name).iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::read)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    fn negotiate(name: &HeaderName, lines: &[&str]) -> Form {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_str(line).unwrap());
        }
        Form::negotiate(&headers)
    }

    #[test]
    fn first_known_type_of_those_most_welcome_is_answered() {
        let escaped = |media: &str| format!("{media}; escaping=allow-utf-8");
        for (accept, expected) in [
            // Prometheus 2.26, 2.42, 3.5, and 3.5 with native histograms.
            (
                "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                TEXT.to_owned(),
            ),
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OPENMETRICS.to_owned(),
            ),
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                escaped(OPENMETRICS),
            ),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1",
                escaped(OPENMETRICS),
            ),
            // A browser, curl, and whatever else people send.
            (
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
                TEXT.to_owned(),
            ),
            ("", TEXT.to_owned()),
            ("*/*", TEXT.to_owned()),
            (
                "text/plain;version=0.0.4;escaping=allow-utf-8",
                escaped(TEXT),
            ),
            ("text/plain;escaping=<script>", TEXT.to_owned()),
            (
                "Application/OpenMetrics-Text ; Version = \"1.0.0\"",
                OPENMETRICS.to_owned(),
            ),
            (
                "application/openmetrics-text;version=2.0.0",
                TEXT.to_owned(),
            ),
            ("text/plain,application/openmetrics-text", TEXT.to_owned()),
            (
                "text/plain;q=0.4,application/openmetrics-text;q=0.5",
                OPENMETRICS.to_owned(),
            ),
            ("application/openmetrics-text;q=0", TEXT.to_owned()),
            ("application/openmetrics-text;q=NaN", TEXT.to_owned()),
            ("application/openmetrics-text;q=2", TEXT.to_owned()),
            (";;;,,,q=1", TEXT.to_owned()),
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
            ("identity, gzip", true),
            ("identity, gzip;q=0.9", false),
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

    proptest! {
        #[test]
        fn no_header_whatever_it_says_stops_an_answer(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            accept in "[a-z*/;,=q0-9. \"-]{0,100}",
        ) {
            for line in [bytes.as_slice(), accept.as_bytes()] {
                if let Ok(value) = HeaderValue::from_bytes(line) {
                    let mut headers = HeaderMap::new();
                    headers.insert(ACCEPT, value.clone());
                    headers.insert(ACCEPT_ENCODING, value);
                    Form::negotiate(&headers).content_type();
                }
            }
        }
    }
}
