//! `io.prometheus.client.MetricFamily` on the wire, each message after its length.
//!
//! Field numbers are those of `metrics.proto` (`github.com/prometheus/client_model`). Only lengths, varints, doubles and
//! strings occur, so that no generated code is needed.

use prometheus::proto::{Metric, MetricType};

/// The wire type of an integer.
const VARINT: u8 = 0;
/// The wire type of a double.
const FIXED64: u8 = 1;
/// The wire type of strings and messages.
const LENGTH: u8 = 2;

/// One byte before a field; every number here is below 16.
const fn tag(field: u8, wire_type: u8) -> u8 {
    field << 3 | wire_type
}

/// A gauge, a counter or an untyped value: its message holds one double.
const VALUE_LENGTH: u64 = 9;

/// The family's own fields, before its metrics.
pub(super) fn header(out: &mut Vec<u8>, name: &str, help: &str, kind: MetricType) {
    string(out, 1, name);
    if !help.is_empty() {
        string(out, 2, help);
    }
    let kind = match kind {
        MetricType::COUNTER => 0,
        MetricType::GAUGE => 1,
        MetricType::SUMMARY => 2,
        MetricType::UNTYPED => 3,
        MetricType::HISTOGRAM => 4,
    };
    integer(out, 3, kind);
}

/// Puts the length of all from `start` on before it.
pub(super) fn put_length_first(out: &mut Vec<u8>, start: usize) {
    let end = out.len();
    varint(out, (end - start) as u64);
    let added = out.len() - end;
    out[start..].rotate_right(added);
}

/// A counter, a gauge or an untyped metric.
#[inline]
pub(super) fn value<'a>(
    out: &mut Vec<u8>,
    kind: MetricType,
    labels: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    value: f64,
    timestamp_ms: i64,
) {
    let field = match kind {
        MetricType::COUNTER => 3,
        MetricType::UNTYPED => 5,
        _ => 2,
    };
    let length = labels_length(labels.clone())
        + message_length(VALUE_LENGTH)
        + timestamp_length(timestamp_ms);
    out.push(tag(4, LENGTH));
    varint(out, length);
    write_labels(out, labels);
    out.push(tag(field, LENGTH));
    varint(out, VALUE_LENGTH);
    double(out, 1, value);
    timestamp(out, timestamp_ms);
}

/// A histogram or a summary.
pub(super) fn distribution(out: &mut Vec<u8>, kind: MetricType, metric: &Metric) {
    let mut message = Vec::new();
    let mut piece = Vec::new();
    let field = if kind == MetricType::HISTOGRAM {
        let histogram = metric.get_histogram();
        integer(&mut message, 1, histogram.get_sample_count());
        double(&mut message, 2, histogram.get_sample_sum());
        for bucket in histogram.get_bucket() {
            piece.clear();
            integer(&mut piece, 1, bucket.cumulative_count());
            double(&mut piece, 2, bucket.upper_bound());
            bytes(&mut message, 3, &piece);
        }
        7
    } else {
        let summary = metric.get_summary();
        integer(&mut message, 1, summary.sample_count());
        double(&mut message, 2, summary.sample_sum());
        for quantile in summary.get_quantile() {
            piece.clear();
            double(&mut piece, 1, quantile.quantile());
            double(&mut piece, 2, quantile.value());
            bytes(&mut message, 3, &piece);
        }
        4
    };
    let labels = metric
        .get_label()
        .iter()
        .map(|pair| (pair.name(), pair.value()));
    let length = labels_length(labels.clone())
        + message_length(message.len() as u64)
        + timestamp_length(metric.timestamp_ms());
    out.push(tag(4, LENGTH));
    varint(out, length);
    write_labels(out, labels);
    bytes(out, field, &message);
    timestamp(out, metric.timestamp_ms());
}

fn label_length((name, value): (&str, &str)) -> u64 {
    message_length(name.len() as u64) + message_length(value.len() as u64)
}

fn labels_length<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> u64 {
    labels
        .map(|label| message_length(label_length(label)))
        .sum()
}

fn write_labels<'a>(out: &mut Vec<u8>, labels: impl Iterator<Item = (&'a str, &'a str)>) {
    for label in labels {
        out.push(tag(1, LENGTH));
        varint(out, label_length(label));
        string(out, 1, label.0);
        string(out, 2, label.1);
    }
}

fn timestamp(out: &mut Vec<u8>, timestamp_ms: i64) {
    if timestamp_ms != 0 {
        integer(out, 6, timestamp_ms.cast_unsigned());
    }
}

fn timestamp_length(timestamp_ms: i64) -> u64 {
    match timestamp_ms {
        0 => 0,
        _ => 1 + varint_length(timestamp_ms.cast_unsigned()),
    }
}

fn string(out: &mut Vec<u8>, field: u8, text: &str) {
    bytes(out, field, text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    out.push(tag(field, LENGTH));
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn double(out: &mut Vec<u8>, field: u8, value: f64) {
    out.push(tag(field, FIXED64));
    out.extend_from_slice(&value.to_le_bytes());
}

fn integer(out: &mut Vec<u8>, field: u8, value: u64) {
    out.push(tag(field, VARINT));
    varint(out, value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A message or a string with its tag and its length. Unit: bytes.
fn message_length(length: u64) -> u64 {
    1 + varint_length(length) + length
}

fn varint_length(value: u64) -> u64 {
    u64::from((64 - (value | 1).leading_zeros()).div_ceil(7))
}
