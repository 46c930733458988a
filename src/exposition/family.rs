//! The one table of metrics: each name, type and help stands here and nowhere else in the code.

use prometheus::proto::MetricType;

/// A metric's name, help and type.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The full name, in OpenMetrics without a counter's `_total`.
    pub name: &'static str,
    /// What it says, with the API's field where it comes from one.
    pub help: &'static str,
    /// Its type.
    pub kind: MetricType,
}

macro_rules! families {
    ($($(#[$doc:meta])* $id:ident: $kind:ident $name:literal, $help:literal;)+) => {
        $(
            $(#[$doc])*
            pub const $id: Family = Family {
                name: concat!("wechat_logistics_", $name),
                help: $help,
                kind: MetricType::$kind,
            };
        )+
        /// Every metric of the exporter but `process_*`, in the order of the page.
        pub const ALL: &[&Family] = &[$(&$id,)+];
    };
}

families! {
    /// One for each account.
    ACCOUNT_QUOTA: GAUGE "account_quota",
        "Electronic waybills left: quota_num of getAllAccount, as WeChat last refreshed it. Absent where WeChat sends none. Cached between fetches.";
    /// One for each account.
    ACCOUNT_STATUS_CODE: GAUGE "account_status_code",
        "Binding status: status_code of getAllAccount (0 bound, 1 under review, 2 failed, 3 unbound). Cached between fetches.";
    /// One for each account.
    ACCOUNT_QUOTA_UPDATE: GAUGE "account_quota_update_timestamp_seconds",
        "When WeChat refreshed the balance: quota_update_time of getAllAccount. Cached between fetches.";
    /// Five for each account.
    ACCOUNT_STATUS: GAUGE "account_status",
        "1 for the binding status that status_code names, 0 for the others; unknown where it is missing or new. Cached between fetches.";
    /// One for each account.
    ACCOUNT_CREATE: GAUGE "account_create_timestamp_seconds",
        "When the account was bound: create_time of getAllAccount. Cached between fetches.";
    /// One for each account.
    ACCOUNT_UPDATE: GAUGE "account_update_timestamp_seconds",
        "When the binding last changed: update_time of getAllAccount. Cached between fetches.";
    /// One for each account.
    ACCOUNT_INFO: GAUGE "account_info",
        "1; the courier's name, its network (franchise sells waybills in advance, direct bills monthly) and the account's alias. Cached between fetches.";
    /// One for each service type of an account.
    ACCOUNT_SERVICE_INFO: GAUGE "account_service_info",
        "1; a service that the account can order: service_type of getAllAccount. Cached between fetches.";
    /// One for each app.
    APP_INFO: GAUGE "app_info",
        "1; the Mini Program's configured name.";
    /// One for each app.
    MIN_INTERVAL: GAUGE "min_interval_seconds",
        "The min_interval in force: the account list is fetched no more often than once in this time.";
    /// One for each app with a snapshot.
    ACCOUNTS: GAUGE "accounts",
        "Courier accounts in the snapshot served. Cached between fetches.";
    /// Three for each app with a snapshot.
    ACCOUNTS_DROPPED: GAUGE "accounts_dropped",
        "Rows of WeChat's list that are left out of the snapshot served. Cached between fetches.";
    /// One for each app with a snapshot.
    SNAPSHOT_TIMESTAMP: GAUGE "snapshot_timestamp_seconds",
        "When the snapshot served was fetched. Scrapes in between are served from it.";
    /// One for each app.
    FETCH_DURATION: HISTOGRAM "fetch_duration_seconds",
        "Account-list fetches, token call included.";
    /// One for each app and endpoint.
    API_REQUESTS: COUNTER "api_requests_total",
        "Calls sent to WeChat.";
    /// One for each app, endpoint and reason.
    API_FAILURES: COUNTER "api_failures_total",
        "Calls to WeChat that failed, came too late for a scrape, or could not be made for want of a token.";
    /// One for each app.
    API_ERRCODE: GAUGE "api_errcode",
        "errcode of the last failed call to WeChat, 0 after a success.";
    /// One for each app where switched on.
    API_DAILY_LIMIT: GAUGE "api_daily_limit",
        "WeChat's own daily limit of the API: quota.daily_limit of openapi/quota/get. Asked once an hour at most.";
    /// One for each app where switched on.
    API_DAILY_USED: GAUGE "api_daily_used",
        "Calls that WeChat counted today: quota.used of openapi/quota/get. Asked once an hour at most.";
    /// One for each app where switched on.
    API_DAILY_REMAINING: GAUGE "api_daily_remaining",
        "Calls that WeChat leaves today: quota.remain of openapi/quota/get. Asked once an hour at most.";
    /// One for each app with more than one host.
    API_HOST_INFO: GAUGE "api_host_info",
        "1; the host of WeChat's that calls go to now.";
    /// One for each app.
    UP: GAUGE "up",
        "1 when the latest try to fetch succeeded; 0 when it failed, is late for this scrape, or none has succeeded yet.";
    /// Four for each app.
    SCRAPES: COUNTER "scrapes_total",
        "How scrapes were served: by their own fetch, by one they joined, by the last snapshot, by nothing.";
    /// Three for each app.
    CALLS_REFUSED: COUNTER "calls_refused_total",
        "Calls to WeChat that the exporter kept back.";
    /// One for each app with a limit.
    DAILY_CALLS_REMAINING: GAUGE "daily_calls_remaining",
        "What is left of the exporter's own daily limit of calls; it ends at midnight in China.";
    /// One for each app whose token says when it ends.
    TOKEN_EXPIRY: GAUGE "access_token_expiry_timestamp_seconds",
        "When the access token in use ends.";
    /// One.
    BUILD_INFO: GAUGE "exporter_build_info",
        "1; the exporter's version, revision and compiler.";
    /// One.
    RELOAD_SUCCESSFUL: GAUGE "exporter_config_last_reload_successful",
        "Whether the last attempt to load the configuration succeeded.";
    /// One.
    RELOAD_TIMESTAMP: GAUGE "exporter_config_last_reload_success_timestamp_seconds",
        "When the configuration was last loaded successfully.";
    /// One for each handler and code.
    HTTP_REQUESTS: COUNTER "exporter_http_requests_total",
        "HTTP requests answered.";
    /// One.
    STATE_WRITE_FAILURES: COUNTER "exporter_state_write_failures_total",
        "Writes to the state directory that failed; limits and snapshots are then in memory only.";
    /// One for each reason, where replicas share their state.
    SHARED_STATE_FAILURES: COUNTER "exporter_shared_state_failures_total",
        "Exchanges with the Redis server that replicas share which failed; each replica then goes on alone.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_stands_once_and_keeps_the_naming_rules() {
        let mut names: Vec<_> = ALL.iter().map(|family| family.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            assert_eq!(
                family.kind == MetricType::COUNTER,
                family.name.ends_with("_total"),
                "{}",
                family.name
            );
            assert!(!family.help.is_empty());
        }
    }
}
