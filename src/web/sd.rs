//! Prometheus HTTP service discovery: one target per app.
//!
//! The format: <https://prometheus.io/docs/prometheus/latest/http_sd/>.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::HOST;
use hyper::http::request;
use hyper::http::uri::Authority;
use serde_json::{Value, json};

use crate::app::App;
use crate::collector::Apps;
use crate::config::{AppConfig, ExternalUrl};

/// Host names have at most 253 characters; brackets and a port add a few.
const MAX_HOST: usize = 270;

/// The address at which Prometheus scrapes the apps.
pub(super) struct Target {
    /// The host, with a port unless it is the scheme's default.
    address: String,
    /// `None` to use the scheme of the scrape configuration.
    scheme: Option<&'static str>,
    path: String,
}

impl Target {
    /// Returns the target at the proxy in front of the exporter.
    pub(super) fn external(url: &ExternalUrl) -> Self {
        Self {
            address: url.authority.clone(),
            scheme: Some(url.scheme),
            path: format!("{}/probe", url.path),
        }
    }

    /// Returns the target at the address that the client used, as that works for it, or else at our own address.
    pub(super) fn asked(
        head: &request::Parts,
        local: Option<SocketAddr>,
        serves_tls: bool,
    ) -> Self {
        let asked = match head.uri.authority() {
            Some(authority) => Some(authority.as_str()),
            None => host(&head.headers),
        };
        let address = match (asked.filter(|host| is_sane(host)), local) {
            (Some(host), _) => host.to_owned(),
            (None, Some(local)) => local.to_string(),
            (None, None) => "localhost".to_owned(),
        };
        Self {
            address,
            scheme: serves_tls.then_some("https"),
            path: "/probe".to_owned(),
        }
    }
}

/// Returns the JSON document, with one target for each app.
pub(super) fn document(apps: &Apps, target: &Target) -> String {
    let group = |app: &Arc<App>| {
        let AppConfig { appid, name, .. } = &app.config;
        let mut labels = json!({
            // Overrides `metrics_path` of the scrape configuration, so that it needn't be set there.
            "__metrics_path__": target.path,
            "__param_target": appid,
            "__meta_wechat_logistics_appid": appid,
            "__meta_wechat_logistics_name": name,
        });
        if let Some(scheme) = target.scheme {
            labels["__scheme__"] = scheme.into();
        }
        json!({"targets": [target.address], "labels": labels})
    };
    let groups: Value = apps.list().iter().map(group).collect();
    groups.to_string()
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST)?.to_str().ok()
}

/// Reports whether it is a name or an address, with or without a port.
fn is_sane(host: &str) -> bool {
    let authority = host.parse::<Authority>();
    let is_authority = authority.is_ok_and(|authority| !authority.host().is_empty());
    is_authority && host.len() <= MAX_HOST && !host.contains('@')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_that_is_not_an_address_is_not_handed_on() {
        for good in ["a", "exporter.internal:10086", "10.0.0.1:1", "[::1]:10086"] {
            assert!(is_sane(good), "{good}");
        }
        let long = "a".repeat(MAX_HOST + 1);
        for bad in ["", ":80", "a b", "a/b", "u@a", "a\"", "[::1", &long] {
            assert!(!is_sane(bad), "{bad}");
        }
    }
}
