//! The endpoints: what is asked, who asks, and what WeChat answers.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::answer::{self, Answer};
use super::calls::{Call, CallLog};
use super::clock::Clock;
use super::dice::Dice;
use super::fault::{Fault, FaultKind};
use super::listing::Listing;
use super::question::{Caller, Question, Received, Struck};
use super::tokens::{Given, Tokens};
use super::world::{Case, World};
use super::{APPSECRET, CLOUD_ENV, CLOUD_FUNCTION, Options};
use crate::clock::{Moment, unix_seconds};
use crate::wechat::Api;

/// The endpoint, its path, its method, and calls per day as `openapi/quota/get` tells them.
///
/// The limits of the two token endpoints are documented, the others made up.
const ENDPOINTS: &[(Api, &str, Method, u64)] = &[
    (
        Api::AccountGetall,
        "/cgi-bin/express/business/account/getall",
        Method::GET,
        10_000,
    ),
    (
        Api::InvokeCloudFunction,
        "/tcb/invokecloudfunction",
        Method::POST,
        100_000,
    ),
    (
        Api::StableToken,
        "/cgi-bin/stable_token",
        Method::POST,
        500_000,
    ),
    (Api::Token, "/cgi-bin/token", Method::GET, 2_000),
    (
        Api::DeliveryGetall,
        "/cgi-bin/express/business/delivery/getall",
        Method::GET,
        10_000,
    ),
    (
        Api::QuotaGet,
        "/cgi-bin/express/business/quota/get",
        Method::POST,
        10_000,
    ),
    (
        Api::ApiQuotaGet,
        "/cgi-bin/openapi/quota/get",
        Method::POST,
        10_000,
    ),
];

/// Everything behind the socket.
#[derive(Debug)]
pub(super) struct SimulatedApi {
    clock: Clock,
    dice: Dice,
    world: World,
    /// One for each app.
    listings: Vec<Mutex<Listing>>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    tokens: Tokens,
    calls: CallLog,
    /// In the order in which they are tried, each with the moment from which it counts.
    faults: Vec<(Fault, Moment)>,
    replies: HashMap<(usize, Api), Bytes>,
    open_interface: Option<usize>,
    received: u64,
}

impl SimulatedApi {
    pub(super) fn new(options: &Options, clock: Clock) -> Self {
        let dice = Dice::new(options.seed);
        let now = clock.now();
        let faults = options.faults.iter().map(|fault| (fault.clone(), now));
        Self {
            dice,
            world: World::new(options.seed, options.speed),
            listings: (0..options.apps.max(1))
                .map(|_| Mutex::new(Listing::new(options.accounts)))
                .collect(),
            state: Mutex::new(State {
                tokens: Tokens::new(dice, now.monotonic),
                calls: CallLog::default(),
                faults: faults.collect(),
                replies: HashMap::new(),
                open_interface: None,
                received: 0,
            }),
            clock,
        }
    }

    pub(super) const fn world(&self) -> &World {
        &self.world
    }

    pub(super) fn apps(&self) -> usize {
        self.listings.len()
    }

    /// The app of that appid, if it is one of ours.
    pub(super) fn app(&self, appid: &str) -> Option<usize> {
        World::app(appid, self.apps())
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state().calls.recent()
    }

    pub(super) fn calls_of(&self, path: &str) -> u64 {
        self.state().calls.of_path(path)
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        let now = self.clock.now();
        self.state().faults.push((fault, now));
    }

    pub(super) fn clear_faults(&self) {
        let mut state = self.state();
        state.faults.clear();
        state.replies.clear();
    }

    pub(super) fn set_reply(&self, app: usize, api: Api, body: Bytes) {
        self.state().replies.insert((app, api), body);
    }

    pub(super) fn set_open_interface(&self, app: Option<usize>) {
        self.state().open_interface = app;
    }

    pub(super) fn listing(&self, app: usize) -> MutexGuard<'_, Listing> {
        lock(&self.listings[app])
    }

    pub(super) fn expire_tokens(&self, app: usize) {
        let now = self.clock.now().monotonic;
        self.state().tokens.expire(app, now);
    }

    pub(super) fn replace_tokens(&self, app: usize) {
        let now = self.clock.now().monotonic;
        self.state().tokens.replace(app, now);
    }

    pub(super) fn pushed_token(&self, app: usize) -> String {
        let now = self.clock.now().monotonic;
        self.state().tokens.pushed(app, now)
    }

    /// Puts a question on record and sees which fault it meets.
    pub(super) fn receive(&self, question: Question) -> Received {
        let now = self.clock.now();
        let api = ENDPOINTS
            .iter()
            .find(|(_, path, ..)| *path == question.path)
            .map(|(api, ..)| *api);
        let mut state = self.state();
        let caller = self.caller(&question, api, &state, now);
        let appid = caller.app().map(World::appid);
        let token = ["access_token", "cloudbase_access_token"]
            .iter()
            .find_map(|name| question.query.get(*name));
        let call = Call {
            at: now.wall,
            method: question.method.to_string(),
            path: question.path.clone(),
            appid: appid.clone(),
            token: token.cloned(),
            body: String::from_utf8_lossy(&question.body).into_owned(),
        };
        state.calls.record(call, caller.app().zip(api));
        let number = state.received;
        state.received += 1;
        let there = |(fault, set): &&(Fault, Moment)| {
            fault.lasts_at(now.monotonic.saturating_duration_since(set.monotonic))
        };
        let faults = || state.faults.iter().filter(there);
        let fault =
            api.and_then(|api| faults().find(|(fault, _)| fault.strikes(api, appid.as_deref())));
        let tokens_refused = appid
            .as_deref()
            .is_some_and(|appid| faults().any(|(fault, _)| fault.refuses_tokens_of(appid)));
        Received {
            api,
            struck: fault.map(|(fault, set)| Struck {
                kind: fault.kind,
                since: set.wall + fault.start,
            }),
            tokens_refused,
            caller,
            question,
            now,
            number,
        }
    }

    /// Answers. Takes milliseconds for each thousand accounts, so it is not for the threads that wait for sockets.
    pub(super) fn answer(&self, received: &Received) -> Answer {
        let mut answer = self
            .reply_of_a_test(received)
            .unwrap_or_else(|| self.decide(received).unwrap_or_else(|refused| refused));
        // Seen in the source of wx-server-sdk: JSON comes as text at times.
        if received.number % 4 == 3 && answer.content_type.starts_with("application/json") {
            answer.content_type = "text/plain";
        }
        answer.open_interface = matches!(received.caller, Caller::OpenInterface(_));
        answer
    }

    fn reply_of_a_test(&self, received: &Received) -> Option<Answer> {
        let key = (received.caller.app()?, received.api?);
        let body = self.state().replies.get(&key).cloned()?;
        Some(Answer::good(body))
    }

    fn decide(&self, received: &Received) -> Result<Answer, Answer> {
        let question = &received.question;
        if question.chunked {
            return Ok(Answer::bare(StatusCode::PRECONDITION_FAILED));
        }
        let refuse = |errcode| Answer::refused(errcode, &self.rid(received));
        let api = received.api.ok_or_else(|| refuse(40066))?;
        if let Some(FaultKind::Errcode(errcode)) = received.fault() {
            let inside =
                api == Api::InvokeCloudFunction && answer::belongs_to_the_function(errcode);
            return Ok(if inside {
                Answer::good(answer::function_failure(errcode, &self.rid(received)))
            } else {
                refuse(errcode)
            });
        }
        let method = ENDPOINTS
            .iter()
            .find_map(|(at, _, method, _)| (*at == api).then_some(method));
        match method {
            Some(&Method::POST) if question.method != Method::POST => return Err(refuse(43002)),
            Some(&Method::GET) if question.method != Method::GET => return Err(refuse(43001)),
            _ => {}
        }
        let app = match api {
            Api::StableToken | Api::Token => {
                return self.give_token(received, api).map_err(refuse);
            }
            _ => received.authorised().map_err(refuse)?,
        };
        if received.fault() == Some(FaultKind::Encrypted) {
            return Ok(Answer::encrypted(self.dice.with(received.number)));
        }
        match api {
            Api::AccountGetall => Ok(Answer::good(self.account_list(app, Case::Snake, received))),
            Api::InvokeCloudFunction => self.invoke_cloud_function(app, received).map_err(refuse),
            Api::DeliveryGetall => {
                let data = World::deliveries();
                let body = json!({"count": data.len(), "data": data});
                Ok(Answer::good(body.to_string()))
            }
            Api::QuotaGet => self.quota(app, received).map_err(refuse),
            Api::ApiQuotaGet => self.api_quota(app, received).map_err(refuse),
            // Answered above.
            Api::StableToken | Api::Token => Err(refuse(40066)),
        }
    }

    fn give_token(&self, received: &Received, api: Api) -> Result<Answer, i64> {
        let question = &received.question;
        let body = if api == Api::StableToken {
            question.json()?
        } else {
            json!(question.query)
        };
        let text = |name: &str| body[name].as_str().filter(|text| !text.is_empty());
        if text("grant_type") != Some("client_credential") {
            return Err(40002);
        }
        let appid = text("appid").ok_or(41002)?;
        let secret = text("secret").ok_or(41004)?;
        let app = self.app(appid).ok_or(40013)?;
        if secret != APPSECRET {
            // One that could be another app's is a wrong credential, one that can be nobody's a wrong secret.
            let well_formed = secret.len() == 32 && secret.bytes().all(|b| b.is_ascii_hexdigit());
            return Err(if well_formed { 40001 } else { 40125 });
        }
        let now = received.now.monotonic;
        let mut state = self.state();
        let given = if api == Api::StableToken {
            let force = body["force_refresh"].as_bool().unwrap_or(false);
            state.tokens.stable(app, force, now).map_err(|_| 45009)?
        } else {
            state.tokens.classic(app, now)
        };
        let Given { token, left } = given;
        let body = json!({"access_token": token, "expires_in": left.as_secs()});
        Ok(Answer::good(body.to_string()))
    }

    fn account_list(&self, app: usize, case: Case, received: &Received) -> Bytes {
        let mut listing = self.listing(app);
        let wall = match received.struck {
            Some(struck) if struck.kind == FaultKind::Stale => struck.since,
            _ => received.now.wall,
        };
        received
            .fault()
            .and_then(|fault| listing.broken(&self.world, app, case, wall, fault))
            .unwrap_or_else(|| listing.body(&self.world, app, case, wall))
    }

    fn invoke_cloud_function(&self, app: usize, received: &Received) -> Result<Answer, i64> {
        let question = &received.question;
        let env = question.parameter("env").ok_or(40101)?;
        let name = question.parameter("name").ok_or(40101)?;
        if question.body.is_empty() {
            return Err(44002);
        }
        if env != CLOUD_ENV {
            return Err(-501_005);
        }
        if name != CLOUD_FUNCTION {
            return Err(-501_000);
        }
        let result = self.account_list(app, Case::Camel, received);
        let body = answer::function_result(&String::from_utf8_lossy(&result));
        Ok(Answer::good(body))
    }

    fn quota(&self, app: usize, received: &Received) -> Result<Answer, i64> {
        let body = received.question.json()?;
        let text = |name: &str| body[name].as_str().ok_or(40097_i64);
        let (delivery_id, biz_id) = (text("delivery_id")?, text("biz_id")?);
        let count = self.listing(app).count();
        let wall = received.now.wall;
        let balance = self
            .world
            .live_balance(app, count, delivery_id, biz_id, wall)?;
        Ok(Answer::good(json!({"quota_num": balance}).to_string()))
    }

    fn api_quota(&self, app: usize, received: &Received) -> Result<Answer, i64> {
        let body = received.question.json()?;
        let path = body["cgi_path"].as_str().ok_or(40097_i64)?;
        if !path.starts_with('/') {
            return Err(76003);
        }
        let (api, _, _, limit) = ENDPOINTS
            .iter()
            .find(|(_, known, ..)| *known == path)
            .ok_or(76021_i64)?;
        let used = self.state().calls.used(app, *api, received.now.wall);
        let quota = json!({
            "daily_limit": limit,
            "used": used,
            "remain": limit.saturating_sub(used),
        });
        let rate_limit = json!({"call_count": 1_000, "refresh_second": 60});
        let body = json!({"errcode": 0, "errmsg": "ok", "quota": quota, "rate_limit": rate_limit});
        Ok(Answer::good(body.to_string()))
    }

    fn caller(&self, question: &Question, api: Option<Api>, state: &State, now: Moment) -> Caller {
        let named = match api {
            Some(Api::Token) => Some(question.parameter("appid").map(str::to_owned)),
            Some(Api::StableToken) => {
                let body = question.json().ok();
                Some(body.and_then(|body| body["appid"].as_str().map(str::to_owned)))
            }
            _ => None,
        };
        if let Some(appid) = named {
            let app = appid.and_then(|appid| self.app(&appid));
            return app.map_or(Caller::Stranger, Caller::Named);
        }
        let owner = if let Some(token) = question.parameter("access_token") {
            state.tokens.owner(token, now.monotonic)
        } else if let Some(token) = question.parameter("cloudbase_access_token") {
            state.tokens.pushed_owner(token, now.monotonic)
        } else {
            let Some(container) = state.open_interface else {
                return Caller::Nobody;
            };
            return match question.parameter("from_appid") {
                None => Caller::OpenInterface(container),
                Some(appid) => self
                    .app(appid)
                    .map_or(Caller::Stranger, Caller::OpenInterface),
            };
        };
        owner
            .filter(|(app, _)| *app < self.apps())
            .map_or(Caller::Stranger, |(app, verdict)| {
                Caller::Owner(app, verdict)
            })
    }

    fn rid(&self, received: &Received) -> String {
        let seconds = unix_seconds(received.now.wall);
        answer::rid(seconds, self.dice.with(9).with(received.number))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A panic while the lock was held leaves the state as good as it was: nothing is half done in between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::Value;

    use super::*;

    const ACCOUNTS: &str = "/cgi-bin/express/business/account/getall";
    const STABLE_TOKEN: &str = "/cgi-bin/stable_token";
    const INVOKE: &str = "/tcb/invokecloudfunction";
    const FIRST: &str = "wx0000000000000001";

    /// 2026-11-24 10:30 in China.
    fn noon() -> Clock {
        Clock::standing_at(UNIX_EPOCH + Duration::from_secs(1_795_487_400))
    }

    fn api(faults: &[&str], clock: Clock) -> SimulatedApi {
        let options = Options {
            faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
            ..Options::default()
        };
        SimulatedApi::new(&options, clock)
    }

    fn question(method: Method, path: &str, query: &[(&str, &str)], body: &str) -> Question {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Question {
            method,
            path: path.to_owned(),
            query: query.iter().map(owned).collect(),
            body: Bytes::from(body.to_owned()),
            chunked: false,
        }
    }

    fn ask(api: &SimulatedApi, question: Question) -> Value {
        let received = api.receive(question);
        let answer = api.answer(&received);
        assert_eq!(answer.status, StatusCode::OK);
        serde_json::from_slice(&answer.body).unwrap()
    }

    fn get(api: &SimulatedApi, path: &str, query: &[(&str, &str)]) -> Value {
        ask(api, question(Method::GET, path, query, ""))
    }

    fn post(api: &SimulatedApi, path: &str, query: &[(&str, &str)], body: &Value) -> Value {
        ask(api, question(Method::POST, path, query, &body.to_string()))
    }

    fn token_request(appid: &str, secret: &str, force: bool) -> Value {
        json!({
            "grant_type": "client_credential",
            "appid": appid,
            "secret": secret,
            "force_refresh": force,
        })
    }

    fn token(api: &SimulatedApi, appid: &str) -> String {
        let request = token_request(appid, APPSECRET, false);
        let reply = post(api, STABLE_TOKEN, &[], &request);
        reply["access_token"].as_str().unwrap().to_owned()
    }

    fn accounts(api: &SimulatedApi, token: &str) -> Value {
        get(api, ACCOUNTS, &[("access_token", token)])
    }

    #[test]
    fn token_is_given_for_the_right_credentials_and_opens_the_account_list() {
        let api = api(&[], noon());
        let reply = post(
            &api,
            STABLE_TOKEN,
            &[],
            &token_request(FIRST, APPSECRET, false),
        );
        assert_eq!(reply["expires_in"], 7200);
        assert!(reply.get("errcode").is_none());
        let list = accounts(&api, reply["access_token"].as_str().unwrap());
        assert_eq!(list["count"], 12);
        assert_eq!(list["list"].as_array().unwrap().len(), 12);
    }

    #[test]
    fn each_wrong_credential_has_its_errcode() {
        let api = api(&[], noon());
        let hex = "0123456789abcdef0123456789abcdef";
        for (appid, secret, errcode) in [
            ("", APPSECRET, 41002),
            (FIRST, "", 41004),
            ("wx0000000000000004", APPSECRET, 40013),
            (FIRST, hex, 40001),
            (FIRST, "secret", 40125),
        ] {
            let request = token_request(appid, secret, false);
            let reply = post(&api, STABLE_TOKEN, &[], &request);
            assert_eq!(reply["errcode"], errcode, "{appid} {secret}");
        }
        assert_eq!(post(&api, STABLE_TOKEN, &[], &json!({}))["errcode"], 40002);
        assert_eq!(get(&api, STABLE_TOKEN, &[])["errcode"], 43002);
        let text = |body| ask(&api, question(Method::POST, STABLE_TOKEN, &[], body));
        assert_eq!(text("")["errcode"], 44002);
        assert_eq!(text("{")["errcode"], 47001);
        assert_eq!(text("[]")["errcode"], 47001);
    }

    #[test]
    fn classic_token_comes_over_get_and_is_no_stable_one() {
        let api = api(&[], noon());
        let stable = token(&api, FIRST);
        let query = [
            ("grant_type", "client_credential"),
            ("appid", FIRST),
            ("secret", APPSECRET),
        ];
        let first = get(&api, "/cgi-bin/token", &query);
        let second = get(&api, "/cgi-bin/token", &query);
        assert_ne!(first["access_token"], second["access_token"]);
        assert_eq!(accounts(&api, &stable)["count"], 12);
    }

    #[test]
    fn each_wrong_token_has_its_errcode() {
        let clock = noon();
        let api = api(&[], clock.clone());
        assert_eq!(get(&api, ACCOUNTS, &[])["errcode"], 41001);
        let stranger = accounts(&api, "somebody's");
        assert_eq!(stranger["errcode"], 40001);
        let errmsg = stranger["errmsg"].as_str().unwrap();
        assert!(
            errmsg.starts_with("invalid credential, access_token is invalid or not latest rid: ")
        );
        let spent = token(&api, FIRST);
        api.expire_tokens(0);
        assert_eq!(accounts(&api, &spent)["errcode"], 42001);
        let replaced = token(&api, FIRST);
        api.replace_tokens(0);
        assert_eq!(accounts(&api, &replaced)["errcode"], 40001);
        let old = token(&api, FIRST);
        clock.advance(Duration::from_secs(7200));
        assert_eq!(accounts(&api, &old)["errcode"], 42001);
        assert_eq!(accounts(&api, &token(&api, FIRST))["count"], 12);
    }

    #[test]
    fn token_shows_its_own_apps_accounts() {
        let api = api(&[], noon());
        let first = accounts(&api, &token(&api, FIRST));
        let third = accounts(&api, &token(&api, "wx0000000000000003"));
        assert_ne!(first["list"], third["list"]);
    }

    #[test]
    fn cloudbase_token_is_taken_under_its_own_name_alone() {
        let api = api(&[], noon());
        let token = api.pushed_token(0);
        let reply = get(&api, ACCOUNTS, &[("cloudbase_access_token", &token)]);
        assert_eq!(reply["count"], 12);
        assert_eq!(accounts(&api, &token)["errcode"], 40001);
    }

    #[test]
    fn open_interface_needs_no_token_and_leaves_its_mark() {
        let api = api(&[], noon());
        api.set_open_interface(Some(0));
        let ask = |query: &[(&str, &str)]| {
            let received = api.receive(question(Method::GET, ACCOUNTS, query, ""));
            api.answer(&received)
        };
        let own = ask(&[]);
        assert!(own.open_interface);
        let shared = ask(&[("from_appid", "wx0000000000000003")]);
        assert_ne!(own.body, shared.body);
        api.set_open_interface(None);
        assert!(!ask(&[]).open_interface);
    }

    #[test]
    fn cloud_function_returns_the_list_as_a_string_in_camel_case() {
        let api = api(&[], noon());
        let token = token(&api, "wx0000000000000002");
        let invoke = |env: &str, name: &str, body: &str| {
            let query = [
                ("access_token", token.as_str()),
                ("env", env),
                ("name", name),
            ];
            ask(&api, question(Method::POST, INVOKE, &query, body))
        };
        let reply = invoke(CLOUD_ENV, CLOUD_FUNCTION, "{}");
        assert_eq!(reply["errcode"], 0);
        let result: Value = serde_json::from_str(reply["resp_data"].as_str().unwrap()).unwrap();
        assert_eq!(result["errCode"], 0);
        assert!(result["list"][0]["bizId"].is_string());
        assert_eq!(invoke(CLOUD_ENV, CLOUD_FUNCTION, "")["errcode"], 44002);
        assert_eq!(invoke("", CLOUD_FUNCTION, "{}")["errcode"], 40101);
        assert_eq!(invoke("test", CLOUD_FUNCTION, "{}")["errcode"], -501_005);
        assert_eq!(invoke(CLOUD_ENV, "other", "{}")["errcode"], -501_000);
    }

    #[test]
    fn couriers_stand_under_data_with_their_names() {
        let api = api(&[], noon());
        let token = token(&api, FIRST);
        let path = "/cgi-bin/express/business/delivery/getall";
        let reply = get(&api, path, &[("access_token", &token)]);
        assert_eq!(reply["count"], 14);
        let data = reply["data"].as_array().unwrap();
        let named = |id: &str| data.iter().find(|row| row["delivery_id"] == id).unwrap();
        assert_eq!(named("YTO")["delivery_name"], "圆通速递");
        assert_eq!(named("YTO")["can_get_quota"], 1);
        assert_eq!(named("SF")["can_get_quota"], 0);
        assert_eq!(named("SF")["cash_biz_id"], "SF_CASH");
    }

    #[test]
    fn live_balance_is_told_for_one_account() {
        let api = api(&[], noon());
        let token = token(&api, FIRST);
        let list = accounts(&api, &token);
        let ask = |body: &Value| {
            let query = [("access_token", token.as_str())];
            post(&api, "/cgi-bin/express/business/quota/get", &query, body)
        };
        let row = &list["list"][0];
        let account = json!({"delivery_id": row["delivery_id"], "biz_id": row["biz_id"]});
        assert!(ask(&account)["quota_num"].is_i64());
        let nobody = json!({"delivery_id": "YTO", "biz_id": "nobody"});
        assert_eq!(ask(&nobody)["errcode"], 9_300_530);
        assert_eq!(ask(&json!({}))["errcode"], 40097);
    }

    #[test]
    fn api_quota_counts_the_days_calls_of_one_app() {
        let clock = noon();
        let api = api(&[], clock.clone());
        let ask = |path: &str| {
            let token = token(&api, FIRST);
            let query = [("access_token", token.as_str())];
            let body = json!({"cgi_path": path});
            post(&api, "/cgi-bin/openapi/quota/get", &query, &body)
        };
        accounts(&api, &token(&api, FIRST));
        accounts(&api, &token(&api, "wx0000000000000003"));
        let reply = ask(ACCOUNTS);
        assert_eq!(reply["errcode"], 0);
        assert_eq!(
            reply["quota"],
            json!({"daily_limit": 10_000, "used": 1, "remain": 9_999})
        );
        assert_eq!(ask("cgi-bin/token")["errcode"], 76003);
        assert_eq!(ask("/cgi-bin/unheard")["errcode"], 76021);
        clock.advance(Duration::from_secs(24 * 3600));
        assert_eq!(ask(ACCOUNTS)["quota"]["used"], 0);
    }

    #[test]
    fn unknown_path_and_unsized_body_are_refused() {
        let api = api(&[], noon());
        assert_eq!(get(&api, "/cgi-bin/clear_quota", &[])["errcode"], 40066);
        let mut question = question(Method::POST, STABLE_TOKEN, &[], "{}");
        question.chunked = true;
        let received = api.receive(question);
        let answer = api.answer(&received);
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED);
        assert!(answer.body.is_empty());
    }

    #[test]
    fn some_answers_call_their_json_text() {
        let api = api(&[], noon());
        let types: Vec<_> = (0..8)
            .map(|_| {
                let received = api.receive(question(Method::GET, ACCOUNTS, &[], ""));
                api.answer(&received).content_type
            })
            .collect();
        assert!(types.contains(&"text/plain"));
        assert!(types.contains(&"application/json; encoding=utf-8"));
    }

    #[test]
    fn every_call_is_on_record_with_its_app_and_token() {
        let api = api(&[], noon());
        let token = token(&api, FIRST);
        accounts(&api, &token);
        accounts(&api, "somebody's");
        assert_eq!(api.calls_of(ACCOUNTS), 2);
        assert_eq!(api.calls_of(STABLE_TOKEN), 1);
        let calls = api.calls();
        let seen: Vec<_> = calls
            .iter()
            .map(|call| {
                (
                    call.path.as_str(),
                    call.appid.as_deref(),
                    call.token.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                (STABLE_TOKEN, Some(FIRST), None),
                (ACCOUNTS, Some(FIRST), Some(token.as_str())),
                (ACCOUNTS, None, Some("somebody's")),
            ]
        );
    }

    #[test]
    fn fault_begins_and_ends_by_the_clock() {
        let clock = noon();
        let api = api(&["45009:wx0000000000000001@10s+20s"], clock.clone());
        let (first, third) = (token(&api, FIRST), token(&api, "wx0000000000000003"));
        let errcode = |token: &str| accounts(&api, token)["errcode"].clone();
        for (second, expected) in [
            (9, Value::Null),
            (10, json!(45009)),
            (29, json!(45009)),
            (30, Value::Null),
        ] {
            let elapsed = clock.now().wall.duration_since(noon().now().wall).unwrap();
            clock.advance(Duration::from_secs(second) - elapsed);
            assert_eq!(errcode(&first), expected, "{second} s");
            assert_eq!(errcode(&third), Value::Null);
        }
    }

    #[test]
    fn fault_set_later_counts_from_then_and_can_be_cleared() {
        let clock = noon();
        let api = api(&[], clock.clone());
        let token = token(&api, FIRST);
        clock.advance(Duration::from_secs(100));
        api.set_fault("48001@10s".parse().unwrap());
        assert_eq!(accounts(&api, &token)["count"], 12);
        clock.advance(Duration::from_secs(10));
        assert_eq!(accounts(&api, &token)["errcode"], 48001);
        api.clear_faults();
        assert_eq!(accounts(&api, &token)["count"], 12);
    }

    #[test]
    fn refused_secret_takes_the_tokens_with_it() {
        let api = api(&["40125@1s"], noon());
        let token = token(&api, FIRST);
        assert_eq!(accounts(&api, &token)["count"], 12);
        api.clock.advance(Duration::from_secs(1));
        assert_eq!(accounts(&api, &token)["errcode"], 42001);
        let request = token_request(FIRST, APPSECRET, false);
        assert_eq!(post(&api, STABLE_TOKEN, &[], &request)["errcode"], 40125);
    }

    #[test]
    fn fault_of_the_api_shows_inside_the_cloud_functions_result() {
        let api = api(&["-604101", "invoke_cloud_function=40001"], noon());
        let token = token(&api, FIRST);
        let invoke = || {
            let query = [
                ("access_token", token.as_str()),
                ("env", CLOUD_ENV),
                ("name", CLOUD_FUNCTION),
            ];
            post(&api, INVOKE, &query, &json!({}))
        };
        let reply = invoke();
        assert_eq!(reply["errcode"], 0);
        let result: Value = serde_json::from_str(reply["resp_data"].as_str().unwrap()).unwrap();
        assert_eq!(result["errCode"], -604_101);
        api.clear_faults();
        api.set_fault("40001".parse().unwrap());
        assert_eq!(invoke()["errcode"], 40001);
    }

    #[test]
    fn stale_balances_stand_still_while_the_others_move() {
        let clock = noon();
        let api = api(
            &["account_getall=stale:wx0000000000000001@5m+10m"],
            clock.clone(),
        );
        let token = token(&api, FIRST);
        let quota = || {
            accounts(&api, &token)["list"][0]["quota_update_time"]
                .as_i64()
                .unwrap()
        };
        clock.advance(Duration::from_secs(5 * 60));
        let begun = quota();
        clock.advance(Duration::from_secs(9 * 60));
        assert_eq!(quota(), begun);
        clock.advance(Duration::from_secs(60));
        assert_eq!(quota(), begun + 600);
    }

    #[test]
    fn encrypted_answer_has_the_three_parts() {
        let api = api(&["encrypted"], noon());
        let reply = accounts(&api, &token(&api, FIRST));
        let keys: Vec<_> = reply.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["authtag", "data", "iv"]);
    }

    #[test]
    fn reply_of_a_test_is_sent_as_it_is() {
        let api = api(&[], noon());
        let token = token(&api, FIRST);
        api.set_reply(0, Api::AccountGetall, Bytes::from_static(b"[1]"));
        assert_eq!(accounts(&api, &token), json!([1]));
    }

    #[test]
    fn world_is_the_same_after_a_restart() {
        let lists: Vec<_> = (0..2)
            .map(|_| {
                let api = api(&[], noon());
                accounts(&api, &token(&api, FIRST))
            })
            .collect();
        assert_eq!(lists[0], lists[1]);
    }
}
