//! The client: one function sends, to the first host that answers, within the time and the size that a call may have.

mod transport;

use std::fmt;
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

/// An account list; hundreds of thousands of accounts, each of about 275 bytes. Unit: bytes.
const LIST_BODY_MAX: usize = 100 << 20;
/// Any other reply. Unit: bytes.
const BODY_MAX: usize = 1 << 20;
/// A reply that is read sooner than another thread would wake: some hundred accounts. Unit: bytes.
const INLINE_BODY_MAX: usize = 64 << 10;

/// Sends calls to WeChat, over one connection pool, to the first host that answers.
pub struct Client {
    http: reqwest::Client,
    hosts: Hosts,
    timeout: Duration,
    list_limits: ListLimits,
}

/// A client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no host to call, or its URL is not one. It is not shown, because it may hold a password.
    #[error("the API needs a URL with http:// or https:// and a host")]
    Url,
    /// Nothing to check WeChat's certificate with.
    #[error(transparent)]
    NoRoots(#[from] NoRoots),
    /// The HTTP client can't be set up.
    #[error("the HTTP client can't be set up")]
    Http(#[source] reqwest::Error),
}

/// One call, for whatever host it goes to.
struct Call<'a> {
    api: Api,
    query: Vec<(&'static str, &'a str)>,
    /// JSON, which makes it a POST. Always of known length: WeChat answers a chunked request with 412.
    body: Option<Vec<u8>>,
    body_max: usize,
    /// What of a reply must never be quoted.
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
        // Raw UTF-8: the courier's side compares a `biz_id` letter by letter, also one that came as `\u5706`.
        self.body = Some(body.to_string().into_bytes());
        self
    }
}

impl Client {
    /// A client that has called nobody yet.
    ///
    /// # Errors
    /// When there is no host, one of their URLs can't be used, or https is asked for and the system has no root
    /// certificates.
    pub fn new(options: &ClientOptions) -> Result<Self, ClientError> {
        let hosts = Hosts::parse(&options.api_urls, options.proxy_from_env)?;
        let roots = match tls::system_roots() {
            Err(error) if hosts.need_tls() => return Err(error.into()),
            roots => roots.unwrap_or_else(|_| rustls::RootCertStore::empty()),
        };
        Self::trusting(roots, hosts, options)
    }

    fn trusting(
        roots: rustls::RootCertStore,
        hosts: Hosts,
        options: &ClientOptions,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            http: transport::http_client(options, roots)?,
            hosts,
            timeout: options.timeout,
            list_limits: options.list_limits,
        })
    }

    /// A client for another app: over the same connections, but it finds out for itself which host answers.
    #[must_use]
    pub fn for_another_app(&self) -> Self {
        Self {
            http: self.http.clone(),
            hosts: self.hosts.untried(),
            timeout: self.timeout,
            list_limits: self.list_limits,
        }
    }

    /// For calls to others than WeChat: the same proxies and trusted certificates.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The account list: over the HTTPS call, `logistics.getAllAccount`, or over the cloud call, a `function` that returns
    /// `openapi.logistics.getAllAccount`.
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
            // An empty body is refused (44002); the function gets an empty event.
            call = call.json(&serde_json::json!({}));
            call.query.push(("env", &function.env));
            call.query.push(("name", &function.name));
        }
        let (function, limits) = (function.cloned(), self.list_limits);
        let read = move |body: &[u8]| match &function {
            None => reply::read_list(body, limits),
            Some(function) => reply::read_function_result(body, function, limits),
        };
        self.call(call, meter, read).await
    }

    /// The couriers, `logistics.getAllDelivery`. Those without an id are left out.
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

    /// A live balance, `logistics.getQuota`; `None` where WeChat sent none. Unit: electronic waybills.
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

    /// WeChat's own figures of one API, `openapi/quota/get`.
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

    /// A token for an `AppSecret`. One of [`Api::StableToken`] is shared with every other user of that API, and never
    /// forced to be a new one; one of [`Api::Token`] invalidates everybody else's within minutes.
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
        // Its seconds count from when WeChat answered, which is not earlier than this.
        let asked = SystemTime::now();
        let read = move |body: &[u8]| reply::read_token(body, asked);
        self.call(call, meter, read).await
    }

    /// The host that calls go to now, with its port where it has one of its own.
    #[must_use]
    pub fn current_host(&self) -> &str {
        &self.hosts.current().name
    }

    /// Sends a call and reads its reply; a reply that is not what was asked for counts as a failure, once.
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
            meter.failed(call.api, error.cause());
            error
        })
    }

    /// The one place that sends: to one host after the other, until one answers. Each try is metered.
    ///
    /// Another host is tried only where this one could not be reached or failed by itself: what WeChat answers, it
    /// answers everywhere. An answer may take all the time that is left, as it may where there is but one host; one that
    /// is late sends the next call elsewhere. A host that takes no connection is left sooner, see `transport`. While none
    /// answers, a call tries one.
    async fn send(&self, call: &Call<'_>, meter: &dyn Meter) -> Result<Vec<u8>, Error> {
        let started = Instant::now();
        let mut first_failure = None;
        let mut out_of_time = false;
        for index in self.hosts.order(started) {
            let left = self.timeout.saturating_sub(started.elapsed());
            out_of_time = left.is_zero() && first_failure.is_some();
            if out_of_time {
                break;
            }
            if let Err(reached) = meter.sending(call.api) {
                // What was tried says more than what was not.
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
            meter.failed(call.api, error.cause());
            if !error.concerns_the_host() {
                return Err(error);
            }
            // Of several failures the preferred host's is the one to look at.
            first_failure.get_or_insert(error);
        }
        self.hosts.none_answered(out_of_time);
        Err(first_failure.expect("there is at least one host, and each that was tried failed"))
    }
}

impl fmt::Debug for Client {
    /// Without the HTTP client, whose proxies may have passwords, and without URLs, which may have them too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.current_host())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
