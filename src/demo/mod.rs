//! A simulated WeChat API on loopback for the `demo` command: no credentials, no network.
//!
//! Mini Programs `wx0000000000000001`, `wx0000000000000002`, … have courier accounts in every state that WeChat knows.
//! Balances burn down and are topped up, `--demo.speed` times as fast as in real shops; the timestamps are the real
//! calendar's all the same. Every third app, from the second on, is read through a cloud function. `--demo.fault` makes
//! something go wrong (see `--help`).

mod api;
mod fault;
mod world;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::builder::RangedU64ValueParser;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

pub use fault::Fault;

use crate::wechat::CloudFunction;
use api::SimulatedApi;

/// As many as the exporter itself takes in by default.
const ACCOUNTS_MAX: u64 = 100_000;

/// What the simulated WeChat API is like.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
#[command(next_help_heading = "Simulated WeChat API")]
pub struct Options {
    /// The simulated world: the same number shows the same shops and, at the same time, the same balances
    #[arg(
        long = "demo.seed",
        value_name = "NUMBER",
        default_value_t = Self::default().seed
    )]
    pub seed: u64,

    /// How many Mini Programs there are
    #[arg(
        long = "demo.apps",
        value_name = "COUNT",
        default_value_t = Self::default().apps,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=10_000)
    )]
    pub apps: usize,

    /// How many courier accounts each Mini Program has, up to 100000; the first ten of the first one show every state
    #[arg(
        long = "demo.accounts",
        value_name = "COUNT",
        default_value_t = Self::default().accounts,
        value_parser = RangedU64ValueParser::<usize>::new().range(0..=ACCOUNTS_MAX)
    )]
    pub accounts: usize,

    /// How many seconds pass in the shops per second: at 60 an hour of business takes a minute, at 1 an hour
    #[arg(
        long = "demo.speed",
        value_name = "FACTOR",
        default_value_t = Self::default().speed,
        value_parser = clap::value_parser!(u32).range(1..=86_400)
    )]
    pub speed: u32,

    /// Something that goes wrong; repeatable
    #[arg(
        long = "demo.fault",
        long_help = fault::HELP,
        value_name = "FAULT",
        value_delimiter = ',',
        allow_hyphen_values = true
    )]
    pub faults: Vec<Fault>,

    /// Where the simulated API listens; port 0 takes a free one
    #[arg(
        long = "demo.address",
        value_name = "ADDRESS",
        default_value_t = Self::default().address
    )]
    pub address: SocketAddr,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            apps: 3,
            accounts: 12,
            speed: 60,
            faults: Vec::new(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }
    }
}

/// A simulated Mini Program, as its owner knows it. The simulated API takes any secret.
#[derive(Clone, Debug)]
pub struct SimulatedApp {
    pub appid: String,
    pub name: String,
    pub api_url: String,
    /// `None`: it is read over HTTPS.
    pub cloud_function: Option<CloudFunction>,
}

/// A simulated WeChat API, which listens until the runtime ends.
#[derive(Debug)]
pub struct Simulation {
    address: SocketAddr,
    api: Arc<SimulatedApi>,
}

impl Simulation {
    /// Starts it.
    ///
    /// # Errors
    /// When it can't listen on the address.
    pub async fn start(options: &Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let api = Arc::new(SimulatedApi::new(options));
        tokio::spawn(accept(listener, Arc::clone(&api)));
        Ok(Self { address, api })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The simulated Mini Programs.
    pub fn apps(&self) -> Vec<SimulatedApp> {
        let apps = self.api.apps().enumerate();
        apps.map(|(number, (appid, name))| SimulatedApp {
            appid,
            name,
            api_url: format!("http://{}", self.address),
            cloud_function: (number % 3 == 1).then(|| CloudFunction {
                env: "demo-prod".to_owned(),
                name: "getAllAccount".to_owned(),
                pointer: None,
            }),
        })
        .collect()
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
            // It breaks where a fault wants it to, or where the exporter goes away.
            let _ = connection.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use clap::{Args, FromArgMatches};
    use reqwest::{Client, RequestBuilder};
    use rustls::RootCertStore;
    use serde_json::{Value, json};

    use super::*;
    use crate::tls;

    const LIST: &str = "/cgi-bin/express/business/account/getall";
    const FIRST: &str = "wx0000000000000001";
    const SECOND: &str = "wx0000000000000002";

    /// A simulation and a client of it.
    struct Wechat {
        base: String,
        client: Client,
    }

    impl Wechat {
        async fn with(faults: &[&str]) -> Self {
            let options = Options {
                faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
                ..Options::default()
            };
            let simulation = Simulation::start(&options).await.unwrap();
            Self {
                base: format!("http://{}", simulation.address()),
                client: Client::builder()
                    .no_proxy()
                    .tls_backend_preconfigured(tls::trusting(RootCertStore::empty()))
                    .build()
                    .unwrap(),
            }
        }

        async fn get(&self, path: &str, token: &str) -> Result<Value, Box<dyn Error>> {
            let url = format!("{}{path}?access_token={token}", self.base);
            read(self.client.get(url)).await
        }

        async fn post(&self, path: &str, token: &str, body: Value) -> Value {
            let url = format!("{}{path}?access_token={token}", self.base);
            let request = self.client.post(url).body(body.to_string());
            read(request).await.unwrap()
        }

        async fn token(&self, appid: &str) -> String {
            let reply = self
                .post("/cgi-bin/stable_token", "", json!({"appid": appid}))
                .await;
            assert!(
                (300..=7200).contains(&reply["expires_in"].as_i64().unwrap()),
                "{reply}"
            );
            reply["access_token"].as_str().unwrap().to_owned()
        }
    }

    async fn read(request: RequestBuilder) -> Result<Value, Box<dyn Error>> {
        let body = request.send().await?.bytes().await?;
        Ok(serde_json::from_slice(&body)?)
    }

    #[test]
    fn flags_have_the_defaults_of_the_options_and_faults_are_read_one_by_one() {
        let options = |flags: &[&str]| {
            let command = Options::augment_args(clap::Command::new("demo"));
            let matches = command.get_matches_from(std::iter::once(&"demo").chain(flags));
            Options::from_arg_matches(&matches).unwrap()
        };
        assert_eq!(options(&[]), Options::default());
        let faults = options(&["--demo.fault=45009@30s,reset", "--demo.fault", "-1"]).faults;
        let expected = ["45009@30s", "reset", "-1"].map(|fault| fault.parse().unwrap());
        assert_eq!(faults, expected);
    }

    #[tokio::test]
    async fn account_lists_are_served_over_both_ways() {
        let wechat = Wechat::with(&[]).await;
        let direct = wechat.get(LIST, &wechat.token(FIRST).await).await.unwrap();
        assert_eq!(direct["count"], 12);
        assert_eq!(direct["list"][0]["delivery_id"], "YTO");
        let token = wechat.token(SECOND).await;
        let reply = wechat
            .post("/tcb/invokecloudfunction", &token, json!({}))
            .await;
        let list: Value = serde_json::from_str(reply["resp_data"].as_str().unwrap()).unwrap();
        assert_eq!(list["list"].as_array().unwrap().len(), 12);
    }

    #[tokio::test]
    async fn optional_calls_are_answered() {
        let wechat = Wechat::with(&[]).await;
        let token = wechat.token(FIRST).await;
        let list = wechat.get(LIST, &token).await.unwrap();
        let quota = "/cgi-bin/express/business/quota/get";
        let live = wechat.post(quota, &token, list["list"][0].clone()).await;
        assert!(live["quota_num"].is_i64(), "{live}");
        let unknown = json!({"delivery_id": "YTO", "biz_id": "nobody"});
        assert_eq!(
            wechat.post(quota, &token, unknown).await["errcode"],
            9_300_530
        );
        let api_quota = "/cgi-bin/openapi/quota/get";
        let daily = wechat
            .post(api_quota, &token, json!({"cgi_path": LIST}))
            .await;
        assert_eq!(
            daily["quota"],
            json!({"daily_limit": 10_000, "used": 1, "remain": 9_999})
        );
        let couriers = wechat
            .get("/cgi-bin/express/business/delivery/getall", &token)
            .await;
        assert_eq!(couriers.unwrap()["data"][0]["delivery_name"], "圆通速递");
    }

    #[tokio::test]
    async fn wrong_tokens_and_appids_are_refused() {
        let wechat = Wechat::with(&["40125:wx0000000000000002"]).await;
        for (token, errcode) in [("", 40001), ("stranger", 40001), ("0_1_0", 40001)] {
            assert_eq!(wechat.get(LIST, token).await.unwrap()["errcode"], errcode);
        }
        let token = |appid: &str| wechat.post("/cgi-bin/stable_token", "", json!({"appid": appid}));
        assert_eq!(token("wx4").await["errcode"], 40013);
        assert_eq!(token(SECOND).await["errcode"], 40125);
    }

    #[tokio::test]
    async fn each_fault_shows_as_what_it_is() {
        let list = async |fault: &str| {
            let wechat = Wechat::with(&[fault]).await;
            let token = wechat.token(FIRST).await;
            wechat.get(LIST, &token).await
        };
        let errcode = list("account_getall=45009").await.unwrap();
        assert_eq!(errcode["errcode"], 45009);
        assert!(
            errcode["errmsg"]
                .as_str()
                .unwrap()
                .contains("daily quota limit")
        );
        assert_eq!(list("no-list").await.unwrap(), json!({}));
        assert_eq!(list("no-accounts").await.unwrap()["count"], 0);
        assert_eq!(list("duplicates").await.unwrap()["count"], 15);
        assert!(list("encrypted").await.unwrap()["iv"].is_string());
        assert_eq!(list("account_getall=slow-1ms").await.unwrap()["count"], 12);
        for broken in ["reset", "truncated", "html", "empty", "huge", "502"] {
            let fault = format!("account_getall={broken}");
            assert!(list(&fault).await.is_err(), "{broken}");
        }
    }
}
