//! A simulated WeChat API on loopback for the `demo` command: no credentials, no network.
//!
//! The Mini Programs `wx0000000000000001`, `wx0000000000000002`, … have courier accounts in every state that WeChat
//! knows. Balances fall and are topped up `--demo.speed` times as fast as in real shops, but the timestamps are those
//! of the real calendar. Every third app, starting with the second, is read through a cloud function. `--demo.fault`
//! makes something go wrong (see `--help`).

mod api;
mod fault;
mod world;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use reqwest::Url;
use tokio::net::TcpListener;

pub use fault::Fault;

use crate::config::{AppConfig, Credential, SecretSource};
use crate::wechat::CloudFunction;
use api::SimulatedApi;

/// As many as the exporter accepts by default.
const ACCOUNTS_MAX: u64 = 100_000;

/// What the simulated WeChat API is like.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Simulated WeChat API")]
pub struct Options {
    /// Seed of the simulation: the same seed gives the same shops and, at any given time, the same balances
    #[arg(long = "demo.seed", value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// Number of Mini Programs
    #[arg(
        long = "demo.apps",
        value_name = "COUNT",
        default_value_t = 3,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000)
    )]
    pub apps: usize,

    /// Number of courier accounts per Mini Program, up to 100000; the first ten of the first one show every state
    #[arg(
        long = "demo.accounts",
        value_name = "COUNT",
        default_value_t = 12,
        value_parser = RangedU64ValueParser::<usize>::new().range(0..=ACCOUNTS_MAX)
    )]
    pub accounts: usize,

    /// Seconds of shop time per second: at 60, an hour of business takes a minute
    #[arg(
        long = "demo.speed",
        value_name = "FACTOR",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub speed: u32,

    /// Fault to simulate; repeatable
    #[arg(
        long = "demo.fault",
        long_help = fault::HELP,
        value_name = "FAULT",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub faults: Vec<Fault>,

    /// Address that the simulated API listens on; port 0 picks a free port
    #[arg(
        long = "demo.address",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:0"
    )]
    pub address: SocketAddr,
}

/// A simulated WeChat API that listens until the runtime ends.
pub struct Simulation {
    /// The address that it listens on.
    pub address: SocketAddr,
    /// The simulated Mini Programs. The API accepts any secret.
    pub apps: Vec<AppConfig>,
}

impl Simulation {
    /// Starts the simulated API.
    ///
    /// # Errors
    /// Fails if it can't listen on the address.
    pub async fn start(options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let api = SimulatedApi::new(options);
        // The address of a network interface (`%2`) makes no URL.
        let url: Url = format!("http://{address}")
            .parse()
            .map_err(io::Error::other)?;
        let apps = api.apps().enumerate().map(|(number, (appid, name))| {
            let credential = Credential::StableToken {
                secret: SecretSource::Simulated,
            };
            AppConfig {
                name,
                api_urls: vec![url.clone()],
                cloud_function: (number % 3 == 1).then(|| CloudFunction {
                    env: "demo-prod".to_owned(),
                    name: "getAllAccount".to_owned(),
                    pointer: None,
                }),
                ..AppConfig::new(appid, credential)
            }
        });
        let apps = apps.collect();
        tokio::spawn(accept(listener, Arc::new(api)));
        Ok(Self { address, apps })
    }
}

async fn accept(listener: TcpListener, api: Arc<SimulatedApi>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // No file descriptor is free.
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let api = Arc::clone(&api);
        let service = service_fn(move |request| Arc::clone(&api).answer(request));
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // The connection breaks if a fault says so or the exporter disconnects.
            let _ = connection.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::wechat::{
        AccessToken, AccountList, Api, Authorization, Client, ClientOptions, Error, ListLimits,
        Reason,
    };

    /// Returns the options of a command line.
    fn options(flags: &[&str]) -> Options {
        let command = Options::augment_args(clap::Command::new("demo"));
        let matches = command.get_matches_from(std::iter::once(&"demo").chain(flags));
        Options::from_arg_matches(&matches).unwrap()
    }

    /// Returns a client of a simulation with these faults.
    async fn client(faults: &[&str]) -> Client {
        let options = Options {
            faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
            ..options(&[])
        };
        let simulation = Simulation::start(&options).await.unwrap();
        Client::new(&ClientOptions {
            api_urls: simulation.apps[0].api_urls.clone(),
            timeout: Duration::from_secs(60),
            list_limits: ListLimits::default(),
            proxy_from_env: false,
        })
        .unwrap()
    }

    /// Mints a token for that app.
    async fn token(client: &Client, app: usize) -> Result<Authorization, Error> {
        let (appid, secret) = (format!("wx{app:016}"), "any".into());
        let minted = client.mint_token(Api::StableToken, &appid, &secret, &());
        Ok(Authorization::AccessToken(minted.await?))
    }

    /// Returns the account list of the first app.
    async fn list(client: &Client) -> Result<AccountList, Error> {
        let token = token(client, 1).await?;
        client.account_list(&token, None, &()).await
    }

    #[test]
    fn faults_are_read_one_by_one() {
        let faults = options(&["--demo.fault=45009@30s,reset", "--demo.fault", "-1"]).faults;
        let expected = ["45009@30s", "reset", "-1"].map(|fault| fault.parse().unwrap());
        assert_eq!(faults, expected);
    }

    #[tokio::test]
    async fn every_call_is_answered() {
        let client = client(&[]).await;
        let direct = list(&client).await.unwrap();
        assert_eq!((direct.accounts.len(), direct.count), (12, Some(12)));
        let token = token(&client, 2).await.unwrap();
        let function = CloudFunction {
            env: "demo-prod".to_owned(),
            name: "getAllAccount".to_owned(),
            pointer: None,
        };
        let list = client.account_list(&token, Some(&function), &());
        let list = list.await.unwrap();
        assert_eq!(list.accounts.len(), 12);
        let account = &list.accounts[0];
        let live = client.quota_get(&token, &account.delivery_id, &account.biz_id, &());
        assert!(live.await.unwrap().is_some());
        let unknown = client.quota_get(&token, "YTO", "nobody", &());
        assert_eq!(unknown.await.unwrap_err().cause.errcode, 9_300_530);
        let quota = client.api_quota_get(&token, Api::AccountGetall, &());
        assert!(quota.await.unwrap().remain.is_some());
        let couriers = client.delivery_getall(&token, &()).await.unwrap();
        assert_eq!(&*couriers[0].delivery_name, "圆通速递");
    }

    #[tokio::test]
    async fn wrong_tokens_and_appids_are_refused() {
        let client = client(&["40125:wx0000000000000002"]).await;
        for (app, errcode) in [(4, 40013), (2, 40125)] {
            let error = token(&client, app).await.unwrap_err();
            assert_eq!(error.cause.errcode, errcode);
        }
        for (foreign, errcode) in [
            ("stranger", 40001),
            ("wx0000000000000004_9", 40001),
            ("wx0000000000000001_9", 42001),
        ] {
            let token = Authorization::AccessToken(AccessToken {
                secret: foreign.into(),
                expires: None,
            });
            let error = client.account_list(&token, None, &()).await.unwrap_err();
            assert_eq!(error.cause.errcode, errcode, "{foreign}");
        }
    }

    #[tokio::test]
    async fn each_fault_shows_as_what_it_is() {
        for (fault, count) in [
            ("no-accounts", 0),
            ("slow-1ms", 12),
            ("stale", 12),
            ("duplicates", 15),
        ] {
            let list = list(&client(&[fault]).await).await.unwrap();
            assert_eq!(list.accounts.len(), count, "{fault}");
        }
        for (fault, reason) in [
            ("45009", Reason::DailyQuota),
            ("encrypted", Reason::Config),
            ("reset", Reason::Network),
            ("truncated", Reason::Network),
            ("html", Reason::Decode),
            ("empty", Reason::Decode),
            ("no-list", Reason::Decode),
            ("account_getall=huge", Reason::Decode),
            ("502", Reason::Transient),
        ] {
            let error = list(&client(&[fault]).await).await.unwrap_err();
            assert_eq!(error.cause.reason, reason, "{fault}: {error}");
        }
    }
}
