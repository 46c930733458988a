//! Extras among replicas: one asks WeChat, all use the answer.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{AccountKey, App, CourierNames, Extras, Live, LiveBalance, RETRY_INTERVAL, claim};
use crate::replicas::Claim;
use crate::snapshot::Snapshot;
use crate::wechat::{Api, ApiQuota};

const COURIERS: &str = "couriers";
const API_QUOTA: &str = "api_quota";
const BALANCES: &str = "balances";

/// [`ApiQuota`] as replicas tell it.
#[derive(Serialize, Deserialize)]
struct ApiQuotaForm {
    api: String,
    daily_limit: Option<f64>,
    used: Option<f64>,
    remain: Option<f64>,
}

/// Takes over what is due and some other replica knows, without a call.
pub(in crate::app) async fn follow(app: &App) {
    if app.replicas.is_none() {
        return;
    }
    if app.config.refresh_couriers && claim(&app.couriers.due, RETRY_INTERVAL) {
        app.asks_for_couriers(false).await;
    }
    if app.config.api_quota && claim(&app.record.extras.api_quota_due, RETRY_INTERVAL) {
        app.asks_for_api_quota(false).await;
    }
}

impl App {
    /// Whether this replica is to ask for the couriers' names. What another one was told is taken over.
    pub(super) async fn asks_for_couriers(&self, may_ask: bool) -> bool {
        let known = |value: &[u8]| {
            self.couriers.replace(serde_json::from_slice(value)?);
            Ok(())
        };
        let due = &self.couriers.due;
        self.asks(None, COURIERS, may_ask, due, known).await
    }

    /// Whether this replica is to ask for WeChat's own figures. What another one was told is taken over.
    pub(super) async fn asks_for_api_quota(&self, may_ask: bool) -> bool {
        let known = |value: &[u8]| {
            let form: ApiQuotaForm = serde_json::from_slice(value)?;
            if Api::from_label(&form.api) == Some(self.list_endpoint()) {
                let quota = ApiQuota {
                    daily_limit: form.daily_limit,
                    used: form.used,
                    remain: form.remain,
                };
                self.record.lock().api_quota = Some((self.list_endpoint(), quota));
            }
            Ok(())
        };
        let appid = Some(self.config.appid.as_str());
        let due = &self.record.extras.api_quota_due;
        self.asks(appid, API_QUOTA, may_ask, due, known).await
    }

    /// Of the accounts that are due, those that this replica is to ask for: all of them, or none where another
    /// replica has asked within the interval. The others' balances come with their reading.
    pub(super) async fn asks_for_balances(
        &self,
        accounts: Vec<AccountKey>,
        interval: Duration,
    ) -> Vec<AccountKey> {
        let (Some(replicas), false) = (&self.replicas, accounts.is_empty()) else {
            return accounts;
        };
        let appid = Some(self.config.appid.as_str());
        let left = match replicas.claim(appid, BALANCES, true).await {
            Claim::Ours => {
                replicas.tell(appid, BALANCES, b"asked", interval).await;
                return accounts;
            }
            Claim::Known(_, left) => left,
            Claim::Theirs => Duration::ZERO,
        };
        self.record.extras.postpone(&accounts, left);
        Vec::new()
    }

    pub(super) async fn tell_couriers(&self) {
        let names = self.couriers.names();
        let names = serde_json::to_vec(&*names).expect("JSON has maps of strings");
        self.tell(None, COURIERS, &names, super::COURIER_NAMES_INTERVAL)
            .await;
    }

    pub(super) async fn tell_api_quota(&self, api: Api, quota: ApiQuota) {
        let form = ApiQuotaForm {
            api: api.to_string(),
            daily_limit: quota.daily_limit,
            used: quota.used,
            remain: quota.remain,
        };
        let form = serde_json::to_vec(&form).expect("JSON has strings and numbers");
        let appid = Some(self.config.appid.as_str());
        self.tell(appid, API_QUOTA, &form, super::API_QUOTA_INTERVAL)
            .await;
    }

    /// No replica is to ask again so soon.
    pub(super) async fn tell_couriers_failed(&self) {
        self.tell(None, COURIERS, b"", RETRY_INTERVAL).await;
    }

    /// No replica is to ask again so soon.
    pub(super) async fn tell_api_quota_failed(&self) {
        let appid = Some(self.config.appid.as_str());
        self.tell(appid, API_QUOTA, b"", RETRY_INTERVAL).await;
    }

    /// No replica is to ask again before that.
    pub(super) async fn tell_balances_due_in(&self, wait: Duration) {
        let appid = Some(self.config.appid.as_str());
        self.tell(appid, BALANCES, b"asked", wait).await;
    }

    async fn tell(&self, appid: Option<&str>, what: &str, value: &[u8], ttl: Duration) {
        if let Some(replicas) = &self.replicas {
            replicas.tell(appid, what, value, ttl).await;
        }
    }

    /// Whether this replica is to ask; else what is known is taken over, and `due` is when that ends.
    async fn asks(
        &self,
        appid: Option<&str>,
        what: &'static str,
        may_ask: bool,
        due: &Mutex<Option<Instant>>,
        take_over: impl Fn(&[u8]) -> Result<(), serde_json::Error>,
    ) -> bool {
        let Some(replicas) = &self.replicas else {
            return true;
        };
        let left = match replicas.claim(appid, what, may_ask).await {
            Claim::Ours => return true,
            Claim::Theirs => Duration::ZERO,
            Claim::Known(value, left) => {
                // Nothing: whoever asked was told nothing, and it is too early to ask again.
                if !value.is_empty()
                    && let Err(error) = take_over(&value)
                {
                    replicas.unreadable(&self.config.appid, what, &error.to_string());
                }
                left
            }
        };
        let left = left.min(super::COURIER_NAMES_INTERVAL);
        *due.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + left);
        false
    }
}

impl CourierNames {
    pub(super) fn replace(&self, names: HashMap<Box<str>, Box<str>>) {
        if **self.names.load() != names {
            self.names.store(names.into());
        }
    }
}

impl Extras {
    /// Takes the balances of another replica's reading for asked live: where they were not, a list that is as new
    /// has the same. Forgets accounts that are gone, as a replica that only follows does it nowhere else.
    pub(in crate::app) fn learn(&self, snapshot: &Snapshot) {
        let now = Instant::now();
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        let mut listed = HashMap::with_capacity(live.len());
        for account in snapshot.accounts() {
            let key = (account.biz_id.clone(), account.delivery_id.clone());
            let told = account.quota_num.zip(account.quota_update_time);
            let told = told.map(|(quota_num, asked)| LiveBalance { quota_num, asked });
            let entry = match (live.remove(&key), told) {
                (Some(known), told) => Live {
                    balance: told.or(known.balance),
                    ..known
                },
                (None, Some(_)) => Live {
                    balance: told,
                    due: now,
                },
                (None, None) => continue,
            };
            listed.insert(key, entry);
        }
        *live = listed;
    }

    pub(super) fn postpone(&self, accounts: &[AccountKey], wait: Duration) {
        let due = Instant::now() + wait.min(super::COURIER_NAMES_INTERVAL);
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        for account in accounts {
            if let Some(live) = live.get_mut(account) {
                live.due = due;
            }
        }
    }
}
