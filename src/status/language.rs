//! Which language a reader gets.

/// The page's language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese, in simplified characters.
    Chinese,
}

impl Language {
    /// What the page's own switch asks for (`?lang=zh`), else what `Accept-Language` asks for.
    #[must_use]
    pub fn choose(query: Option<&str>, accept_language: Option<&str>) -> Self {
        query
            .into_iter()
            .flat_map(|query| query.split('&'))
            .filter_map(|pair| pair.strip_prefix("lang="))
            .find_map(Self::of_tag)
            .unwrap_or_else(|| Self::negotiate(accept_language))
    }

    /// What `Accept-Language` asks for; English where it asks for nothing that is known.
    ///
    /// The header is whatever a client sends: what can't be read is passed over, of equal weights the first wins.
    #[must_use]
    pub fn negotiate(accept_language: Option<&str>) -> Self {
        let mut best = (Self::English, 0);
        for range in accept_language.unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let language = parts.next().and_then(|tag| match tag {
                "*" => Some(Self::English),
                tag => Self::of_tag(tag),
            });
            let weight = match parts.find_map(|p| p.strip_prefix("q=").or(p.strip_prefix("Q="))) {
                None => Some(1000),
                Some(weight) => thousandths(weight),
            };
            if let (Some(language), Some(weight)) = (language, weight)
                && weight > best.1
            {
                best = (language, weight);
            }
        }
        best.0
    }

    /// BCP 47, for the `lang` attribute.
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next()?;
        if primary.eq_ignore_ascii_case("zh") {
            Some(Self::Chinese)
        } else if primary.eq_ignore_ascii_case("en") {
            Some(Self::English)
        } else {
            None
        }
    }
}

/// A weight of RFC 9110, in thousandths; `None`: not one.
fn thousandths(weight: &str) -> Option<u32> {
    let weight: f32 = weight.trim().parse().ok()?;
    (0.0..=1.0).contains(&weight).then(|| {
        // Between 0 and 1000 after the check above.
        (weight * 1000.0).round() as u32
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Language::{Chinese, English};
    use super::*;

    #[test]
    fn browser_gets_the_known_language_that_it_weighs_most() {
        for (header, language) in [
            ("zh-CN,zh;q=0.9,en;q=0.8", Chinese),
            ("en-US,en;q=0.9,zh-CN;q=0.8", English),
            ("de-DE,de;q=0.9,zh-TW;q=0.7,en;q=0.3", Chinese),
            ("en;q=0.2, ZH ; q=0.9", Chinese),
            ("zh;q=0, en;q=0.1", English),
            ("zh, en", Chinese),
            ("*", English),
            ("zh;q=0.5, *;q=0.9", English),
            ("zh_CN", Chinese),
        ] {
            assert_eq!(Language::negotiate(Some(header)), language, "{header}");
        }
    }

    #[test]
    fn page_is_english_where_nothing_known_is_asked_for() {
        for header in [
            "", "de", "zho", "zh;q=NaN", "zh;q=2", "zh;q=-1", ",;,=", "q=1",
        ] {
            assert_eq!(Language::negotiate(Some(header)), English, "{header}");
        }
        assert_eq!(Language::negotiate(None), English);
    }

    #[test]
    fn switch_on_the_page_outweighs_the_browser() {
        let browser = Some("zh-CN,zh");
        assert_eq!(Language::choose(Some("lang=en"), browser), English);
        assert_eq!(Language::choose(Some("x=1&lang=zh"), None), Chinese);
        assert_eq!(Language::choose(Some("lang=tlh"), browser), Chinese);
        assert_eq!(Language::choose(None, browser), Chinese);
    }

    proptest! {
        #[test]
        fn no_header_is_too_strange(header in "\\PC{0,60}") {
            let choice = Language::choose(Some(&header), Some(&header));
            prop_assert!(matches!(choice, English | Chinese));
        }
    }
}
