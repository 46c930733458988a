//! `Accept` and `Accept-Encoding`, against a plain reading of RFC 9110.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use wechat_logistics_exporter::exposition::Form;

/// The types that there are: type, version, and whether a range without a version means this one.
const TYPES: [(&str, &str, bool); 5] = [
    ("text/plain", "0.0.4", true),
    ("text/plain", "1.0.0", false),
    ("application/openmetrics-text", "1.0.0", true),
    ("application/openmetrics-text", "0.0.1", false),
    ("application/vnd.google.protobuf", "", true),
];

/// Header lines, as they stand in a request.
pub fn check(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let form = Form::negotiate(&headers);
    let content_type = text_of(&form.content_type());
    let coding = form
        .content_encoding()
        .map_or_else(|| "identity".to_owned(), |value| text_of(&value));

    let answer = Range::read(&content_type).expect("our own type can be read");
    let index = TYPES
        .iter()
        .position(|(media, version, _)| {
            answer.value == *media && answer.parameter("version").unwrap_or("") == *version
        })
        .expect("the answer is a type that there is");
    if let Some(escaping) = answer.parameter("escaping") {
        let asked = headers.get_all("accept").iter();
        assert!(asked.map(text_of).any(|accept| accept.contains(escaping)));
    }
    let accept = elements(&headers, "accept");
    let welcome = TYPES.map(|known| quality_of_type(&accept, known));
    is_most_welcome(index, &welcome, 0);

    const CODINGS: [&str; 3] = ["identity", "gzip", "zstd"];
    let index = CODINGS.iter().position(|known| *known == coding);
    let index = index.expect("the answer is a coding that there is");
    let accept = elements(&headers, "accept-encoding");
    let welcome = CODINGS.map(|known| quality_of_coding(&accept, known));
    is_most_welcome(index, &welcome, 0);
}

/// Nothing is more welcome than the answer; where nothing is welcome at all, it is what everybody reads.
fn is_most_welcome(answer: usize, welcome: &[f64], readable_by_all: usize) {
    let most = welcome.iter().copied().fold(0.0, f64::max);
    if most > 0.0 {
        assert!(
            welcome[answer] >= most,
            "number {answer} is not the most welcome of {welcome:?}"
        );
    } else {
        assert_eq!(answer, readable_by_all, "nothing is welcome");
    }
}

fn quality_of_type(accept: &[Range], known: (&str, &str, bool)) -> f64 {
    let (media, version, is_usual) = known;
    let closeness = |range: &Range| {
        let of_version = range.parameter("version");
        if range.value == "application/vnd.google.protobuf" {
            let is_ours = range.parameter("proto") == Some("io.prometheus.client.MetricFamily")
                && range.parameter("encoding") == Some("delimited");
            return (media == range.value && is_ours).then_some(4);
        }
        let (kind, _) = media.split_once('/')?;
        if range.value == media {
            return match of_version {
                Some(asked) => (asked == version).then_some(4),
                None => is_usual.then_some(3),
            };
        }
        if !is_usual {
            return None;
        }
        match range.value.as_str() {
            "*/*" => Some(1),
            value => (value.strip_suffix("/*") == Some(kind)).then_some(2),
        }
    };
    let mut closest = (0, 0.0);
    for range in accept {
        if let Some(closeness) = closeness(range)
            && closeness > closest.0
        {
            closest = (closeness, range.quality);
        }
    }
    closest.1
}

fn quality_of_coding(accept: &[Range], coding: &str) -> f64 {
    let first = |names: &[&str]| {
        let named = accept
            .iter()
            .find(|range| names.contains(&range.value.as_str()));
        named.map(|range| range.quality)
    };
    let names: &[&str] = match coding {
        "gzip" => &["gzip", "x-gzip"],
        "zstd" => &["zstd"],
        _ => &["identity"],
    };
    // Identity is welcome, if less than all that is named, unless it is refused.
    let unnamed = if coding == "identity" {
        f64::from_bits(1)
    } else {
        0.0
    };
    first(names).or_else(|| first(&["*"])).unwrap_or(unnamed)
}

struct Range {
    /// In lower case.
    value: String,
    parameters: Vec<(String, String)>,
    quality: f64,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim_ascii);
        let value = parts.next()?.to_ascii_lowercase();
        let parameters: Vec<(String, String)> = parts
            .filter_map(|part| part.split_once('='))
            .map(|(name, value)| {
                let value = value.trim_ascii().trim_matches('"');
                (name.trim_ascii().to_ascii_lowercase(), value.to_owned())
            })
            .collect();
        let mut quality = 1.0;
        for (_, value) in parameters.iter().filter(|(name, _)| name == "q") {
            quality = value.parse().ok()?;
            if !(0.0..=1.0).contains(&quality) {
                return None;
            }
        }
        (!value.is_empty()).then_some(Self {
            value,
            parameters,
            quality,
        })
    }

    /// The last of that name.
    fn parameter(&self, name: &str) -> Option<&str> {
        let mut named = self.parameters.iter().rev();
        let (_, value) = named.find(|(known, _)| known == name)?;
        Some(value)
    }
}

fn elements(headers: &HeaderMap, name: &str) -> Vec<Range> {
    let lines = headers.get_all(name).iter();
    let readable = lines.filter_map(|line| line.to_str().ok());
    readable
        .flat_map(|line| line.split(','))
        .filter_map(Range::read)
        .collect()
}

fn text_of(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
