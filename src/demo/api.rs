//! The simulated WeChat's answers to calls.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use super::Options;
use super::fault::{Fault, FaultKind};
use super::world::World;
use crate::clock::unix_seconds;
use crate::wechat::courier::{self, Network};
use crate::wechat::{Account, Api};

/// A response body. It ends early if the answer is to be truncated.
type Body = BoxBody<Bytes, io::Error>;

/// Unit: seconds.
const TOKEN_LIFETIME: i64 = 7200;

/// The period after which a new token is issued, five minutes before the last one expires. Unit: seconds.
const TOKEN_PERIOD: i64 = TOKEN_LIFETIME - 300;

const REQUEST_BYTES_MAX: usize = 64 << 10;

/// The page that a portal or a gateway in the operator's own network may send.
const WEB_PAGE: &str =
    "<!DOCTYPE html><html lang=\"zh-CN\"><body><h1>请先登录网络</h1></body></html>";

/// Everything behind the socket of the simulated API.
pub(super) struct SimulatedApi {
    world: World,
    apps: usize,
    accounts: usize,
    faults: Vec<Fault>,
    started: Instant,
}

/// One call as received.
struct Call {
    api: Api,
    query: HashMap<String, String>,
    /// `Null` if the body isn't JSON.
    body: Value,
    /// When the call arrived. Unit: seconds since 1970.
    now: i64,
}

#[derive(Serialize)]
struct AccountList {
    count: usize,
    list: Vec<Account>,
}

impl Call {
    async fn receive(request: Request<Incoming>) -> Result<Self, io::Error> {
        let (head, body) = request.into_parts();
        let body = Limited::new(body, REQUEST_BYTES_MAX).collect().await;
        let body = body.map_err(io::Error::other)?.to_bytes();
        let mut apis = Api::ALL.iter().copied();
        let api = apis.find(|api| api.path() == head.uri.path());
        let query = head.uri.query().unwrap_or_default().as_bytes();
        Ok(Self {
            api: api.ok_or(io::ErrorKind::NotFound)?,
            query: form_urlencoded::parse(query).into_owned().collect(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
            now: unix_seconds(SystemTime::now()),
        })
    }

    /// Returns a query parameter or a text of the JSON body.
    fn text(&self, name: &str) -> Option<&str> {
        let query = self.query.get(name).map(String::as_str);
        query.or_else(|| self.body[name].as_str())
    }
}

impl SimulatedApi {
    pub(super) fn new(options: &Options) -> Self {
        Self {
            world: World {
                seed: options.seed,
                speed: i64::from(options.speed),
            },
            apps: options.apps,
            accounts: options.accounts,
            faults: options.faults.clone(),
            started: Instant::now(),
        }
    }

    /// Returns the appid and the name of each app.
    pub(super) fn apps(&self) -> impl Iterator<Item = (String, String)> {
        (0..self.apps).map(|app| (World::appid(app), self.world.shop(app)))
    }

    /// Answers a call.
    ///
    /// # Errors
    /// Fails if the connection is to be closed without an answer.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, io::Error> {
        let call = Call::receive(request).await?;
        let app = self.app(&call);
        let fault = self.fault(&call, app.ok());
        let kind = fault.map(|fault| fault.kind);
        match kind {
            Some(FaultKind::Timeout) => std::future::pending().await,
            Some(FaultKind::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(FaultKind::Slow(duration)) => tokio::time::sleep(duration).await,
            Some(FaultKind::Status(status)) => {
                let mut response = Response::new(whole(WEB_PAGE));
                *response.status_mut() = StatusCode::from_u16(status).map_err(io::Error::other)?;
                return Ok(response);
            }
            Some(FaultKind::Html) => return Ok(Response::new(whole(WEB_PAGE))),
            Some(FaultKind::Empty) => return Ok(Response::new(whole(""))),
            Some(FaultKind::Huge) => return Ok(Response::new(huge())),
            _ => {}
        }
        let reply = self.reply(&call, app, fault);
        Ok(Response::new(match kind {
            Some(FaultKind::Truncated) => half(reply),
            _ => whole(reply),
        }))
    }

    /// Returns the JSON of an answer.
    fn reply(&self, call: &Call, app: Result<usize, i64>, fault: Option<&Fault>) -> String {
        self.result(call, app, fault).unwrap_or_else(|errcode| {
            let now = call.now;
            let random = self.world.random(now, 1 << 32);
            let errmsg = format!("{} rid: {now:08x}-{random:08x}", errmsg(errcode));
            json!({"errcode": errcode, "errmsg": errmsg}).to_string()
        })
    }

    /// Returns the result of a successful call, or WeChat's errcode.
    fn result(
        &self,
        call: &Call,
        app: Result<usize, i64>,
        fault: Option<&Fault>,
    ) -> Result<String, i64> {
        match fault.map(|fault| fault.kind) {
            Some(FaultKind::Errcode(errcode)) => return Err(errcode),
            Some(FaultKind::Encrypted) => {
                let encrypted =
                    json!({"iv": "AAAAAAAAAAAAAAAA", "data": "AAAAAAAA", "authtag": "AAAAAAAA"});
                return Ok(encrypted.to_string());
            }
            _ => {}
        }
        let app = app?;
        let now = call.now;
        match call.api {
            Api::StableToken | Api::Token => {
                let period = now / TOKEN_PERIOD;
                let end = period * TOKEN_PERIOD + TOKEN_LIFETIME;
                let token = format!("{}_{end}", World::appid(app));
                Ok(json!({"access_token": token, "expires_in": end - now}).to_string())
            }
            Api::AccountGetall => Ok(self.account_list(app, now, fault)),
            Api::InvokeCloudFunction => {
                let list = self.account_list(app, now, fault);
                Ok(json!({"errcode": 0, "errmsg": "ok", "resp_data": list}).to_string())
            }
            Api::DeliveryGetall => Ok(couriers()),
            Api::QuotaGet => {
                let delivery_id = call.text("delivery_id").ok_or(40097)?;
                let biz_id = call.text("biz_id").ok_or(40097)?;
                let balance =
                    self.world
                        .live_balance(app, self.accounts, delivery_id, biz_id, now)?;
                Ok(json!({"quota_num": balance}).to_string())
            }
            Api::ApiQuotaGet => Ok(api_quota(now)),
        }
    }

    fn account_list(&self, app: usize, now: i64, fault: Option<&Fault>) -> String {
        let rows =
            |accounts: usize, now| (0..accounts).map(move |place| self.world.row(app, place, now));
        let list: Vec<_> = match fault.map(|fault| (fault.kind, fault.start)) {
            Some((FaultKind::NoList, _)) => return "{}".to_owned(),
            Some((FaultKind::NoAccounts, _)) => Vec::new(),
            Some((FaultKind::Duplicates, _)) => {
                let yesterday = rows(self.accounts.min(3), now - 24 * 3600);
                yesterday.chain(rows(self.accounts, now)).collect()
            }
            Some((FaultKind::Stale, start)) => {
                let lasted = self.started.elapsed().saturating_sub(start);
                rows(self.accounts, now - lasted.as_secs() as i64).collect()
            }
            _ => rows(self.accounts, now).collect(),
        };
        let list = AccountList {
            count: list.len(),
            list,
        };
        serde_json::to_string(&list).expect("texts and numbers are always JSON")
    }

    /// Returns the number of the calling app, or the errcode.
    fn app(&self, call: &Call) -> Result<usize, i64> {
        match call.api {
            Api::StableToken | Api::Token => {
                let appid = call.text("appid").ok_or(41002)?;
                self.app_of(appid).ok_or(40013)
            }
            _ => {
                let token = call.text("access_token").ok_or(41001)?;
                self.owner(token, call.now)
            }
        }
    }

    fn app_of(&self, appid: &str) -> Option<usize> {
        World::app(appid).filter(|app| *app < self.apps)
    }

    fn owner(&self, token: &str, now: i64) -> Result<usize, i64> {
        let (appid, end) = token.split_once('_').ok_or(40001)?;
        let app = self.app_of(appid).ok_or(40001)?;
        let end: i64 = end.parse().map_err(|_| 40001)?;
        let elapsed = self.started.elapsed();
        let mut faults = self.faults.iter();
        if now >= end || faults.any(|fault| fault.rejects_tokens(appid, elapsed)) {
            return Err(42001);
        }
        Ok(app)
    }

    /// Returns the fault that applies to the call.
    fn fault(&self, call: &Call, app: Option<usize>) -> Option<&Fault> {
        let appid = app.map(World::appid);
        let elapsed = self.started.elapsed();
        let mut faults = self.faults.iter();
        faults.find(|fault| fault.applies(call.api, appid.as_deref(), elapsed))
    }
}

/// Returns WeChat's own figures of an API, as if it had been called once a minute since midnight in China.
fn api_quota(now: i64) -> String {
    let daily_limit = 10_000;
    let used = (now + 8 * 3600) % (24 * 3600) / 60;
    let quota = json!({"daily_limit": daily_limit, "used": used, "remain": daily_limit - used});
    json!({"errcode": 0, "errmsg": "ok", "quota": quota}).to_string()
}

/// Returns the couriers as `delivery/getall` lists them.
fn couriers() -> String {
    let couriers: Vec<_> = courier::ALL
        .iter()
        .map(|courier| {
            json!({
                "delivery_id": courier.delivery_id,
                "delivery_name": courier.name,
                "can_get_quota": i64::from(courier.network == Network::Franchise),
            })
        })
        .collect();
    json!({"count": couriers.len(), "data": couriers}).to_string()
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into())
        .map_err(|never| match never {})
        .boxed()
}

/// Returns a body that sends its first half and then breaks the connection.
fn half(body: String) -> Body {
    let body = Bytes::from(body);
    let half = Frame::data(body.slice(..body.len() / 2));
    let frames = [Ok(half), Err(io::ErrorKind::ConnectionReset.into())];
    BodyExt::boxed(StreamBody::new(stream::iter(frames)))
}

/// Returns a body of 256 MiB.
fn huge() -> Body {
    const CHUNK: &[u8] = &[b' '; 64 << 10];
    let frames = (0..4096).map(|_| Ok(Frame::data(Bytes::from_static(CHUNK))));
    BodyExt::boxed(StreamBody::new(stream::iter(frames)))
}

/// Returns WeChat's message for an errcode where the message tells more than the code.
fn errmsg(errcode: i64) -> &'static str {
    match errcode {
        40001 => "invalid credential, access_token is invalid or not latest",
        40164 => "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist",
        45009 => "reach max api daily quota limit",
        45011 => "api minute-quota reach limit, must slower, retry next minute",
        _ => "simulated failure",
    }
}
