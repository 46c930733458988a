//! Addresses to listen on, in the form that every Prometheus exporter accepts.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// One address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// `:10086`: every address of the machine, IPv6 and IPv4.
    AnyAddress(u16),
    /// `127.0.0.1:10086`, `[::1]:10086`, `localhost:10086`: a name is resolved at start.
    Host(String),
    /// `unix:/run/exporter.sock`.
    Unix(PathBuf),
}

const FORMS: &str =
    "must be like :10086, 127.0.0.1:10086, [::1]:10086, localhost:10086 or unix:/run/exporter.sock";

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            // Other programs write `unix:///run/x.sock`.
            let path = path.strip_prefix("//").unwrap_or(path);
            // The system would choose an address that nobody knows.
            let is_path = !path.is_empty();
            return is_path.then(|| Self::Unix(path.into())).ok_or(FORMS);
        }
        let (host, port) = text.rsplit_once(':').ok_or(FORMS)?;
        let port = port.parse().map_err(|_| FORMS)?;
        if host.is_empty() {
            Ok(Self::AnyAddress(port))
        } else if host.contains(':') && text.parse::<SocketAddr>().is_err() {
            // An IPv6 address without its brackets.
            Err(FORMS)
        } else {
            Ok(Self::Host(text.to_owned()))
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnyAddress(port) => write!(f, ":{port}"),
            Self::Host(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_every_exporter_takes_them() {
        let host = |text: &str| ListenAddress::Host(text.to_owned());
        for (text, address) in [
            (":10086", ListenAddress::AnyAddress(10086)),
            (":0", ListenAddress::AnyAddress(0)),
            ("127.0.0.1:1", host("127.0.0.1:1")),
            ("[::1]:65535", host("[::1]:65535")),
            ("localhost:9", host("localhost:9")),
            (
                "unix:/run/x.sock",
                ListenAddress::Unix("/run/x.sock".into()),
            ),
            ("unix:x.sock", ListenAddress::Unix("x.sock".into())),
        ] {
            let read: ListenAddress = text.parse().unwrap();
            assert_eq!(read, address, "{text}");
            assert_eq!(read.to_string(), text);
            // After a comma, many write a space.
            assert_eq!(format!(" {text}").parse(), Ok(address));
        }
    }

    #[test]
    fn bad_addresses_say_what_to_write() {
        for text in ["", "10086", ":http", ":65536", "::1:80", "unix:", "unix://"] {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains("like :10086"), "{text}: {error}");
        }
    }
}
