//! Text 0.0.4 and OpenMetrics: lines.

use prometheus::proto::{Metric, MetricType};

use super::number;
use crate::exposition::format::Format;

/// What ends a counter's name.
pub(super) const TOTAL: &str = "_total";

/// Units that OpenMetrics is told of; each ends the names that have it.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// `# HELP` where there is one, and `# TYPE`.
pub(super) fn header(out: &mut Vec<u8>, name: &str, help: &str, kind: MetricType) {
    if !help.is_empty() {
        comment(out, "# HELP ", name);
        escaped(out, help, |byte| matches!(byte, b'\\' | b'\n'));
        out.push(b'\n');
    }
    comment(out, "# TYPE ", name);
    let kind = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "untyped",
        MetricType::HISTOGRAM => "histogram",
    };
    out.extend_from_slice(kind.as_bytes());
    out.push(b'\n');
}

/// `# TYPE`, `# UNIT` and `# HELP`, of the family's name: a counter's is without `_total`.
///
/// An `_info` or `_status` family stays the gauge that it is in the other formats: as OpenMetrics' info or stateset its
/// samples would be named differently, and dashboards would find them in one format only.
pub(super) fn openmetrics_header(out: &mut Vec<u8>, name: &str, help: &str, kind: MetricType) {
    let name = match kind {
        MetricType::COUNTER => name.strip_suffix(TOTAL).unwrap_or(name),
        _ => name,
    };
    comment(out, "# TYPE ", name);
    let kind = match kind {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "unknown",
        MetricType::HISTOGRAM => "histogram",
    };
    out.extend_from_slice(kind.as_bytes());
    out.push(b'\n');
    let unit = UNITS.into_iter().find(|unit| {
        name.strip_suffix(unit)
            .is_some_and(|name| name.ends_with('_'))
    });
    if let Some(unit) = unit {
        comment(out, "# UNIT ", name);
        out.extend_from_slice(unit.as_bytes());
        out.push(b'\n');
    }
    if !help.is_empty() {
        comment(out, "# HELP ", name);
        escaped(out, help, |byte| matches!(byte, b'\\' | b'\n' | b'"'));
        out.push(b'\n');
    }
}

/// All lines of a histogram or a summary.
pub(super) fn distribution(
    out: &mut Vec<u8>,
    format: Format,
    name: &str,
    kind: MetricType,
    metric: &Metric,
) {
    let labels = metric
        .get_label()
        .iter()
        .map(|pair| (pair.name(), pair.value()));
    let (label, suffix) = match kind {
        MetricType::HISTOGRAM => ("le", "_bucket"),
        _ => ("quantile", ""),
    };
    let mut line = |suffix: &str, bound: Option<&str>, value: f64| {
        let bound = bound.map(|bound| (label, bound));
        name_and_labels(out, name, suffix, labels.clone(), bound);
        number::float(out, value);
        time_and_end(out, format, metric.timestamp_ms());
    };
    let (sum, count) = if kind == MetricType::HISTOGRAM {
        let histogram = metric.get_histogram();
        let mut infinite = false;
        for bucket in histogram.get_bucket() {
            let bound = match format {
                Format::OpenMetrics => number::canonical(bucket.upper_bound()),
                _ => number::bound(bucket.upper_bound()),
            };
            line(suffix, Some(&bound), bucket.cumulative_count() as f64);
            infinite |= bucket.upper_bound() == f64::INFINITY;
        }
        if !infinite {
            line(suffix, Some("+Inf"), histogram.get_sample_count() as f64);
        }
        (histogram.get_sample_sum(), histogram.get_sample_count())
    } else {
        let summary = metric.get_summary();
        for quantile in summary.get_quantile() {
            let bound = match format {
                Format::OpenMetrics => number::canonical(quantile.quantile()),
                _ => quantile.quantile().to_string(),
            };
            line(suffix, Some(&bound), quantile.value());
        }
        (summary.sample_sum(), summary.sample_count())
    };
    line("_sum", None, sum);
    line("_count", None, count as f64);
}

/// A line up to the blank before its value.
#[inline]
pub(super) fn name_and_labels<'a>(
    out: &mut Vec<u8>,
    name: &str,
    suffix: &str,
    labels: impl Iterator<Item = (&'a str, &'a str)>,
    bound: Option<(&str, &str)>,
) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    let mut before = b'{';
    let mut label = |(name, value): (&str, &str)| {
        out.push(before);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escaped(out, value, |byte| matches!(byte, b'\\' | b'\n' | b'"'));
        out.push(b'"');
        before = b',';
    };
    labels.for_each(&mut label);
    bound.map(&mut label);
    out.extend_from_slice(if before == b'{' { b" " } else { b"} " });
}

/// What follows a value: its time where there is one, and the line's end.
#[inline]
pub(super) fn time_and_end(out: &mut Vec<u8>, format: Format, timestamp_ms: i64) {
    if timestamp_ms != 0 {
        out.push(b' ');
        match format {
            // Unit: seconds.
            Format::OpenMetrics => number::float(out, timestamp_ms as f64 / 1000.0),
            _ => number::integer(out, timestamp_ms),
        }
    }
    out.push(b'\n');
}

fn comment(out: &mut Vec<u8>, keyword: &str, name: &str) {
    out.extend_from_slice(keyword.as_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(b' ');
}

#[inline]
fn escaped(out: &mut Vec<u8>, text: &str, special: impl Fn(u8) -> bool) {
    let mut rest = text.as_bytes();
    // Hardly a text has any of them. Without a way out this loop looks at many bytes at a time.
    if !rest.iter().fold(false, |any, byte| any | special(*byte)) {
        out.extend_from_slice(rest);
        return;
    }
    while let Some(at) = rest.iter().position(|byte| special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(match rest[at] {
            b'\n' => b'n',
            byte => byte,
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}
