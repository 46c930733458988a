//! The status page for people, at `/`. It shows apps and accounts in trouble first, and how to fix them.
//!
//! `overview` collects what the apps know, without calling WeChat, rates it by the rules of `state` and sorts it;
//! `templates` renders it. The page is a single document without scripts or external assets, so its
//! Content-Security-Policy forbids everything but its own stylesheet. Its size is bounded: it shows the worst apps and
//! accounts and counts the rest. Its links are relative, so that they work behind a proxy under any path.

#[cfg(test)]
mod fixtures;
mod numbers;
mod overview;
mod state;
mod templates;
pub(crate) mod translations;

pub(crate) use state::AccountState;
pub(crate) use translations::Language;

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use crate::collector::Collector;

use overview::{AppFacts, Overview};
use templates::Page;
use translations::Texts;

const STYLE: &str = include_str!("style.css");

/// Returns the HTML document, to be served with [`content_security_policy`]. Never calls WeChat and shows no secret.
///
/// `appid` selects a single app and shows more of its accounts. Returns `None` if that app isn't configured.
pub(crate) fn page(
    collector: &Collector,
    appid: Option<&str>,
    telemetry_path: &str,
    language: Language,
) -> Option<String> {
    let now = collector.shared.now();
    let apps = collector.apps();
    let selected = match appid {
        Some(appid) => std::slice::from_ref(apps.find(appid)?),
        None => apps.list(),
    };
    let facts = selected.iter();
    let facts: Vec<_> = facts.map(|app| AppFacts::of(app, collector, now)).collect();
    let page = Page {
        overview: &Overview::new(&facts, appid, now.wall),
        telemetry_path,
        texts: Texts::of(language),
    };
    Some(page.render())
}

/// Returns the value of the page's `Content-Security-Policy` header. It allows no scripts, no external content, no
/// framing, and no styles but the page's own.
pub(crate) fn content_security_policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let hash = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'"
        )
    });
    &POLICY
}
