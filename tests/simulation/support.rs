//! A client of the exporter's own, and a simulated API for it to call.

use std::time::Duration;

use wechat_logistics_exporter::config::{AppConfig, SecretSource};
use wechat_logistics_exporter::demo::{Options, Simulation};
use wechat_logistics_exporter::wechat::{
    AccessToken, AccountList, Api, Authorization, Client, ClientOptions, DailyLimitReached, Error,
    ListLimits, Meter, Reason,
};

/// Lets every call through.
#[derive(Debug)]
pub(crate) struct Unmetered;

impl Meter for Unmetered {
    fn sending(&self, _endpoint: Api) -> Result<(), DailyLimitReached> {
        Ok(())
    }

    fn failed(&self, _endpoint: Api, _reason: Reason, _errcode: Option<i64>) {}
}

/// A simulated API with one client for it.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) simulation: Simulation,
    pub(crate) client: Client,
    pub(crate) apps: Vec<AppConfig>,
}

impl Pair {
    pub(crate) async fn new() -> Self {
        Self::with_timeout(Duration::from_secs(60)).await
    }

    /// `timeout`: of each call.
    pub(crate) async fn with_timeout(timeout: Duration) -> Self {
        let simulation = Simulation::start(&Options::default()).await.unwrap();
        let apps: Vec<_> = simulation.apps().into_iter().map(AppConfig::from).collect();
        let options = ClientOptions {
            api_urls: apps[0].api_urls.clone(),
            timeout,
            list_limits: ListLimits::default(),
            proxy_from_env: false,
        };
        let client = Client::new(options).unwrap();
        Self {
            simulation,
            client,
            apps,
        }
    }

    pub(crate) async fn token(&self, app: usize) -> Result<AccessToken, Error> {
        let secret = SecretSource::Simulated.read().unwrap();
        let appid = &self.apps[app].appid;
        self.client.stable_token(appid, &secret, &Unmetered).await
    }

    pub(crate) async fn accounts(&self, token: &AccessToken) -> Result<AccountList, Error> {
        let authorization = Authorization::AccessToken(token);
        self.client.account_getall(authorization, &Unmetered).await
    }

    /// Through the cloud function of the second app.
    pub(crate) async fn cloud_accounts(&self, token: &AccessToken) -> Result<AccountList, Error> {
        let function = self.apps[1].cloud_function.as_ref().unwrap();
        let authorization = Authorization::AccessToken(token);
        self.client
            .invoke_cloud_function(authorization, function, &Unmetered)
            .await
    }
}
