//! The client. One function sends all calls, to the first host that answers, within limits on time and size.

mod transport;

use std::time::{Duration, Instant, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::hosts::{Host, Hosts};
use super::reply::{self, Fault};
use super::{
    AccessToken, AccountList, Api, ApiQuota, Authorization, ClientOptions, CloudFunction, Delivery,
    Error, ListLimits, Meter, Reason,
};
use crate::blocking;
use crate::tls::{self, NoRoots};

/// The maximum size of an account list: hundreds of thousands of accounts of about 275 bytes each. Unit: bytes.
const LIST_BODY_MAX: usize = 100 << 20;
/// The maximum size of any other reply. Unit: bytes.
const BODY_MAX: usize = 1 << 20;
/// Reading a smaller reply, a few hundred accounts, takes less time than waking another thread. Unit: bytes.
const INLINE_BODY_MAX: usize = 64 << 10;

/// A client that sends calls to WeChat over one connection pool, to the first host that answers.
pub struct Client {
    http: reqwest::Client,
    hosts: Hosts,
    timeout: Duration,
    list_limits: ListLimits,
}

/// One call, independent of the host that it is sent to.
struct Call<'a> {
    api: Api,
    query: Vec<(&'static str, &'a str)>,
    /// The JSON body, which makes the call a POST. Its length is known: WeChat answers chunked requests with 412.
    body: Option<Vec<u8>>,
    body_max: usize,
    /// The secrets that must never be quoted from a reply.
    secrets: Vec<&'a str>,
    /// Whether Cloud Run's open-interface service adds the token.
    open_interface: bool,
}

impl<'a> Call<'a> {
    fn new(api: Api) -> Self {
        Self {
            api,
            query: Vec::new(),
            body: None,
            body_max: BODY_MAX,
            secrets: Vec::new(),
            open_interface: false,
        }
    }

    fn authorized(mut self, authorization: &'a Authorization) -> Self {
        let (name, token) = match authorization {
            Authorization::AccessToken(token) => ("access_token", token),
            Authorization::CloudbaseAccessToken(token) => ("cloudbase_access_token", token),
            Authorization::None { from_appid } => {
                self.open_interface = true;
                let from_appid = from_appid.as_deref();
                self.query
                    .extend(from_appid.map(|appid| ("from_appid", appid)));
                return self;
            }
        };
        let token = token.secret.expose_secret();
        self.secrets.push(token);
        self.query.push((name, token));
        self
    }

    fn json(mut self, body: &serde_json::Value) -> Self {
        // Raw UTF-8: the courier's side compares a `biz_id` literally, so an escape such as `\u5706` would not match.
        self.body = Some(body.to_string().into_bytes());
        self
    }
}

impl Client {
    /// Creates a client without calling WeChat.
    ///
    /// # Errors
    /// When a URL is https and the system has no root certificates.
    pub fn new(options: &ClientOptions) -> Result<Self, NoRoots> {
        let needs_tls = options.api_urls.iter().any(|url| url.scheme() == "https");
        let roots = match tls::system_roots() {
            Err(error) if needs_tls => return Err(error),
            roots => roots.unwrap_or_else(|_| rustls::RootCertStore::empty()),
        };
        Ok(Self::trusting(roots, options))
    }

    fn trusting(roots: rustls::RootCertStore, options: &ClientOptions) -> Self {
        Self {
            http: transport::http_client(options, roots),
            hosts: Hosts::new(&options.api_urls, options.proxy_from_env),
            timeout: options.timeout,
            list_limits: options.list_limits,
        }
    }

    /// Returns a client for another app, which shares the connections but finds out for itself which host answers.
    pub fn for_another_app(&self) -> Self {
        Self {
            http: self.http.clone(),
            hosts: self.hosts.untried(),
            timeout: self.timeout,
            list_limits: self.list_limits,
        }
    }

    /// Returns the HTTP client for calls to servers other than WeChat, with the same proxies and trusted certificates.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// Reads the account list through the HTTPS call, `logistics.getAllAccount`, or through the cloud call, a
    /// `function` that returns the result of `openapi.logistics.getAllAccount`.
    ///
    /// # Errors
    /// See [`Error`]. The errcode of a cloud call is WeChat's own or the one that the function returned.
    pub async fn account_list(
        &self,
        authorization: &Authorization,
        function: Option<&CloudFunction>,
        meter: &dyn Meter,
    ) -> Result<AccountList, Error> {
        let mut call = Call::new(Api::of_account_list(function)).authorized(authorization);
        call.body_max = LIST_BODY_MAX;
        if let Some(function) = function {
            // WeChat refuses an empty body (44002), so the function gets an empty event.
            call = call.json(&serde_json::json!({}));
            call.query.push(("env", &function.env));
            call.query.push(("name", &function.name));
        }
        let (function, limits) = (function.cloned(), self.list_limits);
        let read = move |body: &[u8]| reply::read_list(body, function.as_ref(), limits);
        self.call(call, meter, read).await
    }

    /// Reads the couriers through `logistics.getAllDelivery`, without those that have no id or too long a text.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn delivery_getall(
        &self,
        authorization: &Authorization,
        meter: &dyn Meter,
    ) -> Result<Vec<Delivery>, Error> {
        let call = Call::new(Api::DeliveryGetall).authorized(authorization);
        let limits = self.list_limits;
        let read = move |body: &[u8]| reply::read_deliveries(body, limits);
        self.call(call, meter, read).await
    }

    /// Reads a live balance through `logistics.getQuota`; `None` if WeChat sent none. Unit: electronic waybills.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn quota_get(
        &self,
        authorization: &Authorization,
        delivery_id: &str,
        biz_id: &str,
        meter: &dyn Meter,
    ) -> Result<Option<f64>, Error> {
        let call = Call::new(Api::QuotaGet)
            .authorized(authorization)
            .json(&serde_json::json!({"delivery_id": delivery_id, "biz_id": biz_id}));
        self.call(call, meter, reply::read_quota).await
    }

    /// Reads WeChat's own quota figures for one API through `openapi/quota/get`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn api_quota_get(
        &self,
        authorization: &Authorization,
        of: Api,
        meter: &dyn Meter,
    ) -> Result<ApiQuota, Error> {
        let call = Call::new(Api::ApiQuotaGet)
            .authorized(authorization)
            .json(&serde_json::json!({"cgi_path": of.path()}));
        self.call(call, meter, reply::read_api_quota).await
    }

    /// Mints a token for an `AppSecret`. A token of [`Api::StableToken`] is shared with every other user of that API,
    /// and a new one is never forced. A token of [`Api::Token`] invalidates everybody else's within minutes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn mint_token(
        &self,
        api: Api,
        appid: &str,
        secret: &SecretString,
        meter: &dyn Meter,
    ) -> Result<AccessToken, Error> {
        let grant_type = "client_credential";
        let secret = secret.expose_secret();
        let mut call = Call::new(api);
        if api == Api::Token {
            call.query = vec![
                ("grant_type", grant_type),
                ("appid", appid),
                ("secret", secret),
            ];
        } else {
            call = call.json(&serde_json::json!({
                "grant_type": grant_type,
                "appid": appid,
                "secret": secret,
                "force_refresh": false,
            }));
        }
        call.secrets.push(secret);
        // The token's lifetime counts from WeChat's answer, which is not earlier than this.
        let asked = SystemTime::now();
        let read = move |body: &[u8]| reply::read_token(body, asked);
        self.call(call, meter, read).await
    }

    /// Returns the host that calls currently go to, with its port if that is not the default.
    pub fn current_host(&self) -> &str {
        &self.hosts.current().name
    }

    /// Sends a call and reads its reply. A reply that can't be used counts as one failure.
    async fn call<T: Send + 'static>(
        &self,
        call: Call<'_>,
        meter: &dyn Meter,
        read: impl FnOnce(&[u8]) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Error> {
        let body = self.send(&call, meter).await?;
        let result = if body.len() < INLINE_BODY_MAX {
            read(&body)
        } else {
            blocking::run(move || read(&body)).await
        };
        result.map_err(|fault| {
            let error = Error::from_fault(call.api, fault, &call.secrets);
            meter.failed(call.api, error.cause);
            error
        })
    }

    /// Sends a call to one host after the other until one answers. All calls are sent here, and each attempt is
    /// metered.
    ///
    /// Another host is tried only if this one was unreachable or failed itself, because WeChat's own answer is the same
    /// everywhere. If something else answers in place of another host than the preferred one, such as a firewall that
    /// knows only that, the host counts as failed. An answer may take all the remaining time, as with a single host. If
    /// it is late, the next call goes to another one. A host that accepts no connection is given up sooner, see
    /// `transport`. During an outage, each call tries only one host, see `hosts`.
    async fn send(&self, call: &Call<'_>, meter: &dyn Meter) -> Result<Vec<u8>, Error> {
        let started = Instant::now();
        let mut first_failure = None;
        let (mut tried, mut last) = (0, 0);
        for index in self.hosts.order(started) {
            let left = self.timeout.saturating_sub(started.elapsed());
            if left.is_zero() && first_failure.is_some() {
                break;
            }
            (tried, last) = (tried + 1, index);
            if let Err(reached) = meter.sending(call.api) {
                // A failed attempt says more than one that was not made.
                let not_sent = || Error::not_sent(call.api, reached);
                return Err(first_failure.unwrap_or_else(not_sent));
            }
            let host = self.hosts.host(index);
            let error = match transport::attempt(&self.http, call, host, left).await {
                Ok(body) => {
                    self.hosts.answered(index, Instant::now());
                    return Ok(body);
                }
                Err(error) => error,
            };
            meter.failed(call.api, error.cause);
            let is_wechats = error.cause.errcode != 0;
            if is_wechats {
                self.hosts.answered(index, Instant::now());
            }
            let is_the_hosts = error.concerns_the_host() || !self.hosts.is_in_normal_use(index);
            if is_wechats || !is_the_hosts {
                return Err(error);
            }
            // Of several failures, that of the host tried first is reported.
            first_failure.get_or_insert(error);
        }
        self.hosts.none_answered(tried, last);
        Err(first_failure.expect("there is at least one host, and each that was tried failed"))
    }
}

#[cfg(test)]
mod tests;
