//! The routes. Their table is in the documentation of [`super`].

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hyper::header::{
    ACCEPT_LANGUAGE, ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, HeaderName,
    HeaderValue, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use hyper::http::request;
use hyper::{Method, StatusCode};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::app::App;
use crate::blocking;
use crate::collector::{self, Apps};
use crate::exposition::{self, Form, Handler, Scope};

use super::access::{self, Access};
use super::query::Query;
use super::replies::{self, Reply, document, line, line_with};
use super::{Site, deadline, sd};
use crate::status::{self, Language};

/// The headers of the status page, besides its policy. They keep browsers from guessing its type, framing it, sending
/// its address as a referrer, and caching it.
const PAGE_HEADERS: [(HeaderName, HeaderValue); 5] = [
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (X_FRAME_OPTIONS, HeaderValue::from_static("deny")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (VARY, HeaderValue::from_static("Accept-Language")),
];

/// The request headers that a page of metrics depends on.
const ACCEPT_VARIES: HeaderValue = HeaderValue::from_static("Accept, Accept-Encoding");

pub(super) struct Routes {
    pub(super) site: Arc<Site>,
    pub(super) access: Access,
    /// The number of requests in progress that count towards `--web.max-requests`.
    under_way: Arc<AtomicUsize>,
}

/// One of the requests that `--web.max-requests` allows, held until dropped.
struct RequestSlot(Arc<AtomicUsize>);

impl RequestSlot {
    /// Takes a slot if one is free. `limit`: `None` for no limit.
    fn take(under_way: &Arc<AtomicUsize>, limit: Option<usize>) -> Option<Self> {
        let one_more = |count| limit.is_none_or(|limit| count < limit).then_some(count + 1);
        under_way
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()
            .map(|_| Self(Arc::clone(under_way)))
    }
}

impl Drop for RequestSlot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy)]
struct Asked<'a> {
    head: &'a request::Parts,
    /// Our own address of the connection.
    local: Option<SocketAddr>,
    at: Instant,
}

impl Routes {
    pub(super) fn new(site: Arc<Site>, access: Access) -> Self {
        if access.file.is_some() {
            for code in access::REFUSALS {
                site.exposition.exporter.expect_http_code_of_all(code);
            }
        }
        Self {
            site,
            access,
            under_way: Arc::default(),
        }
    }

    /// Answers one request. `local`: our own address of the connection.
    pub(super) async fn answer(&self, head: &request::Parts, local: Option<SocketAddr>) -> Reply {
        let asked = Asked {
            head,
            local,
            // The scraper's timeout starts here, and includes the time for which its password waits to be checked.
            at: Instant::now(),
        };
        // A client can send hundreds of requests in one packet, and hyper asks for one answer right after the other.
        tokio::task::yield_now().await;
        let handler = self.handler(head.uri.path());
        let (rules, admitted) = self.access.admit(&head.headers).await;
        let mut reply = match admitted {
            Ok(()) => self.routed(handler, asked).await,
            Err(code) => replies::refused(code),
        };
        // The operator's headers override those of the page.
        for (name, value) in rules.into_iter().flat_map(|rules| rules.headers) {
            reply.headers_mut().insert(name, value);
        }
        self.count(handler, reply.status());
        reply
    }

    /// Counts a reply. `Other` includes requests that were too malformed to be routed.
    pub(super) fn count(&self, handler: Handler, code: StatusCode) {
        let exporter = &self.site.exposition.exporter;
        exporter.count_http_request(handler, code);
    }

    fn handler(&self, path: &str) -> Handler {
        match (self.handler_at(path), &self.site.config.external_url) {
            // A proxy may pass its path on or strip it; both work.
            (Handler::Other, Some(url)) => self.handler_at(url.strip_path(path)),
            (handler, _) => handler,
        }
    }

    fn handler_at(&self, path: &str) -> Handler {
        // The metrics come first, because an operator may want them at `/`.
        if path == self.site.config.telemetry_path {
            return Handler::Metrics;
        }
        match path {
            "/" => Handler::Status,
            "/probe" => Handler::Probe,
            "/sd" => Handler::Sd,
            "/-/healthy" => Handler::Healthy,
            "/-/ready" => Handler::Ready,
            "/-/reload" => Handler::Reload,
            _ => Handler::Other,
        }
    }

    async fn routed(&self, handler: Handler, asked: Asked<'_>) -> Reply {
        let method = &asked.head.method;
        let allowed = match handler {
            Handler::Reload => "POST, PUT, OPTIONS",
            _ => "GET, HEAD, OPTIONS",
        };
        if method == Method::OPTIONS {
            return line_with(StatusCode::NO_CONTENT, "", ALLOW, allowed);
        }
        match handler {
            Handler::Other => return line(StatusCode::NOT_FOUND, "there is nothing here\n"),
            _ if !allowed.split(", ").any(|name| method == name) => {
                let text = "this method is not allowed here\n";
                return line_with(StatusCode::METHOD_NOT_ALLOWED, text, ALLOW, allowed);
            }
            Handler::Reload => return self.reload().await,
            // An exporter that is busy with scrapes is still healthy.
            Handler::Healthy => return line(StatusCode::OK, "healthy\n"),
            Handler::Ready => return line(StatusCode::OK, "ready\n"),
            Handler::Metrics | Handler::Probe | Handler::Sd | Handler::Status => {}
        }
        // A reload can change the number of apps.
        let apps = self.site.collector.apps().list().len();
        let limit = self.site.config.max_requests(apps);
        let Some(slot) = RequestSlot::take(&self.under_way, limit) else {
            return replies::busy("too many requests at one time; see --web.max-requests\n");
        };
        let reply = match handler {
            Handler::Metrics => self.metrics(asked).await,
            Handler::Probe => self.probe(asked).await,
            // These are written before they are sent, so that slow readers of them hold up nobody.
            Handler::Sd => return self.sd(asked),
            _ => return self.status(asked.head).await,
        };
        replies::holding(reply, slot)
    }

    async fn metrics(&self, asked: Asked<'_>) -> Reply {
        let query = Query::read(asked.head.uri.query());
        let apps = self.site.collector.apps();
        for appid in &query.appids {
            if apps.find(appid).is_none() {
                return unknown_app("appid", appid);
            }
        }
        let appids: HashSet<&str> = query.appids.iter().map(AsRef::as_ref).collect();
        let is_asked = |app: &App| appids.is_empty() || appids.contains(app.config.appid.as_str());
        let asked_apps: Vec<Arc<App>> = if exposition::are_of_no_app(&query.names) {
            Vec::new()
        } else {
            let all = apps.list().iter();
            all.filter(|app| is_asked(app)).cloned().collect()
        };
        self.scrape(asked, &apps, &asked_apps, Scope::Everything, &query.names)
            .await
    }

    async fn probe(&self, asked: Asked<'_>) -> Reply {
        let query = Query::read(asked.head.uri.query());
        let apps = self.site.collector.apps();
        let problem = match query.targets.as_slice() {
            [target] if target.is_empty() => "the target is empty; ask for /probe?target=APPID\n",
            [target] => {
                let Some(app) = apps.find(target) else {
                    return unknown_app("target", target);
                };
                let app = std::slice::from_ref(app);
                return self
                    .scrape(asked, &apps, app, Scope::AppsOnly, &query.names)
                    .await;
            }
            [] => "the target is missing; ask for /probe?target=APPID\n",
            _ => "there is more than one target; ask for one at a time\n",
        };
        line(StatusCode::BAD_REQUEST, problem)
    }

    async fn scrape(
        &self,
        asked: Asked<'_>,
        configured: &Apps,
        apps: &[Arc<App>],
        scope: Scope,
        names: &[String],
    ) -> Reply {
        let config = configured.scrape;
        let headers = &asked.head.headers;
        let deadline = asked.at + deadline::time_allowed(headers, config);
        let form = Form::negotiate(headers);
        let scrape = collector::scrape(apps, config.max_stale, deadline).await;
        let page = self.site.exposition.page(scrape, scope, names, form);
        let mut reply = replies::streamed(form.content_type(), page.into_body());
        let headers = reply.headers_mut();
        headers.insert(VARY, ACCEPT_VARIES);
        if form.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        reply
    }

    fn sd(&self, asked: Asked<'_>) -> Reply {
        let apps = self.site.collector.apps();
        let target = match &self.site.config.external_url {
            Some(url) => sd::Target::external(url),
            None => sd::Target::asked(asked.head, asked.local, self.access.tls().is_some()),
        };
        let json = HeaderValue::from_static("application/json");
        document(json, sd::document(&apps, &target))
    }

    async fn status(&self, head: &request::Parts) -> Reply {
        if let Some(url) = &self.site.config.external_url
            && head.uri.path() == url.path
        {
            // The page's links are relative to the path with its final slash.
            return replies::redirect(&format!("{}/", url.path));
        }
        let query = Query::read(head.uri.query());
        let appid = query.appids.first().map(|appid| appid.to_string());
        let language = head.headers.get(ACCEPT_LANGUAGE);
        let language = language.and_then(|value| value.to_str().ok());
        let language = Language::choose(query.lang.as_deref(), language);
        let site = Arc::clone(&self.site);
        let asked = appid.clone();
        // Rendered on another thread: few people look at the page, and rendering thousands of accounts takes long.
        let page = blocking::run(move || {
            let path = &site.config.telemetry_path;
            status::page(&site.collector, asked.as_deref(), path, language)
        });
        let Some(page) = page.await else {
            return unknown_app("appid", &appid.unwrap_or_default());
        };
        let html = HeaderValue::from_static("text/html; charset=utf-8");
        let mut reply = document(html, page);
        let headers = reply.headers_mut();
        headers.extend(PAGE_HEADERS);
        let policy = HeaderValue::from_static(status::content_security_policy());
        headers.insert(CONTENT_SECURITY_POLICY, policy);
        reply
    }

    async fn reload(&self) -> Reply {
        if !self.site.config.enable_lifecycle {
            // This is Prometheus's own message.
            return line(StatusCode::FORBIDDEN, "Lifecycle API is not enabled.\n");
        }
        let (request, reloaded) = oneshot::channel();
        let sent = self.site.reloads.send(request).await;
        sent.expect("reloads are done for as long as requests are answered");
        let aborted = |_| Err("the reload was aborted".to_owned());
        match reloaded.await.unwrap_or_else(aborted) {
            Ok(()) => line(StatusCode::OK, "reloaded\n"),
            Err(reason) => line(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("the old configuration stays, the new one can't be used: {reason}\n"),
            ),
        }
    }
}

fn unknown_app(parameter: &str, appid: &str) -> Reply {
    let text = format!("{parameter} {appid:?} is not configured; /sd lists the apps that are\n");
    line(StatusCode::BAD_REQUEST, text)
}
