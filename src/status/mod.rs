//! The status page for people, at `/`: every app and account, worst first, and what to do about it.
//!
//! `reading` takes what the apps know, without a call to WeChat, and puts it in order; `standing` judges it;
//! `document`, `summary`, `section` and `table` write it down. The page is one document without a script or an outside
//! asset, so its Content-Security-Policy can forbid everything but its own stylesheet.

mod document;
#[cfg(test)]
mod fixtures;
mod html;
mod language;
mod numbers;
mod reading;
mod section;
mod standing;
mod summary;
mod table;
mod translations;

pub use language::Language;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use crate::clock::Moment;
use crate::collector::Collector;

use reading::{AppFacts, Overview};

/// The page's stylesheet, which stands in the page.
const STYLE: &str = include_str!("style.css");

/// The whole HTML document. Never calls WeChat, and tells no secret.
///
/// `telemetry_path`: where the metrics page is. To be served with [`content_security_policy`].
#[must_use]
pub fn page(
    collector: &Collector,
    telemetry_path: &str,
    language: Language,
    now: Moment,
) -> String {
    let apps = collector.apps();
    let facts: Vec<_> = apps
        .list()
        .iter()
        .map(|app| AppFacts::of(app, now))
        .collect();
    let names = collector.couriers().names();
    let overview = Overview::new(&facts, &names, apps.scrape_config().max_stale, now);
    document::write(&overview, telemetry_path, language)
}

/// The value of the page's `Content-Security-Policy` header: no script, nothing from elsewhere, no frame around it,
/// and of styles only the page's own.
#[must_use]
pub fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = sha256_base64(STYLE.as_bytes());
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    });
    &POLICY
}

/// SHA-256 as a policy writes it.
fn sha256_base64(bytes: &[u8]) -> String {
    STANDARD.encode(digest(&SHA256, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policy_names_the_hash_of_the_very_stylesheet() {
        // The example of FIPS 180-2, and an empty text for the padding.
        assert_eq!(
            sha256_base64(b"abc"),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
        assert_eq!(
            sha256_base64(b""),
            "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
        );
        assert!(content_security_policy().contains(&sha256_base64(STYLE.as_bytes())));
        assert!(!content_security_policy().contains("unsafe"));
    }

    #[test]
    fn stylesheet_asks_for_nothing_from_elsewhere_and_cannot_end_its_element() {
        for forbidden in ["url(", "@import", "</", "http"] {
            assert!(!STYLE.contains(forbidden), "{forbidden}");
        }
    }
}
