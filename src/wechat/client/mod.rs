//! The client: one function sends, to the first host that answers, within the time and the size that a call may have.

mod transport;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use secrecy::{ExposeSecret, SecretString};

use super::error::Kind;
use super::hosts::{Host, Hosts};
use super::reply::{self, Fault};
use super::{
    AccessToken, AccountList, Api, ApiQuota, Authorization, ClientOptions, CloudFunction, Delivery,
    Error, Meter, Reason,
};
use crate::blocking;
use crate::tls::{self, NoRoots};

/// Of an account list this much is taken in whatever the limits say, so that a low limit on accounts drops rows and
/// fails nothing. Unit: bytes. An account has about 275.
const LIST_BODY_MAX: usize = 64 << 20;
/// An account with long remarks. Unit: bytes.
const ACCOUNT_BODY_MAX: usize = 1024;
/// Any other reply. Unit: bytes.
const BODY_MAX: usize = 1 << 20;
/// A reply that is read sooner than another thread would wake: some hundred accounts. Unit: bytes.
const INLINE_BODY_MAX: usize = 64 << 10;
/// How long Cloud Run's open-interface service may take to be there for a container that just started.
const OPEN_INTERFACE_START: Duration = Duration::from_secs(60);

/// Sends calls to WeChat, over one connection pool, to the first host that answers.
pub struct Client {
    http: reqwest::Client,
    hosts: Hosts,
    options: ClientOptions,
    /// Those that `http` trusts.
    roots: Arc<rustls::RootCertStore>,
    made: Instant,
}

/// A client can't be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no host to call.
    #[error("there is no API URL")]
    NoUrl,
    /// A host's URL is not one. It is not shown, because it may hold a password.
    #[error("API URL number {position} can't be used: {cause}")]
    Url {
        /// Counted from 1.
        position: usize,
        /// What is wrong with it.
        cause: String,
    },
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
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let hosts = Hosts::parse(&options.api_urls, options.proxy_from_env)?;
        let roots = if hosts.need_tls() {
            tls::system_roots()?
        } else {
            rustls::RootCertStore::empty()
        };
        Self::trusting(roots, hosts, options)
    }

    fn trusting(
        roots: rustls::RootCertStore,
        hosts: Hosts,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        let roots = Arc::new(roots);
        Ok(Self {
            http: transport::http_client(&options, Arc::clone(&roots))?,
            hosts,
            options,
            roots,
            made: Instant::now(),
        })
    }

    /// A client for another app: over the same connections, but it finds out for itself which host answers.
    #[must_use]
    pub fn for_another_app(&self) -> Self {
        Self {
            http: self.http.clone(),
            hosts: self.hosts.untried(),
            options: self.options.clone(),
            made: self.made,
            roots: Arc::clone(&self.roots),
        }
    }

    /// Whether the two reach the same hosts in the same way and trust the same certificates: only what a client has
    /// met with since it was made can differ.
    #[must_use]
    pub fn is_made_like(&self, other: &Self) -> bool {
        self.options == other.options && self.roots.roots == other.roots.roots
    }

    /// The account list over the HTTPS call, `logistics.getAllAccount`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn account_getall(
        &self,
        authorization: &Authorization,
        meter: &dyn Meter,
    ) -> Result<AccountList, Error> {
        let mut call = Call::new(Api::AccountGetall).authorized(authorization);
        call.body_max = self.list_body_max();
        let limits = self.options.list_limits;
        let read = move |body: &[u8]| reply::read_list(body, limits);
        self.call(call, meter, read).await
    }

    /// The account list over the cloud call: a cloud function that returns `openapi.logistics.getAllAccount`.
    ///
    /// # Errors
    /// See [`Error`]. The errcode is WeChat's own or the one that the function returned.
    pub async fn invoke_cloud_function(
        &self,
        authorization: &Authorization,
        function: &CloudFunction,
        meter: &dyn Meter,
    ) -> Result<AccountList, Error> {
        // An empty body is refused (44002); the function gets an empty event.
        let mut call = Call::new(Api::InvokeCloudFunction)
            .authorized(authorization)
            .json(&serde_json::json!({}));
        call.query.push(("env", &function.env));
        call.query.push(("name", &function.name));
        // The list is a string in the reply, in which each quotation mark takes two bytes.
        call.body_max = self.list_body_max().saturating_mul(2);
        let limits = self.options.list_limits;
        let function = function.clone();
        let read = move |body: &[u8]| reply::read_function_result(body, &function, limits);
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
        let limits = self.options.list_limits;
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
            .json(&serde_json::json!({"cgi_path": path(of)}));
        self.call(call, meter, reply::read_api_quota).await
    }

    /// A token that nobody else loses, shared with every other user of `stable_token`; never forces a new one.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn stable_token(
        &self,
        appid: &str,
        secret: &SecretString,
        meter: &dyn Meter,
    ) -> Result<AccessToken, Error> {
        let secret = secret.expose_secret();
        let mut call = Call::new(Api::StableToken).json(&serde_json::json!({
            "grant_type": "client_credential",
            "appid": appid,
            "secret": secret,
            "force_refresh": false,
        }));
        call.secrets.push(secret);
        self.mint(call, meter).await
    }

    /// A token of the old endpoint, which invalidates everybody else's within minutes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn token(
        &self,
        appid: &str,
        secret: &SecretString,
        meter: &dyn Meter,
    ) -> Result<AccessToken, Error> {
        let secret = secret.expose_secret();
        let mut call = Call::new(Api::Token);
        call.query = vec![
            ("grant_type", "client_credential"),
            ("appid", appid),
            ("secret", secret),
        ];
        call.secrets.push(secret);
        self.mint(call, meter).await
    }

    /// The host that calls go to now, with its port where it has one of its own.
    #[must_use]
    pub fn current_host(&self) -> &str {
        &self.hosts.current().name
    }

    async fn mint(&self, call: Call<'_>, meter: &dyn Meter) -> Result<AccessToken, Error> {
        // Its seconds count from when WeChat answered, which is not earlier than this.
        let asked = SystemTime::now();
        let read = move |body: &[u8]| reply::read_token(body, asked);
        self.call(call, meter, read).await
    }

    fn list_body_max(&self) -> usize {
        let accounts = self.options.list_limits.accounts;
        LIST_BODY_MAX.max(accounts.saturating_mul(ACCOUNT_BODY_MAX))
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
            let error = self.forgiven(&call, Error::from_fault(call.api, fault, &call.secrets));
            meter.failed(call.api, error.reason(), error.errcode());
            error
        })
    }

    /// The one place that sends: to one host after the other, until one answers. Each try is metered.
    ///
    /// Another host is tried only where this one could not be reached or failed by itself: what WeChat answers, it
    /// answers everywhere. An answer may take all the time that is left, as it may where there is but one host; one that
    /// is late sends the next call elsewhere. A host that takes no connection is left sooner, see `transport`, and one
    /// that is on trial while another answers has half of the time. While none answers, a call tries one.
    async fn send(&self, call: &Call<'_>, meter: &dyn Meter) -> Result<Vec<u8>, Error> {
        let started = Instant::now();
        let order = self.hosts.order(started);
        let mut first_failure = None;
        let mut out_of_time = false;
        for (position, index) in order.hosts.into_iter().enumerate() {
            let left = self.options.timeout.saturating_sub(started.elapsed());
            out_of_time = left.is_zero() && first_failure.is_some();
            if out_of_time {
                break;
            }
            let on_trial = order.on_trial && position == 0;
            let time = if on_trial { left / 2 } else { left };
            if let Err(reached) = meter.sending(call.api) {
                // What was tried says more than what was not.
                let not_sent = || Error::not_sent(call.api, reached);
                return Err(first_failure.unwrap_or_else(not_sent));
            }
            let host = self.hosts.host(index);
            let error = match transport::attempt(&self.http, call, host, time).await {
                Ok(body) => {
                    self.hosts.answered(index, Instant::now());
                    return Ok(body);
                }
                Err(error) => self.forgiven(call, error),
            };
            meter.failed(call.api, error.reason(), error.errcode());
            if !error.concerns_the_host() {
                return Err(error);
            }
            // Of several failures the preferred host's is the one to look at.
            first_failure.get_or_insert(error);
        }
        self.hosts.none_answered(out_of_time);
        Err(first_failure.expect("there is at least one host, and each that was tried failed"))
    }

    /// A token that is missing while Cloud Run's open-interface service starts comes by itself.
    fn forgiven(&self, call: &Call<'_>, error: Error) -> Error {
        /// "`access_token` missing".
        const NO_TOKEN: i64 = 41001;
        let may_be_starting = call.open_interface && self.made.elapsed() < OPEN_INTERFACE_START;
        if error.errcode() == Some(NO_TOKEN) && may_be_starting {
            return error.because(Reason::Transient);
        }
        error
    }
}

impl fmt::Debug for Client {
    /// Without the HTTP client, whose proxies may have passwords, and without URLs, which may have them too.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("host", &self.current_host())
            .field("timeout", &self.options.timeout)
            .field("list_limits", &self.options.list_limits)
            .finish_non_exhaustive()
    }
}

/// The path of an API, as WeChat documents it.
const fn path(api: Api) -> &'static str {
    match api {
        Api::AccountGetall => "/cgi-bin/express/business/account/getall",
        Api::InvokeCloudFunction => "/tcb/invokecloudfunction",
        Api::StableToken => "/cgi-bin/stable_token",
        Api::Token => "/cgi-bin/token",
        Api::DeliveryGetall => "/cgi-bin/express/business/delivery/getall",
        Api::QuotaGet => "/cgi-bin/express/business/quota/get",
        Api::ApiQuotaGet => "/cgi-bin/openapi/quota/get",
    }
}

#[cfg(test)]
mod tests;
