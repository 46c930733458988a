//! What a scraper asks for: `Accept`, `Accept-Encoding`, and the names of the forms that there are.
//!
//! Headers are whatever a client sends. A range that can't be read asks for nothing, and where nothing that is known is
//! asked for, the answer is text 0.0.4, which every scraper reads, uncompressed.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING, HeaderName, HeaderValue};

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    /// The text format. Versions 0.0.4 and 1.0.0 differ in how names beyond ASCII are quoted; ours are within.
    Text,
    /// OpenMetrics text. Versions 0.0.1 and 1.0.0 are the same bytes here.
    OpenMetrics,
    /// `io.prometheus.client.MetricFamily`, each after its length.
    Protobuf,
}

impl Format {
    /// Every one; the index of each is its value as a number.
    pub(super) const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];
}

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Coding {
    /// Not at all.
    Identity,
    /// `gzip`, which Prometheus asks for.
    Gzip,
    /// `zstd`.
    Zstd,
}

impl Coding {
    /// Every one; the index of each is its value as a number.
    pub(super) const ALL: [Self; 3] = [Self::Identity, Self::Gzip, Self::Zstd];
}

/// How names beyond ASCII would be written. No name here is, so every scheme gives the same bytes, and what was asked
/// for is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escaping {
    AllowUtf8,
    Underscores,
    Dots,
    Values,
}

/// A media type of the answer, in the order in which a wildcard is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Text004,
    OpenMetrics100,
    Protobuf,
    Text100,
    OpenMetrics001,
}

impl Media {
    /// Every one; the index of each is its value as a number.
    const ALL: [Self; 5] = [
        Self::Text004,
        Self::OpenMetrics100,
        Self::Protobuf,
        Self::Text100,
        Self::OpenMetrics001,
    ];
}

/// The form of a page: format with its escaping scheme, and content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    media: Media,
    escaping: Option<Escaping>,
    coding: Coding,
}

impl Form {
    /// Plain text 0.0.4.
    pub const TEXT: Self = Self {
        media: Media::Text004,
        escaping: None,
        coding: Coding::Identity,
    };

    /// What `Accept` and `Accept-Encoding` ask for; text where they ask for nothing that is known.
    ///
    /// `text/plain;version=1.0.0`, the newest that Prometheus 3 reads, is answered as such where it is asked for by
    /// that version, as Go's exporters answer it. Of equally welcome types a named one goes before a wildcard, then
    /// the first.
    #[must_use]
    pub fn negotiate(headers: &HeaderMap) -> Self {
        let (media, escaping) = negotiate_media(headers);
        Self {
            media,
            escaping,
            coding: negotiate_coding(headers),
        }
    }

    /// How samples are written.
    pub(super) fn format(self) -> Format {
        match self.media {
            Media::Text004 | Media::Text100 => Format::Text,
            Media::OpenMetrics001 | Media::OpenMetrics100 => Format::OpenMetrics,
            Media::Protobuf => Format::Protobuf,
        }
    }

    /// How the body is compressed.
    pub(super) fn coding(self) -> Coding {
        self.coding
    }

    /// `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> HeaderValue {
        macro_rules! value {
            ($($text:expr),+) => {{
                // Checked when it is compiled, not for each page.
                const VALUE: HeaderValue = HeaderValue::from_static(concat!($($text),+));
                VALUE
            }};
        }
        macro_rules! with_escaping {
            ($media:literal) => {
                match self.escaping {
                    None => value!($media),
                    Some(Escaping::AllowUtf8) => value!($media, "; escaping=allow-utf-8"),
                    Some(Escaping::Underscores) => value!($media, "; escaping=underscores"),
                    Some(Escaping::Dots) => value!($media, "; escaping=dots"),
                    Some(Escaping::Values) => value!($media, "; escaping=values"),
                }
            };
        }
        match self.media {
            Media::Text004 => with_escaping!("text/plain; version=0.0.4; charset=utf-8"),
            Media::Text100 => with_escaping!("text/plain; version=1.0.0; charset=utf-8"),
            Media::OpenMetrics001 => {
                with_escaping!("application/openmetrics-text; version=0.0.1; charset=utf-8")
            }
            Media::OpenMetrics100 => {
                with_escaping!("application/openmetrics-text; version=1.0.0; charset=utf-8")
            }
            Media::Protobuf => with_escaping!(
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            ),
        }
    }

    /// `Content-Encoding`; `None`: identity.
    #[must_use]
    pub fn content_encoding(self) -> Option<HeaderValue> {
        const GZIP: HeaderValue = HeaderValue::from_static("gzip");
        const ZSTD: HeaderValue = HeaderValue::from_static("zstd");
        match self.coding {
            Coding::Identity => None,
            Coding::Gzip => Some(GZIP),
            Coding::Zstd => Some(ZSTD),
        }
    }
}

/// The form that was asked for last. Scrapers ask for the same one each time, in hundreds of characters.
#[derive(Debug, Default)]
pub(super) struct LastAsked(ArcSwapOption<Asked>);

#[derive(Debug)]
struct Asked {
    accept: Option<HeaderValue>,
    accept_encoding: Option<HeaderValue>,
    form: Form,
}

impl LastAsked {
    /// As [`Form::negotiate`].
    pub(super) fn negotiate(&self, headers: &HeaderMap) -> Form {
        let (Ok(accept), Ok(accept_encoding)) =
            (only(headers, &ACCEPT), only(headers, &ACCEPT_ENCODING))
        else {
            return Form::negotiate(headers);
        };
        let last = self.0.load();
        if let Some(last) = &*last
            && last.accept.as_ref() == accept
            && last.accept_encoding.as_ref() == accept_encoding
        {
            return last.form;
        }
        let form = Form::negotiate(headers);
        self.0.store(Some(Arc::new(Asked {
            accept: accept.map(kept),
            accept_encoding: accept_encoding.map(kept),
            form,
        })));
        form
    }
}

/// The header's one line, if it has any; an error where it has several.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h HeaderValue>, ()> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (line, None) => Ok(line),
        _ => Err(()),
    }
}

/// A copy that doesn't hold the buffer of the whole request.
fn kept(value: &HeaderValue) -> HeaderValue {
    HeaderValue::from_bytes(value.as_bytes()).expect("the bytes are those of a header's value")
}

/// One element of a header that lists what is welcome, and how welcome.
#[derive(Clone, Copy, Debug, Default)]
struct Range<'a> {
    value: &'a str,
    version: Option<&'a str>,
    proto: Option<&'a str>,
    encoding: Option<&'a str>,
    escaping: Option<Escaping>,
    /// From 0, not welcome at all, to 1.
    quality: f64,
}

impl<'a> Range<'a> {
    /// `None`: it can't be read.
    fn read(text: &'a str) -> Option<Self> {
        let mut parameters = text.split(';').map(str::trim_ascii);
        let mut range = Self {
            value: parameters.next().filter(|value| !value.is_empty())?,
            quality: 1.0,
            ..Self::default()
        };
        for parameter in parameters {
            let Some((name, value)) = parameter.split_once('=') else {
                continue;
            };
            let value = value.trim_ascii().trim_matches('"');
            let name = name.trim_ascii();
            let is = |known| name.eq_ignore_ascii_case(known);
            if is("q") {
                range.quality = value
                    .parse()
                    .ok()
                    .filter(|quality| (0.0..=1.0).contains(quality))?;
            } else if is("version") {
                range.version = Some(value);
            } else if is("proto") {
                range.proto = Some(value);
            } else if is("encoding") {
                range.encoding = Some(value);
            } else if is("escaping") {
                range.escaping = match value {
                    "allow-utf-8" => Some(Escaping::AllowUtf8),
                    "underscores" => Some(Escaping::Underscores),
                    "dots" => Some(Escaping::Dots),
                    "values" => Some(Escaping::Values),
                    _ => None,
                };
            }
        }
        Some(range)
    }

    fn is(&self, value: &str) -> bool {
        self.value.eq_ignore_ascii_case(value)
    }

    /// The types that it describes, and how closely. A wildcard and a type without a version mean the version that is
    /// best known.
    fn describes(&self) -> &'static [(Media, Closeness)] {
        use Closeness::{Any, Half, Type, Version};
        if self.is("application/openmetrics-text") {
            match self.version {
                None => &[(Media::OpenMetrics100, Type)],
                Some("1.0.0") => &[(Media::OpenMetrics100, Version)],
                Some("0.0.1") => &[(Media::OpenMetrics001, Version)],
                Some(_) => &[],
            }
        } else if self.is("text/plain") {
            match self.version {
                None => &[(Media::Text004, Type)],
                Some("0.0.4") => &[(Media::Text004, Version)],
                Some("1.0.0") => &[(Media::Text100, Version)],
                Some(_) => &[],
            }
        } else if self.is("application/vnd.google.protobuf") {
            match (self.proto, self.encoding) {
                (Some("io.prometheus.client.MetricFamily"), Some("delimited")) => {
                    &[(Media::Protobuf, Version)]
                }
                _ => &[],
            }
        } else if self.is("*/*") {
            &[
                (Media::Text004, Any),
                (Media::OpenMetrics100, Any),
                (Media::Protobuf, Any),
            ]
        } else if self.is("text/*") {
            &[(Media::Text004, Half)]
        } else if self.is("application/*") {
            &[(Media::OpenMetrics100, Half), (Media::Protobuf, Half)]
        } else {
            &[]
        }
    }
}

/// The closest range decides how welcome a type is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    Any,
    Half,
    Type,
    Version,
}

fn negotiate_media(headers: &HeaderMap) -> (Media, Option<Escaping>) {
    let mut closest: [Option<(Closeness, usize, Range<'_>)>; Media::ALL.len()] = Default::default();
    for (index, range) in ranges(headers, &ACCEPT).enumerate() {
        for (media, closeness) in range.describes() {
            let closest = &mut closest[*media as usize];
            if closest.is_none_or(|(closest, ..)| *closeness > closest) {
                *closest = Some((*closeness, index, range));
            }
        }
    }
    let mut best: Option<(f64, bool, usize)> = None;
    let mut answer = (Media::Text004, None);
    for (media, closest) in Media::ALL.into_iter().zip(closest) {
        let Some((closeness, index, range)) = closest.filter(|(.., range)| range.quality > 0.0)
        else {
            continue;
        };
        let named = closeness >= Closeness::Type;
        let better = best.is_none_or(|(quality, best_named, best_index)| {
            (range.quality, named, best_index) > (quality, best_named, index)
        });
        if better {
            best = Some((range.quality, named, index));
            answer = (media, range.escaping);
        }
    }
    answer
}

fn negotiate_coding(headers: &HeaderMap) -> Coding {
    let (mut gzip, mut zstd, mut identity, mut any) = (None, None, None, None);
    for range in ranges(headers, &ACCEPT_ENCODING) {
        let quality = if range.is("gzip") || range.is("x-gzip") {
            &mut gzip
        } else if range.is("zstd") {
            &mut zstd
        } else if range.is("identity") {
            &mut identity
        } else if range.is("*") {
            &mut any
        } else {
            continue;
        };
        quality.get_or_insert(range.quality);
    }
    // Of equally welcome ones a named one goes first, gzip before zstd: Prometheus asks for gzip, so that its bytes are
    // most likely there. A wildcard alone is met by identity, which nobody fails to read.
    let named = [
        (gzip, Coding::Gzip),
        (zstd, Coding::Zstd),
        (identity, Coding::Identity),
    ];
    let wild = [
        (
            identity.is_none().then_some(any).flatten(),
            Coding::Identity,
        ),
        (gzip.is_none().then_some(any).flatten(), Coding::Gzip),
        (zstd.is_none().then_some(any).flatten(), Coding::Zstd),
    ];
    let mut best = (0.0, Coding::Identity);
    for (quality, coding) in named.into_iter().chain(wild) {
        if let Some(quality) = quality
            && quality > best.0
        {
            best = (quality, coding);
        }
    }
    best.1
}

/// The elements of all lines of a header.
fn ranges<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = Range<'h>> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(Range::read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sent by Prometheus 2.42.
    const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    /// Sent by Prometheus 3.14.
    const PROMETHEUS_3_14: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    /// Sent by Prometheus 3.14 with native histograms switched on.
    const PROMETHEUS_3_14_PROTOBUF: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";

    fn headers(name: &HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn content_type(accept: &str) -> String {
        let form = Form::negotiate(&headers(&ACCEPT, &[accept.as_bytes()]));
        form.content_type().to_str().unwrap().to_owned()
    }

    fn coding(accept_encoding: &str) -> Coding {
        Form::negotiate(&headers(&ACCEPT_ENCODING, &[accept_encoding.as_bytes()])).coding()
    }

    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPENMETRICS_1: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const PROTOBUF: &str = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

    #[test]
    fn prometheus_of_each_age_gets_what_it_prefers() {
        assert_eq!(content_type(PROMETHEUS_2_42), OPENMETRICS_1);
        assert_eq!(
            content_type(PROMETHEUS_3_14),
            format!("{OPENMETRICS_1}; escaping=allow-utf-8")
        );
        assert_eq!(content_type(PROMETHEUS_3_14_PROTOBUF), PROTOBUF);
        assert_eq!(
            content_type("text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.5"),
            "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
        );
        assert_eq!(
            content_type("application/openmetrics-text;version=0.0.1,*/*;q=0.1"),
            "application/openmetrics-text; version=0.0.1; charset=utf-8"
        );
    }

    #[test]
    fn answer_that_is_remembered_is_the_one_to_the_very_headers() {
        let last = LastAsked::default();
        let asked: [(&[&str], &[&str]); 9] = [
            (&[PROMETHEUS_3_14], &["gzip"]),
            (&[PROMETHEUS_3_14], &["gzip"]),
            (&[PROMETHEUS_3_14], &["zstd"]),
            (&[PROMETHEUS_3_14], &[]),
            (&[PROMETHEUS_2_42], &["zstd"]),
            (&[], &["zstd"]),
            (&[], &[]),
            (&["text/plain", "application/openmetrics-text"], &["gzip"]),
            (
                &["text/plain;q=0.1", PROMETHEUS_2_42],
                &["identity", "gzip"],
            ),
        ];
        for (accept, accept_encoding) in asked.into_iter().chain(asked) {
            let mut headers = HeaderMap::new();
            for line in accept {
                headers.append(ACCEPT, HeaderValue::from_str(line).unwrap());
            }
            for line in accept_encoding {
                headers.append(ACCEPT_ENCODING, HeaderValue::from_str(line).unwrap());
            }
            assert_eq!(last.negotiate(&headers), Form::negotiate(&headers));
        }
    }

    #[test]
    fn what_is_not_known_is_answered_in_text() {
        for accept in [
            "",
            "*/*",
            "text/*",
            "text/plain",
            "TEXT/Plain ; Version = 0.0.4",
            "text/plain;version=\"0.0.4\"",
            "text/plain;version=9.0.0",
            "application/json",
            "application/openmetrics-text;version=2.0.0",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
            "application/vnd.google.protobuf;encoding=delimited",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ";;;,,,q=1",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=NaN",
            "application/openmetrics-text;q=-0.1",
            "application/openmetrics-text;q=",
            "*/*;q=0",
        ] {
            assert_eq!(content_type(accept), TEXT, "{accept}");
        }
        assert_eq!(Form::negotiate(&HeaderMap::new()), Form::TEXT);
    }

    #[test]
    fn quality_of_zero_excludes() {
        assert_eq!(
            content_type("application/openmetrics-text;q=0,text/plain;q=0.1"),
            TEXT
        );
        assert_eq!(content_type("text/plain;q=0,*/*;q=0.5"), OPENMETRICS_1);
        assert_eq!(
            content_type("text/plain;q=0,application/openmetrics-text;q=0,*/*"),
            PROTOBUF
        );
    }

    #[test]
    fn named_type_goes_before_an_equally_welcome_wildcard() {
        assert_eq!(
            content_type("*/*,application/openmetrics-text"),
            OPENMETRICS_1
        );
        assert_eq!(
            content_type("text/plain,application/openmetrics-text"),
            TEXT
        );
        assert_eq!(content_type("application/*"), OPENMETRICS_1);
    }

    #[test]
    fn escaping_is_answered_where_a_known_scheme_is_asked_for() {
        for scheme in ["allow-utf-8", "underscores", "dots", "values"] {
            assert_eq!(
                content_type(&format!("text/plain;version=0.0.4;escaping={scheme}")),
                format!("{TEXT}; escaping={scheme}")
            );
        }
        assert_eq!(content_type("text/plain;escaping=<script>"), TEXT);
    }

    #[test]
    fn lines_of_one_header_are_one_list() {
        let both = headers(
            &ACCEPT,
            &[
                b"text/plain;q=0.1",
                b"\xff\xfe",
                b"application/openmetrics-text",
            ],
        );
        assert_eq!(Form::negotiate(&both).format(), Format::OpenMetrics);
    }

    #[test]
    fn coding_is_the_one_most_welcome_and_none_where_nothing_is_said() {
        for (accept_encoding, expected) in [
            ("gzip", Coding::Gzip),
            ("GZIP", Coding::Gzip),
            ("x-gzip", Coding::Gzip),
            ("gzip;q=0.5", Coding::Gzip),
            ("zstd", Coding::Zstd),
            ("gzip, zstd", Coding::Gzip),
            ("gzip;q=0.9, zstd", Coding::Zstd),
            ("br, deflate, gzip;q=0.001", Coding::Gzip),
            ("identity, gzip", Coding::Gzip),
            ("identity, gzip;q=0.9", Coding::Identity),
            ("identity;q=0, *", Coding::Gzip),
            ("identity;q=0, gzip;q=0, *", Coding::Zstd),
            ("*;q=0, gzip", Coding::Gzip),
            ("*;q=0.1, gzip;q=0", Coding::Identity),
            ("*", Coding::Identity),
            ("*;q=0", Coding::Identity),
            ("identity;q=0", Coding::Identity),
            ("gzip;q=0", Coding::Identity),
            ("identity", Coding::Identity),
            ("gzipped", Coding::Identity),
            ("not-gzip", Coding::Identity),
            ("br", Coding::Identity),
            ("", Coding::Identity),
            ("gzip;q=nan", Coding::Identity),
            ("gzip;q=1e9", Coding::Identity),
        ] {
            assert_eq!(coding(accept_encoding), expected, "{accept_encoding}");
        }
        assert_eq!(
            Form::negotiate(&HeaderMap::new()).coding(),
            Coding::Identity
        );
    }

    #[test]
    fn index_of_each_format_type_and_coding_is_its_number() {
        for (index, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format as usize, index);
        }
        for (index, coding) in Coding::ALL.into_iter().enumerate() {
            assert_eq!(coding as usize, index);
        }
        for (index, media) in Media::ALL.into_iter().enumerate() {
            assert_eq!(media as usize, index);
        }
    }

    proptest! {
        #[test]
        fn no_header_whatever_it_says_stops_an_answer(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            accept in "[a-z*/;,=q0-9. \"-]{0,100}",
        ) {
            for line in [bytes.as_slice(), accept.as_bytes()] {
                for name in [ACCEPT, ACCEPT_ENCODING] {
                    if let Ok(value) = HeaderValue::from_bytes(line) {
                        let mut headers = HeaderMap::new();
                        headers.insert(name, value);
                        let form = Form::negotiate(&headers);
                        prop_assert!(form.content_type().to_str().is_ok());
                    }
                }
            }
        }

        #[test]
        fn excluded_type_is_never_answered_while_another_is_welcome(quality in 0.001_f64..=1.0) {
            let accept = format!("application/openmetrics-text;q=0, text/plain;version=1.0.0;q={quality}, */*;q=0");
            prop_assert!(content_type(&accept).starts_with("text/plain; version=1.0.0"));
        }
    }
}
