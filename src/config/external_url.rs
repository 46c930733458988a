//! `--web.external-url`: where a proxy in front of the exporter serves it.

use std::str::FromStr;

use hyper::Uri;

/// The URL under which clients reach the exporter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalUrl {
    /// `http` or `https`.
    pub(crate) scheme: &'static str,
    /// The host, and the port if there is one.
    pub(crate) authority: String,
    /// The path without a trailing slash; empty if the proxy serves nothing else.
    pub(crate) path: String,
}

impl ExternalUrl {
    /// Strips this URL's path from the path of a request, which leaves the path that the exporter's own routes have.
    pub(crate) fn strip_path<'a>(&self, path: &'a str) -> &'a str {
        match path.strip_prefix(&self.path) {
            Some("") => "/",
            Some(rest) if rest.starts_with('/') => rest,
            _ => path,
        }
    }
}

impl FromStr for ExternalUrl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const FORM: &str = "must be http:// or https://, a host and perhaps a path, for example \
            https://monitoring.example/wechat";
        let uri: Uri = text.parse().map_err(|_| FORM)?;
        let scheme = match uri.scheme_str() {
            Some("http") => "http",
            Some("https") => "https",
            _ => return Err(FORM),
        };
        let authority = uri.authority().ok_or(FORM)?;
        // The path alone, as in a redirect, would name a host.
        let leads_elsewhere = uri.path().starts_with("//");
        let host = authority.host();
        let has_bad_port = authority.as_str() != host && authority.port_u16().is_none();
        // Links must not show a login, and clients send other paths than ASCII in escapes.
        let is_plain = text.is_ascii() && !text.contains(['@', '?', '#']);
        if host.is_empty() || has_bad_port || leads_elsewhere || !is_plain {
            return Err(FORM);
        }
        Ok(Self {
            scheme,
            authority: authority.to_string(),
            path: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn external_url_is_scheme_host_and_path() {
        for (text, parts) in [
            (
                "https://a.example/wechat/",
                ("https", "a.example", "/wechat"),
            ),
            ("http://10.0.0.1:8080", ("http", "10.0.0.1:8080", "")),
            ("http://[::1]/a/b", ("http", "[::1]", "/a/b")),
        ] {
            let url: ExternalUrl = text.parse().unwrap();
            assert_eq!((url.scheme, &*url.authority, &*url.path), parts);
        }
        for bad in [
            "",
            "a.example",
            "/wechat",
            "ftp://a.example",
            "http://",
            "http://:80",
            "http://a.example:abc/x",
            "http://a.example:65536",
            "http://a.example/微信",
            "http://user:password@a.example",
            "http://a.example/?a=b",
            "http://a.example/#a",
            "https://a.example//other.example",
        ] {
            let error = bad.parse::<ExternalUrl>().unwrap_err().to_string();
            assert!(error.contains("for example"), "{bad}: {error}");
        }
    }
}
