//! Reading values that may not be what they should be: each shape takes what it understands and lets the rest pass.
//!
//! WeChat's replies reach the exporter through several programs that each spell a number their own way. A field that
//! can't be read must cost that field and not the list, so that no shape here ever fails on a value's type.

use std::fmt;

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor,
};

/// A JSON value that is no array and no object.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'a> {
    /// `null`, and whatever a shape has no use for.
    Nothing,
    Bool(bool),
    Integer(i64),
    /// Beyond `i64`.
    Unsigned(u64),
    /// Also integers beyond `u64`.
    Float(f64),
    Text(&'a str),
}

/// What is made of a value, whatever it is.
pub(super) trait Shape<'de>: Sized {
    type Value;

    /// What a scalar stands for; arrays and objects come here as [`Scalar::Nothing`] unless they have a meaning.
    fn scalar(self, scalar: Scalar<'_>) -> Self::Value;

    fn array<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.scalar(Scalar::Nothing))
    }

    fn object<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.scalar(Scalar::Nothing))
    }
}

/// Makes a shape something that serde can read into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tolerant<S>(pub(super) S);

impl<'de, S: Shape<'de>> DeserializeSeed<'de> for Tolerant<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape<'de>> Visitor<'de> for Tolerant<S> {
    type Value = S::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<S::Value, E> {
        Ok(self.0.scalar(Scalar::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<S::Value, E> {
        Ok(self.0.scalar(Scalar::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<S::Value, E> {
        let scalar = i64::try_from(value).map_or(Scalar::Unsigned(value), Scalar::Integer);
        Ok(self.0.scalar(scalar))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<S::Value, E> {
        Ok(self.0.scalar(Scalar::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<S::Value, E> {
        Ok(self.0.scalar(Scalar::Text(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<S::Value, E> {
        Ok(self.0.scalar(Scalar::Nothing))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, array: A) -> Result<S::Value, A::Error> {
        self.0.array(array)
    }

    fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<S::Value, A::Error> {
        self.0.object(object)
    }
}

/// A number: an integer, a float, or either as a string. `None` where it is none of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number;

/// A number that was read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Read {
    Integer(i64),
    /// Finite.
    Float(f64),
}

impl Shape<'_> for Number {
    type Value = Option<Read>;

    fn scalar(self, scalar: Scalar<'_>) -> Option<Read> {
        match scalar {
            Scalar::Integer(value) => Some(Read::Integer(value)),
            Scalar::Unsigned(value) => Some(Read::Float(value as f64)),
            Scalar::Float(value) => value.is_finite().then_some(Read::Float(value)),
            Scalar::Text(text) => numeric(text),
            Scalar::Nothing | Scalar::Bool(_) => None,
        }
    }
}

fn numeric(text: &str) -> Option<Read> {
    let text = text.trim();
    if let Ok(value) = text.parse() {
        return Some(Read::Integer(value));
    }
    // `parse` would take "inf" and "nan" as well.
    if !text.ends_with(|last: char| last.is_ascii_digit() || last == '.') {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some(Read::Float(value))
}

impl Read {
    pub(super) fn float(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The whole number; `None` where there is a fraction or `i64` has no such number.
    pub(super) fn integer(self) -> Option<i64> {
        /// The first whole number beyond `i64`, which a float can hold exactly.
        const BEYOND: f64 = 9_223_372_036_854_775_808.0;
        match self {
            Self::Integer(value) => Some(value),
            Self::Float(value) if value.fract() == 0.0 && (-BEYOND..BEYOND).contains(&value) => {
                Some(value as i64)
            }
            Self::Float(_) => None,
        }
    }

    /// Seconds since 1970; `None` for 0 and below, by which "never" is meant.
    ///
    /// WeChat sends seconds. A number that would lie beyond the year 5138 is taken for milliseconds, or smaller parts
    /// of a second still. What is read is read again as the same: a stored snapshot passes here twice.
    pub(super) fn timestamp(self) -> Option<i64> {
        const LATEST: i64 = 100_000_000_000;
        let mut time = self.integer()?;
        while time > LATEST {
            time /= 1000;
        }
        (time > 0).then_some(time)
    }
}

/// A text, of which at most so many bytes are kept. Whole numbers are texts too: an identifier may lose its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) bytes: usize,
}

/// A text that was read; empty where there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) text: Box<str>,
    /// It was longer than what is kept of it.
    pub(super) cut: bool,
}

impl Text {
    fn kept(self, text: &str) -> Kept {
        let kept = &text[..text.floor_char_boundary(self.bytes)];
        Kept {
            text: kept.into(),
            cut: kept.len() < text.len(),
        }
    }
}

impl Shape<'_> for Text {
    type Value = Kept;

    fn scalar(self, scalar: Scalar<'_>) -> Kept {
        match scalar {
            Scalar::Text(text) => self.kept(text),
            // Cut as any text: what is stored is a string, and is read again as it was.
            Scalar::Integer(value) => self.kept(&value.to_string()),
            Scalar::Unsigned(value) => self.kept(&value.to_string()),
            Scalar::Nothing | Scalar::Bool(_) | Scalar::Float(_) => Kept::default(),
        }
    }
}

/// A key of an object that is known under its name, or one that is passed over.
pub(super) trait Key: Copy {
    fn named(name: &str) -> Option<Self>;
}

/// Reads a key without making a string of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRead<K>(pub(super) Option<K>);

impl<'de, K: Key> Deserialize<'de> for KeyRead<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name<K>(std::marker::PhantomData<K>);

        impl<K: Key> Visitor<'_> for Name<K> {
            type Value = KeyRead<K>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<KeyRead<K>, E> {
                Ok(KeyRead(K::named(name)))
            }
        }

        deserializer.deserialize_identifier(Name(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(json: &str) -> Option<Read> {
        Tolerant(Number)
            .deserialize(&mut serde_json::Deserializer::from_str(json))
            .unwrap()
    }

    fn integer(json: &str) -> Option<i64> {
        number(json).and_then(Read::integer)
    }

    #[test]
    fn whole_numbers_are_read_in_every_spelling() {
        for json in [
            "210",
            "210.0",
            "2.1e2",
            r#""210""#,
            r#"" 210 ""#,
            r#""210.0""#,
        ] {
            assert_eq!(integer(json), Some(210), "{json}");
        }
        assert_eq!(integer("-1"), Some(-1));
        assert_eq!(integer(r#""-1""#), Some(-1));
    }

    #[test]
    fn what_is_no_number_is_nothing() {
        for json in [
            "null",
            "true",
            r#""""#,
            r#""a""#,
            r#""inf""#,
            r#""NaN""#,
            r#""1e999""#,
            "[1]",
            "{}",
            r#""infinity""#,
            "[[[]]]",
            r#""0x10""#,
        ] {
            assert_eq!(number(json), None, "{json}");
        }
    }

    #[test]
    fn fraction_and_what_exceeds_an_integer_are_numbers_but_no_integers() {
        for json in ["1.5", "1e300", "9223372036854775808", "-1e300"] {
            assert!(number(json).is_some(), "{json}");
            assert_eq!(integer(json), None, "{json}");
        }
        assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
        assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
    }

    #[test]
    fn timestamps_are_seconds_and_zero_is_never() {
        let timestamp = |json| number(json).and_then(Read::timestamp);
        assert_eq!(timestamp("1578552960"), Some(1_578_552_960));
        for smaller in ["1578552960123", "1578552960123456", "1578552960123456789"] {
            assert_eq!(timestamp(smaller), Some(1_578_552_960), "{smaller}");
        }
        assert_eq!(timestamp(r#""1578552960""#), Some(1_578_552_960));
        assert_eq!(timestamp("0"), None);
        assert_eq!(timestamp("-62135596800"), None);
        assert_eq!(timestamp("1e300"), None);
    }

    #[test]
    fn text_is_cut_at_a_characters_end() {
        let read = |json, bytes| {
            Tolerant(Text { bytes })
                .deserialize(&mut serde_json::Deserializer::from_str(json))
                .unwrap()
        };
        assert_eq!(&*read(r#""圆通""#, 6).text, "圆通");
        assert!(!read(r#""圆通""#, 6).cut);
        assert_eq!(&*read(r#""圆通""#, 5).text, "圆");
        assert!(read(r#""圆通""#, 5).cut);
        for number in [
            "123456789",
            "-1",
            "9223372036854775808",
            "18446744073709551615",
        ] {
            assert_eq!(&*read(number, 64).text, number);
        }
        for nine in ["123456789", r#""123456789""#] {
            assert_eq!(&*read(nine, 8).text, "12345678");
            assert!(read(nine, 8).cut, "{nine}");
        }
        assert_eq!(&*read("null", 64).text, "");
        assert_eq!(&*read(r#"["a"]"#, 64).text, "");
    }
}
