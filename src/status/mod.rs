//! The status page for people, at `/`: apps and accounts in trouble first, and how to fix it.
//!
//! `overview` takes what the apps know, without a call to WeChat, judges it by the rules of `state` and puts it in
//! order; `templates` writes it. The page is one document without scripts or outside assets, so its
//! Content-Security-Policy forbids everything but its own stylesheet. Its size is bounded: it shows the worst of what
//! there is and counts the rest. Its links are relative, so that they work behind a proxy under any path.

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

use crate::clock::Moment;
use crate::collector::Collector;

use overview::{AppFacts, Overview};
use templates::Page;
use translations::Texts;

const STYLE: &str = include_str!("style.css");

/// The HTML document, to be served with [`content_security_policy`]. Never calls WeChat, and shows no secret.
///
/// `appid`: only this app, with more of its accounts; `None` where it isn't configured.
pub(crate) fn page(
    collector: &Collector,
    appid: Option<&str>,
    telemetry_path: &str,
    language: Language,
    now: Moment,
) -> Option<String> {
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

/// The value of the page's `Content-Security-Policy` header: no scripts, nothing from elsewhere, no frame around it,
/// and of styles only the page's own.
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
