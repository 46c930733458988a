//! The proxies that the environment sets.
//!
//! The HTTP client ignores a variable that it can't parse and connects directly: from an address that is on no
//! whitelist, by a route that nobody allowed. This module therefore checks the variables first, by the same rules.

use std::env;
use std::ffi::OsString;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Url;

/// The variables for `https` URLs. Of each pair, the first one that is set counts.
const HTTPS: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
/// The variables for `http` URLs.
const HTTP: [&str; 2] = ["HTTP_PROXY", "http_proxy"];
/// The variables for all URLs without a proxy of their own.
const ALL: [&str; 2] = ["ALL_PROXY", "all_proxy"];

/// A variable that should name a proxy but does not. Its value may hold a password and is not shown.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "environment variable {0} is not a valid proxy URL; write it as http://host:port, https://host:port or socks5h://host:port, \
     without quotes or spaces and with %20 for a space in the user or the password, or leave it empty to use none"
)]
pub(crate) struct Malformed(&'static str);

/// Checks all proxy variables; `variable` returns the value of one.
///
/// # Errors
/// Returns the first variable that the HTTP client would not accept.
pub(crate) fn check(variable: impl Fn(&str) -> Option<OsString>) -> Result<(), Malformed> {
    for name in [HTTPS, HTTP, ALL].concat() {
        let value = variable(name).filter(|value| !value.is_empty());
        if value.is_some_and(|value| !value.to_str().is_some_and(is_proxy)) {
            return Err(Malformed(name));
        }
    }
    Ok(())
}

fn is_proxy(value: &str) -> bool {
    let anywhere = hyper::Uri::from_static("http://api.weixin.qq.com");
    let matcher = Matcher::builder().all(value.to_owned()).build();
    matcher.intercept(&anywhere).is_some_and(|proxy| {
        // Without this check, an invalid port would count as no port.
        proxy.uri().authority().is_some_and(|authority| {
            let host = authority.host();
            !host.is_empty() && (authority.as_str() == host || authority.port_u16().is_some())
        })
    })
}

/// Describes the proxy for calls to `url`, as ` through the proxy of HTTPS_PROXY`; empty if they go directly.
pub(crate) fn on_the_way_to(url: &Url) -> String {
    let own = if url.scheme() == "https" { HTTPS } else { HTTP };
    let origin = url.origin().ascii_serialization().parse().ok();
    let proxy = origin.and_then(|origin| Matcher::from_env().intercept(&origin));
    let variable = proxy.and_then(|_| named(own).or_else(|| named(ALL)));
    variable.map_or_else(String::new, |name| format!(" through the proxy of {name}"))
}

/// Returns the variable of `pair` that names a proxy.
fn named(pair: [&'static str; 2]) -> Option<&'static str> {
    let first = pair.into_iter().find(|name| env::var_os(name).is_some())?;
    env::var_os(first)
        .is_some_and(|value| !value.is_empty())
        .then_some(first)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn checked(name: &str, value: impl Into<OsString>) -> Result<(), Malformed> {
        let value = value.into();
        check(|asked| (asked == name).then(|| value.clone()))
    }

    #[test]
    fn variable_that_the_client_would_pass_over_is_named_and_its_value_is_not() {
        for value in [
            "\"http://127.0.0.1:1\"",
            " http://127.0.0.1:1",
            "http://127.0.0.1:1 ",
            " ",
            "htp://127.0.0.1:1",
            "http//127.0.0.1:1",
            "http:/127.0.0.1:1",
            "http://",
            "http://:3128",
            "http://proxy:99999",
            "http://proxy:port",
            "http://canary user:canary@127.0.0.1:1",
            "http://canary\n@127.0.0.1:1",
        ] {
            for name in [HTTPS, HTTP, ALL].concat() {
                let malformed = checked(name, value).expect_err(value);
                assert_eq!(malformed, Malformed(name), "{value}");
                assert!(!malformed.to_string().contains("canary"));
            }
        }
        let no_text = OsString::from_vec(b"http://\xff:1".to_vec());
        assert_eq!(
            checked("https_proxy", no_text),
            Err(Malformed("https_proxy"))
        );
    }

    #[test]
    fn proxies_that_the_client_takes_pass() {
        for value in [
            "",
            "http://127.0.0.1:3128",
            "https://user:pass%20word@proxy.internal",
            "http://[::1]:3128/",
            "socks5h://user:pass@proxy:1080",
            "socks4://proxy",
            "proxy.internal:3128",
            "proxy",
        ] {
            assert_eq!(checked("HTTPS_PROXY", value), Ok(()), "{value}");
        }
        assert_eq!(check(|_| None), Ok(()));
        // `NO_PROXY` names no proxy.
        assert_eq!(checked("NO_PROXY", "a b"), Ok(()));
    }
}
