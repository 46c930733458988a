//! Addresses to listen on, as every Prometheus exporter takes them.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use super::{ConfigError, ListenAddress};

impl FromStr for ListenAddress {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = |what: &str| Err(ConfigError(what.to_owned()));
        if let Some(path) = text.strip_prefix("unix:") {
            // `unix:///run/x.sock` is how others write it.
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path {
                "" => wrong("has no path; write for example unix:/run/exporter.sock"),
                path => Ok(Self::Unix(PathBuf::from(path))),
            };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Socket(address));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return wrong("has no port; write for example :10086 or 127.0.0.1:10086");
        };
        let port_is_digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let Some(port) = port.parse().ok().filter(|_| port_is_digits) else {
            return wrong("has no port from 0 to 65535; write for example :10086");
        };
        if host.is_empty() {
            return Ok(Self::AnyAddress(port));
        }
        if host.contains(':') {
            return wrong("needs brackets around an IPv6 address; write for example [::1]:10086");
        }
        let of_a_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !host.bytes().all(of_a_name) {
            return wrong("is not a host and a port; write for example :10086 or localhost:10086");
        }
        Ok(Self::Name(host.to_owned(), port))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyAddress(port) => write!(f, ":{port}"),
            Self::Socket(address) => address.fmt(f),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_every_exporter_takes_them() {
        let socket = |text: &str| ListenAddress::Socket(text.parse().unwrap());
        for (text, address) in [
            (":10086", ListenAddress::AnyAddress(10086)),
            (":0", ListenAddress::AnyAddress(0)),
            ("127.0.0.1:1", socket("127.0.0.1:1")),
            ("[::1]:65535", socket("[::1]:65535")),
            ("localhost:9", ListenAddress::Name("localhost".into(), 9)),
            (
                "unix:/run/x.sock",
                ListenAddress::Unix("/run/x.sock".into()),
            ),
            ("unix:x.sock", ListenAddress::Unix("x.sock".into())),
        ] {
            let read: ListenAddress = text.parse().unwrap();
            assert_eq!(read, address, "{text}");
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn bad_addresses_say_what_to_write() {
        for (text, problem) in [
            ("", "has no port"),
            ("10086", "has no port"),
            (":http", "has no port from 0 to 65535"),
            (":+80", "has no port from 0 to 65535"),
            (":65536", "has no port from 0 to 65535"),
            ("::1:80", "needs brackets around an IPv6 address"),
            ("http//x:80", "is not a host and a port"),
            ("unix:", "has no path"),
        ] {
            let error = text.parse::<ListenAddress>().unwrap_err().0;
            assert!(error.starts_with(problem), "{text}: {error}");
            assert!(error.contains("; write for example "), "{text}: {error}");
        }
    }
}
