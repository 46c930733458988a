//! HTML in which nothing but our own markup is markup.

use std::fmt::{self, Write};

/// A document being written. Markup is `&'static str`, so no text from outside can pass as markup.
#[derive(Debug, Default)]
pub(super) struct Html {
    document: String,
}

impl Html {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self {
            document: String::with_capacity(bytes),
        }
    }

    /// Markup of ours.
    pub(super) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.document.push_str(markup);
        self
    }

    /// Text, as text or within the quotes of an attribute.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        let mut rest = text;
        while let Some(at) = rest.find(needs_care) {
            self.document.push_str(&rest[..at]);
            let mut chars = rest[at..].chars();
            if let Some(c) = chars.next() {
                match c {
                    '&' => self.document.push_str("&amp;"),
                    '<' => self.document.push_str("&lt;"),
                    '>' => self.document.push_str("&gt;"),
                    '"' => self.document.push_str("&quot;"),
                    '\'' => self.document.push_str("&#39;"),
                    control => self.document.push(picture(control)),
                }
            }
            rest = chars.as_str();
        }
        self.document.push_str(rest);
        self
    }

    /// Anything that can be displayed, as text.
    pub(super) fn show(&mut self, value: impl fmt::Display) -> &mut Self {
        // Writing to a string can't fail; a `Display` of ours doesn't either.
        let _ = write!(Escaping(self), "{value}");
        self
    }

    /// Text from outside, which may bring its own direction and controls of it: the text around stays in order.
    pub(super) fn isolated(&mut self, text: &str) -> &mut Self {
        self.raw("<bdi>").text(text).raw("</bdi>")
    }

    /// A phrase of the texts' table with values in the places of their names in braces.
    pub(super) fn phrase(
        &mut self,
        template: &str,
        values: &[(&str, &dyn fmt::Display)],
    ) -> &mut Self {
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            self.text(before);
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
                self.show(value);
            }
            rest = after;
        }
        self.text(rest)
    }

    pub(super) fn into_string(self) -> String {
        self.document
    }
}

struct Escaping<'a>(&'a mut Html);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.text(text);
        Ok(())
    }
}

fn needs_care(c: char) -> bool {
    matches!(c, '&' | '<' | '>' | '"' | '\'') || c.is_control()
}

/// A control character is no HTML; its picture shows that it is there.
fn picture(control: char) -> char {
    match u32::from(control) {
        code @ 0..0x20 => char::from_u32(0x2400 + code).unwrap_or(char::REPLACEMENT_CHARACTER),
        0x7f => '\u{2421}',
        _ => char::REPLACEMENT_CHARACTER,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut html = Html::default();
        html.text(text);
        html.into_string()
    }

    #[test]
    fn text_can_be_neither_markup_nor_the_end_of_an_attribute() {
        assert_eq!(
            escaped("<b class='x'>\"R&D\"</b>"),
            "&lt;b class=&#39;x&#39;&gt;&quot;R&amp;D&quot;&lt;/b&gt;"
        );
    }

    #[test]
    fn control_characters_are_shown_and_chinese_is_left_alone() {
        assert_eq!(escaped("四川\0\n\u{7f}\u{85}商户"), "四川␀␊␡\u{fffd}商户");
    }

    #[test]
    fn phrase_puts_values_in_their_places_in_any_order() {
        let mut html = Html::default();
        html.phrase("{b} <of> {a}{unknown}", &[("a", &"<1>"), ("b", &2)]);
        assert_eq!(html.into_string(), "2 &lt;of&gt; &lt;1&gt;");
    }

    proptest! {
        #[test]
        fn no_text_brings_in_markup_or_control_characters(text in any::<String>()) {
            let escaped = escaped(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            prop_assert!(!escaped.chars().any(char::is_control));
        }
    }
}
