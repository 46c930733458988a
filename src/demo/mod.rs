//! A simulated WeChat API on loopback: for `demo`, which needs no credentials and no network, and for tests.
//!
//! # The world
//!
//! Mini Programs `wx0000000000000001`, `wx0000000000000002`, … have courier accounts in every state that WeChat knows:
//! bound to couriers that sell waybills in advance, bound to couriers that keep a monthly account and have no stock,
//! under review for days, failed with the courier's reason, unbound. Most have waybills for a week. Of the first three
//! apps, one has an account that runs empty and is topped up every ten minutes and one that is topped up at the last
//! moment, the second one that is empty and one that runs out within a day, the third one that runs out within three.
//! The balances are refreshed at whole minutes and lag behind, and one account's are days old. All of it follows from
//! `--demo.seed` and the time alone, so a restart changes nothing.
//!
//! Every third Mini Program, from the second on, is read over the cloud call: its account list comes out of the cloud
//! function `getAllAccount` in the environment `demo-prod`.
//!
//! `--demo.speed` is how many seconds pass in the shops per second: at 60, the default, an hour of business takes a
//! minute. The timestamps that WeChat sends are of the real calendar all the same, and so are the days for which stocks
//! last: at 60 an account with waybills for a week has sixty times as many as at 1. At 1 shops sleep at night; faster
//! worlds hardly do, so that there is always something to see.
//!
//! # Faults
//!
//! `--demo.fault` makes something go wrong. It can be given more than once; a call meets the first fault that
//! strikes it.
//!
//! ```text
//! [ENDPOINT=]KIND[:APPID|:*][@START[+DURATION]]
//!
//! 45009@30s                           from 30 s on, WeChat says that the daily quota is used up
//! 40001:wx0000000000000001@10s+20s    for 20 s the first Mini Program's tokens are refused
//! stable_token=-1                     no token is given out: WeChat is busy
//! timeout@1m+30s                      for 30 s no call is answered
//! ```
//!
//! | KIND | what happens |
//! |---|---|
//! | an errcode, `-1`, `45009`, … | HTTP 200 with that `errcode` and WeChat's text for it |
//! | an HTTP status, `400` to `599` | that status with a gateway's page |
//! | `timeout`, `hang` | the call is taken and never answered |
//! | `reset` | the connection is reset without an answer |
//! | `slow`, `slow-8s` | the right answer takes 5 s, or as long as given, to arrive |
//! | `html` | a portal's web page over HTTP 200 |
//! | `truncated` | the connection ends in the middle of the answer |
//! | `empty` | HTTP 200 without a body |
//! | `no-list` | `{}`, which is not an empty list |
//! | `no-accounts` | a good list without an account |
//! | `duplicates` | three accounts are listed twice, the second time as of a day before |
//! | `stale` | balances are no longer refreshed |
//! | `huge` | an answer of 256 MiB |
//! | `encrypted` | an answer as of an app with API encryption (API 安全) switched on |
//!
//! `ENDPOINT` is a label of `wechat_logistics_api_requests_total`. Without one, a fault strikes where WeChat would show
//! it: the errcodes of wrong credentials (`40002`, `40013`, `40125`, `40243`, `41002`, `41004`) where tokens are given
//! out, and tokens given out before are refused as expired while they last; `-1`, `40164` and `89503` everywhere; other
//! errcodes everywhere but where tokens are given out; faults of the list where the list is asked for; and faults
//! of the connection everywhere.
//!
//! `START` and `DURATION` are real time, counted from the start of the program (or from `set_fault`): `30s`, `1m30s`,
//! `250ms`. Without `START` a fault is there at once, without `DURATION` it stays.

mod answer;
mod api;
mod calls;
mod clock;
mod dice;
mod fault;
mod listing;
mod question;
mod tokens;
mod wire;
mod world;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use calls::Call;
pub use clock::Clock;
pub use fault::{Fault, FaultError, FaultKind};

use crate::wechat::{Api, CloudFunction};
use api::SimulatedApi;
use world::World;

/// The AppSecret of every simulated Mini Program.
pub const APPSECRET: &str = "simulated-appsecret";

/// The cloud environment of the simulated Mini Programs.
const CLOUD_ENV: &str = "demo-prod";

/// The cloud function that the repository ships.
const CLOUD_FUNCTION: &str = "getAllAccount";

/// As many as the exporter itself takes in by default.
const ACCOUNTS_MAX: u64 = 100_000;

/// `--help` of `--demo.fault`. The module's doc says the same at length.
const FAULT_HELP: &str = "\
Something that goes wrong; repeatable

[ENDPOINT=]KIND[:APPID][@START[+DURATION]], for example 45009@30s, 40001:wx0000000000000001@10s+20s, \
stable_token=-1 or timeout@1m+30s.

KIND is one of WeChat's errcodes (-1, 40001, 40164, 45009, 48001, ...), an HTTP status (400 to 599), or a word: \
timeout or hang (never answered), reset (connection reset), slow or slow-8s (the answer takes 5s or so long), \
html (a web page), truncated (ends in the middle), empty (no body), no-list ({}), no-accounts (an empty list), \
duplicates (accounts listed twice), stale (balances no longer refreshed), huge (256 MiB), encrypted (API encryption \
is on).

ENDPOINT is account_getall, invoke_cloud_function, stable_token, token, delivery_getall, quota_get or \
api_quota_get; without it the fault strikes where WeChat would show it. Times count from the start: 30s, 1m30s, \
250ms.";

/// What the simulated WeChat API is like.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Simulated WeChat API")]
pub struct Options {
    /// The simulated world: the same number shows the same shops and, at the same time, the same balances
    #[arg(
        long = "demo.seed",
        env = "WECHAT_LOGISTICS_DEMO_SEED",
        value_name = "NUMBER",
        default_value_t = Self::SEED
    )]
    pub seed: u64,

    /// How many Mini Programs there are
    #[arg(
        long = "demo.apps",
        env = "WECHAT_LOGISTICS_DEMO_APPS",
        value_name = "COUNT",
        default_value_t = Self::APPS,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000)
    )]
    pub apps: usize,

    /// How many courier accounts each Mini Program has, up to 100000; the first ten of the first one show every state
    #[arg(
        long = "demo.accounts",
        env = "WECHAT_LOGISTICS_DEMO_ACCOUNTS",
        value_name = "COUNT",
        default_value_t = Self::ACCOUNTS,
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(0..=ACCOUNTS_MAX)
    )]
    pub accounts: usize,

    /// How many seconds pass in the shops per second: at 60 an hour of business takes a minute, at 1 an hour
    #[arg(
        long = "demo.speed",
        env = "WECHAT_LOGISTICS_DEMO_SPEED",
        value_name = "FACTOR",
        default_value_t = Self::SPEED,
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub speed: u32,

    /// Something that goes wrong; repeatable
    #[arg(
        long = "demo.fault",
        long_help = FAULT_HELP,
        env = "WECHAT_LOGISTICS_DEMO_FAULT",
        value_name = "FAULT",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub faults: Vec<Fault>,

    /// Where the simulated API listens; port 0 takes a free one
    #[arg(
        long = "demo.address",
        env = "WECHAT_LOGISTICS_DEMO_ADDRESS",
        value_name = "ADDRESS",
        default_value_t = Self::ADDRESS
    )]
    pub address: SocketAddr,
}

impl Options {
    const SEED: u64 = 1;
    const APPS: usize = 3;
    const ACCOUNTS: usize = 12;
    const SPEED: u32 = 60;
    const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: Self::SEED,
            apps: Self::APPS,
            accounts: Self::ACCOUNTS,
            speed: Self::SPEED,
            faults: Vec::new(),
            address: Self::ADDRESS,
        }
    }
}

/// A simulated Mini Program, as its owner knows it; its secret is [`APPSECRET`].
#[derive(Clone, Debug)]
pub struct SimulatedApp {
    /// Its appid.
    pub appid: String,
    /// The shop's name.
    pub name: String,
    /// Where the simulated API listens.
    pub api_url: String,
    /// The cloud function to read it through; `None`: over HTTPS.
    pub cloud_function: Option<CloudFunction>,
}

/// A simulated WeChat API, listening on loopback until it is dropped.
pub struct Simulation {
    address: SocketAddr,
    api: Arc<SimulatedApi>,
    server: JoinHandle<std::convert::Infallible>,
}

impl Simulation {
    /// Starts it, by the machine's clock. Must run inside a runtime.
    ///
    /// # Errors
    /// When the address can't be had.
    pub async fn start(options: &Options) -> io::Result<Self> {
        Self::start_with_clock(options, Clock::system()).await
    }

    /// Starts it by another clock. Pauses of a slow answer are real all the same.
    ///
    /// # Errors
    /// When the address can't be had.
    pub async fn start_with_clock(options: &Options, clock: Clock) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let api = Arc::new(SimulatedApi::new(options, clock));
        let server = tokio::spawn(wire::serve(listener, Arc::clone(&api)));
        Ok(Self {
            address,
            api,
            server,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The simulated Mini Programs; every third one is read through a cloud function.
    #[must_use]
    pub fn apps(&self) -> Vec<SimulatedApp> {
        (0..self.api.apps()).map(|app| self.app(app)).collect()
    }

    fn app(&self, app: usize) -> SimulatedApp {
        let cloud_function = (app % 3 == 1).then(|| CloudFunction {
            env: CLOUD_ENV.to_owned(),
            name: CLOUD_FUNCTION.to_owned(),
            pointer: None,
        });
        SimulatedApp {
            appid: World::appid(app),
            name: self.api.world().shop(app),
            api_url: format!("http://{}", self.address),
            cloud_function,
        }
    }

    /// How many calls have come for this path, for example `/cgi-bin/stable_token`.
    #[must_use]
    pub fn calls(&self, path: &str) -> u64 {
        self.api.calls_of(path)
    }

    /// The last 10,000 calls, oldest first.
    #[must_use]
    pub fn call_log(&self) -> Vec<Call> {
        self.api.calls()
    }

    /// Lets something go wrong. Its times count from now. Faults set before are tried first.
    pub fn set_fault(&self, fault: Fault) {
        self.api.set_fault(fault);
    }

    /// Ends all faults and all replies of [`set_reply`](Self::set_reply). A call that hangs goes on hanging.
    pub fn clear_faults(&self) {
        self.api.clear_faults();
    }

    /// Answers the app's calls of that endpoint with this body over HTTP 200, whether its token is good or not.
    ///
    /// # Panics
    /// As [`expire_tokens`](Self::expire_tokens).
    pub fn set_reply(&self, api: Api, appid: &str, body: impl Into<Bytes>) {
        self.api.set_reply(self.number(appid), api, body.into());
    }

    /// Ends every token of the app: 42001, and the next one is new.
    ///
    /// # Panics
    /// When no simulated app has that appid: the test is wrong.
    pub fn expire_tokens(&self, appid: &str) {
        self.api.expire_tokens(self.number(appid));
    }

    /// Makes a token that somebody else got the latest one: 40001, and the next one is new.
    ///
    /// # Panics
    /// As [`expire_tokens`](Self::expire_tokens).
    pub fn replace_tokens(&self, appid: &str) {
        self.api.replace_tokens(self.number(appid));
    }

    /// What a Cloud Run container of the app would find in its `cloudbase_access_token` file now.
    ///
    /// # Panics
    /// As [`expire_tokens`](Self::expire_tokens).
    #[must_use]
    pub fn cloudbase_token(&self, appid: &str) -> String {
        self.api.pushed_token(self.number(appid))
    }

    /// Answers calls without a token as Cloud Run's open-interface service does in a container of this app; `None`:
    /// refuses them again.
    ///
    /// # Panics
    /// As [`expire_tokens`](Self::expire_tokens).
    pub fn set_open_interface(&self, appid: Option<&str>) {
        let app = appid.map(|appid| self.number(appid));
        self.api.set_open_interface(app);
    }

    /// Lists these rows for the app, written in `snake_case` as over HTTPS; the cloud call spells them its own way.
    ///
    /// # Panics
    /// As [`expire_tokens`](Self::expire_tokens).
    pub fn set_accounts(&self, appid: &str, rows: Vec<Value>) {
        self.api.listing(self.number(appid)).set_rows(rows);
    }

    /// Lists so many accounts of the simulated world for the app.
    ///
    /// # Panics
    /// As [`expire_tokens`](Self::expire_tokens).
    pub fn set_account_count(&self, appid: &str, count: usize) {
        self.api.listing(self.number(appid)).set_count(count);
    }

    fn number(&self, appid: &str) -> usize {
        self.api
            .app(appid)
            .expect("one of the appids that apps() gives")
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("address", &self.address)
            .field("apps", &self.api.apps())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, CommandFactory, FromArgMatches, Parser};

    use super::*;

    /// The exporter of a test.
    #[derive(Debug, Parser)]
    #[command(about = "the exporter")]
    struct Line {
        #[command(flatten)]
        demo: Options,
        #[command(subcommand)]
        command: Option<Command>,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Command {
        /// the demonstration
        Demo(Options),
    }

    fn typed(flags: &[&str]) -> Result<Options, String> {
        let command = Options::augment_args(clap::Command::new("demo"));
        let matches = command
            .try_get_matches_from(std::iter::once(&"demo").chain(flags))
            .map_err(|error| error.to_string())?;
        Options::from_arg_matches(&matches).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_those_of_the_flags() {
        assert_eq!(typed(&[]).unwrap(), Options::default());
    }

    #[test]
    fn every_flag_is_read_and_faults_add_up() {
        let options = typed(&[
            "--demo.seed=7",
            "--demo.apps=2",
            "--demo.accounts=100000",
            "--demo.speed=1",
            "--demo.address=127.0.0.1:8080",
            "--demo.fault=45009@30s,reset",
            "--demo.fault",
            "-1",
        ])
        .unwrap();
        let faults: Vec<_> = options.faults.iter().map(Fault::to_string).collect();
        assert_eq!(faults, ["45009@30s", "reset", "-1"]);
        assert_eq!(options.seed, 7);
        assert_eq!(
            (options.apps, options.accounts, options.speed),
            (2, 100_000, 1)
        );
        assert_eq!(options.address.port(), 8080);
    }

    #[test]
    fn value_out_of_range_is_refused() {
        for flag in [
            "--demo.apps=0",
            "--demo.accounts=100001",
            "--demo.speed=0",
            "--demo.fault=explode",
            "--demo.address=localhost",
        ] {
            let error = typed(&[flag]).unwrap_err();
            assert!(error.contains(flag.split_once('=').unwrap().0), "{error}");
        }
    }

    #[test]
    fn flags_are_well_formed_and_leave_the_programs_own_description() {
        let mut command = Line::command();
        command.clone().debug_assert();
        let help = command.render_long_help().to_string();
        assert!(help.starts_with("the exporter"), "{help}");
        assert!(help.contains("Simulated WeChat API:"), "{help}");
        for api in Api::ALL {
            assert!(help.contains(api.as_str()), "{api}");
        }
        for (word, _) in fault::WORDS {
            assert!(FAULT_HELP.contains(word), "{word}");
        }
        let demo = command.find_subcommand_mut("demo").unwrap();
        let help = demo.render_long_help().to_string();
        assert!(help.starts_with("the demonstration"), "{help}");
    }

    #[tokio::test]
    async fn apps_have_chinese_names_and_some_are_read_over_the_cloud_call() {
        let simulation = Simulation::start(&Options::default()).await.unwrap();
        let apps = simulation.apps();
        assert_eq!(apps.len(), 3);
        assert!(apps.iter().all(|app| !app.name.is_ascii()));
        assert!(apps[0].cloud_function.is_none());
        assert!(apps[1].cloud_function.is_some());
        assert_eq!(apps[0].api_url, format!("http://{}", simulation.address()));
    }
}
