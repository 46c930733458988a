//! The parameters of a query.

use std::borrow::Cow;

use form_urlencoded::parse;

/// The parameters of `/metrics`, `/probe` and `/`; unknown ones are ignored.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// `appid`
    pub(super) appids: Vec<Cow<'a, str>>,
    /// `target`
    pub(super) targets: Vec<Cow<'a, str>>,
    /// `name[]`: names of metrics.
    pub(super) names: Vec<String>,
    /// `lang`: the language of the status page.
    pub(super) lang: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    pub(super) fn read(query: Option<&'a str>) -> Self {
        let mut read = Self::default();
        // Parsing no query, as in most scrapes, allocates nothing.
        for (key, value) in parse(query.unwrap_or_default().as_bytes()) {
            match key.as_ref() {
                "appid" => read.appids.push(value),
                "target" => read.targets.push(value),
                "name[]" => read.names.push(value.into_owned()),
                "lang" => read.lang = Some(value),
                _ => {}
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_may_be_repeated() {
        let read = Query::read(Some(
            "appid=wx1&x=y&appid=wx%32&name%5B%5D=up&name[]=a+b&target=",
        ));
        assert_eq!(read.appids, ["wx1", "wx2"]);
        assert_eq!(read.names, ["up", "a b"]);
        assert_eq!(read.targets, [""]);
        assert_eq!(Query::read(None), Query::default());
    }
}
