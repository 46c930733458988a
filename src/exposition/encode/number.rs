//! Numbers, as the text formats write them.

use std::io::Write as _;

/// Integers up to here are floats without loss.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// As Rust prints a float: the shortest digits that read as the same float, never an exponent.
pub(in crate::exposition) fn float(out: &mut Vec<u8>, value: f64) {
    // The general way takes four times as long, and nearly every number of a page is whole.
    let whole = value as i64;
    let same = (whole as f64).to_bits() == value.to_bits();
    if same && value.abs() <= EXACT_MAX {
        integer(out, whole);
    } else {
        write!(out, "{value}").expect("a Vec takes every byte");
    }
}

/// In decimal.
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    /// `-` and 19 digits.
    const LONGEST: usize = 20;
    let mut digits = [0; LONGEST];
    let mut begin = LONGEST;
    let mut rest = value.unsigned_abs();
    loop {
        begin -= 1;
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        begin -= 1;
        digits[begin] = b'-';
    }
    out.extend_from_slice(&digits[begin..]);
}

/// The bound of a bucket as text 0.0.4 names it.
pub(super) fn bound(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else {
        value.to_string()
    }
}

/// The bound of a bucket, or a quantile, in OpenMetrics' canonical form: as Go's `%g` prints it, with a point in any case.
pub(super) fn canonical(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) => match exponent.parse::<i32>() {
            Ok(exponent) if !(-4..6).contains(&exponent) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
            }
            // Rust's `Debug` puts the point; in this range it uses no exponent.
            _ => format!("{value:?}"),
        },
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(value: f64) -> String {
        let mut out = Vec::new();
        float(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn whole_numbers_are_printed_as_rust_prints_them_up_to_the_last_exact_one() {
        for value in [
            0.0,
            -0.0,
            1.0,
            -1.0,
            9.0,
            10.0,
            1_795_492_800.0,
            EXACT_MAX,
            -EXACT_MAX,
            EXACT_MAX * 2.0,
            1e300,
            f64::MAX,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            i64::MIN as f64,
        ] {
            assert_eq!(printed(value), value.to_string());
        }
        let mut out = Vec::new();
        integer(&mut out, i64::MIN);
        assert_eq!(out, i64::MIN.to_string().as_bytes());
    }

    #[test]
    fn canonical_bounds_are_those_of_the_openmetrics_specification() {
        for (value, text) in [
            (1e-10, "1e-10"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (0.05, "0.05"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (10.0, "10.0"),
            (100_000.0, "100000.0"),
            (1e6, "1e+06"),
            (1.5e9, "1.5e+09"),
            (1e300, "1e+300"),
            (0.0, "0.0"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(canonical(value), text);
        }
    }

    proptest! {
        #[test]
        fn any_float_is_printed_as_rust_prints_it(bits in any::<u64>(), whole in any::<i32>()) {
            for value in [f64::from_bits(bits), f64::from(whole), f64::from(whole) / 1000.0] {
                prop_assert_eq!(printed(value), value.to_string());
            }
        }

        #[test]
        fn canonical_form_reads_as_the_same_float(value in any::<f64>()) {
            let read: f64 = canonical(value).parse().unwrap();
            prop_assert!(read == value || value.is_nan());
        }
    }
}
