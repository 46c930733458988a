//! From what was typed to what it means: flags, their environment variables and the file become one [`Config`].

use std::path::Path;
use std::time::Duration;

use super::args::Args;
use super::tuning::{Tuning, api_url, check_appid, check_name, repeated};
use super::{
    AppConfig, Config, ConfigError, Credential, MaxRequests, ScrapeConfig, SecretSource,
    TokenPointers, WebConfig, WechatConfig, file,
};
use crate::proxy;
use crate::wechat::ListLimits;

/// The environment variable that may hold the one app's AppSecret.
const SECRET_VARIABLE: &str = "WECHAT_LOGISTICS_WECHAT_SECRET";
/// Routes of our own, which the metrics can't take.
const ROUTES: [&str; 2] = ["/probe", "/sd"];

const NO_APP: &str = "no Mini Program is configured; name one with --wechat.appid and --wechat.secret-file, \
    or several with --config.file, as the README shows under quick start, or look around without any: \
    wechat-logistics-exporter demo";

impl Config {
    /// Reads the flags' meaning, the environment (clap has read it already) and the file they name.
    ///
    /// # Errors
    /// The first thing that is wrong, with the flag or the file, line and key.
    pub fn load(args: &Args) -> Result<Self, ConfigError> {
        proxy::check(|name| std::env::var_os(name))
            .map_err(|malformed| ConfigError(malformed.to_string()))?;
        let flags = args.tuning()?;
        let rest = args.config_without_apps()?;
        let limits = rest.wechat.list_limits;
        let (apps, shared_state) = match &args.source.config_file {
            Some(path) => {
                args.name_no_app_beside(path)?;
                let file = file::load(path, &flags, limits)?;
                (file.apps, file.shared_state)
            }
            None => (vec![args.single_app(flags, limits)?], None),
        };
        Ok(Self {
            apps,
            shared_state,
            ..rest
        })
    }

    /// The flags' meaning for apps that are simulated: neither the file nor a credential is looked at.
    ///
    /// # Errors
    /// The first flag that is wrong.
    pub fn for_simulated(args: &Args, apps: Vec<AppConfig>) -> Result<Self, ConfigError> {
        let flags = args.tuning()?;
        let mut config = Self {
            apps: apps.into_iter().map(|app| flags.adjust(app)).collect(),
            ..args.config_without_apps()?
        };
        // The simulation listens on loopback, where no proxy can reach it.
        config.wechat.proxy_from_env = false;
        Ok(config)
    }
}

impl Args {
    /// What the flags say of every app.
    fn tuning(&self) -> Result<Tuning, ConfigError> {
        let flags = &self.wechat;
        let urls = flags.api_urls.iter().map(|url| api_url(url));
        let api_urls: Vec<_> = urls
            .collect::<Result<_, _>>()
            .map_err(|what| ConfigError(format!("{} {what}", self.named("wechat.api-url"))))?;
        if repeated(&api_urls).is_some() {
            return Err(ConfigError(format!(
                "{} names one URL twice; keep one",
                self.named("wechat.api-url")
            )));
        }
        if flags.live_quota.is_some_and(|interval| interval.is_zero()) {
            return Err(ConfigError(format!(
                "{} must be longer than 0; leave it out to ask for none",
                self.named("wechat.live-quota")
            )));
        }
        Ok(Tuning {
            api_urls: Some(api_urls).filter(|urls| !urls.is_empty()),
            min_interval: flags.min_interval,
            daily_limit: flags.daily_limit,
            remark_wrong_msg: flags.remark_wrong_msg,
            remark_content: flags.remark_content,
            live_quota: flags.live_quota,
            api_quota: flags.api_quota,
            refresh_couriers: flags.refresh_couriers,
        })
    }

    fn config_without_apps(&self) -> Result<Config, ConfigError> {
        longer_than_zero(&self.named("wechat.timeout"), self.wechat.timeout)?;
        longer_than_zero(&self.named("scrape.timeout"), self.scrape.timeout)?;
        longer_than_zero(&self.named("scrape.max-stale"), self.scrape.max_stale)?;
        at_least_one(
            &self.named("wechat.max-concurrency"),
            self.wechat.max_concurrency,
        )?;
        at_least_one(&self.named("wechat.max-accounts"), self.wechat.max_accounts)?;
        at_least_one(
            &self.named("wechat.max-label-length"),
            self.wechat.max_label_length,
        )?;
        check_telemetry_path(&self.web.telemetry_path)
            .map_err(|what| ConfigError(format!("{} {what}", self.named("web.telemetry-path"))))?;
        Ok(Config {
            apps: Vec::new(),
            scrape: ScrapeConfig {
                timeout: self.scrape.timeout,
                timeout_offset: self.scrape.timeout_offset,
                max_stale: self.scrape.max_stale,
            },
            wechat: WechatConfig {
                timeout: self.wechat.timeout,
                max_concurrency: self.wechat.max_concurrency.min(MAX_CONCURRENCY),
                list_limits: ListLimits {
                    accounts: self.wechat.max_accounts,
                    label_bytes: self.wechat.max_label_length,
                },
                proxy_from_env: true,
            },
            state_dir: self.scrape.state_dir.clone(),
            shared_state: None,
            web: WebConfig {
                listen_addresses: self.web.listen_addresses.clone(),
                systemd_socket: self.web.systemd_socket,
                telemetry_path: self.web.telemetry_path.clone(),
                config_file: self.web.config_file.clone(),
                enable_lifecycle: self.web.enable_lifecycle,
                max_requests: match self.web.max_requests {
                    None => MaxRequests::ByApps,
                    Some(0) => MaxRequests::Unlimited,
                    Some(requests) => MaxRequests::Fixed(requests),
                },
            },
        })
    }

    /// The flags for a single app that were given, as they go by.
    fn single_app_flags(&self) -> impl Iterator<Item = String> {
        let source = &self.source;
        let flags = [
            ("wechat.appid", source.appid.is_some()),
            ("wechat.app-name", source.name.is_some()),
            ("wechat.secret-file", source.secret_file.is_some()),
            (
                "wechat.secret-credential",
                source.secret_credential.is_some(),
            ),
            ("wechat.token-file", source.token_file.is_some()),
        ];
        flags
            .into_iter()
            .filter(|(_, given)| *given)
            .map(|(flag, _)| self.named(flag))
    }

    fn name_no_app_beside(&self, file: &Path) -> Result<(), ConfigError> {
        match self.single_app_flags().next() {
            None => Ok(()),
            Some(flag) => Err(ConfigError(format!(
                "{flag} can't be used together with {} ({}); write the app into the file or leave one of the two out",
                self.named("config.file"),
                file.display()
            ))),
        }
    }

    /// The flags that say which apps there are and where they are called, which simulated ones go without.
    pub fn flags_of_real_apps(&self) -> Vec<String> {
        let file = self.source.config_file.as_ref();
        let file = file.map(|_| self.named("config.file"));
        let url = self.wechat.api_urls.first();
        let url = url.map(|_| self.named("wechat.api-url"));
        file.into_iter()
            .chain(self.single_app_flags())
            .chain(url)
            .collect()
    }

    fn single_app(&self, flags: Tuning, limits: ListLimits) -> Result<AppConfig, ConfigError> {
        let credential = self.single_credential()?;
        let Some(appid) = &self.source.appid else {
            return Err(match credential {
                None => ConfigError(NO_APP.to_owned()),
                Some((name, _)) => ConfigError(format!(
                    "{name} is given without an app; add --wechat.appid"
                )),
            });
        };
        let flag = self.named("wechat.appid");
        check_appid(appid).map_err(|what| ConfigError(format!("{flag} {what}")))?;
        let Some((name, credential)) = credential else {
            return Err(ConfigError(format!(
                "{flag} needs a credential; add --wechat.secret-file, --wechat.token-file or the environment \
                 variable {SECRET_VARIABLE}"
            )));
        };
        if let Some(name) = &self.source.name {
            let flag = self.named("wechat.app-name");
            check_name(name, limits).map_err(|what| ConfigError(format!("{flag} {what}")))?;
        }
        if let Credential::StableToken { secret } = &credential {
            secret
                .read()
                .map_err(|error| ConfigError(format!("{name} can't be used: {error}")))?;
        }
        Ok(flags.app(appid, self.source.name.as_deref(), credential))
    }

    /// The one credential that flags and environment name, with the name it goes by.
    fn single_credential(&self) -> Result<Option<(String, Credential)>, ConfigError> {
        let source = &self.source;
        let stable = |secret| Credential::StableToken { secret };
        let variable = std::env::var_os(SECRET_VARIABLE).filter(|value| !value.is_empty());
        let file = source.secret_file.clone().map(SecretSource::File);
        let systemd = source.secret_credential.clone();
        let mut given = [
            (self.named("wechat.secret-file"), file.map(stable)),
            (
                self.named("wechat.secret-credential"),
                systemd.map(SecretSource::Credential).map(stable),
            ),
            (
                SECRET_VARIABLE.to_owned(),
                variable.map(|_| stable(SecretSource::Env(SECRET_VARIABLE.to_owned()))),
            ),
            (
                self.named("wechat.token-file"),
                source.token_file.clone().map(|path| Credential::File {
                    path,
                    pointers: TokenPointers::default(),
                }),
            ),
        ]
        .into_iter()
        .filter_map(|(name, credential)| Some((name, credential?)));
        match (given.next(), given.next()) {
            (first, None) => Ok(first),
            (None, Some(second)) => Ok(Some(second)),
            (Some((first, _)), Some((second, _))) => Err(ConfigError(format!(
                "both {first} and {second} are given; keep one"
            ))),
        }
    }
}

/// More than a semaphore can count is as good as no limit.
const MAX_CONCURRENCY: usize = 1 << 20;

fn longer_than_zero(flag: &str, duration: Duration) -> Result<(), ConfigError> {
    if duration.is_zero() {
        return Err(ConfigError(format!("{flag} must be longer than 0")));
    }
    Ok(())
}

fn at_least_one(flag: &str, number: usize) -> Result<(), ConfigError> {
    if number == 0 {
        return Err(ConfigError(format!("{flag} must be at least 1")));
    }
    Ok(())
}

/// What is wrong with it, as the second half of a sentence.
fn check_telemetry_path(path: &str) -> Result<(), &'static str> {
    let of_a_path = |byte: u8| byte.is_ascii_graphic() && !b"?#%\"<>\\^`{|}".contains(&byte);
    if !path.starts_with('/') || !path.bytes().all(of_a_path) {
        return Err("must begin with / and be a plain path, for example /metrics");
    }
    if ROUTES.contains(&path) || path.starts_with("/-/") {
        return Err("is a path of the exporter's own; choose another");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(flags: &[&str]) -> Result<Config, ConfigError> {
        let line = [&["wechat-logistics-exporter"], flags].concat();
        Config::load(&Args::read(line).unwrap())
    }

    fn sentence(flags: &[&str]) -> String {
        load(flags).unwrap_err().0
    }

    const APP: [&str; 2] = ["--wechat.appid=wx1", "--wechat.token-file=/run/token"];

    fn with_app(flags: &[&str]) -> Vec<String> {
        APP.iter().chain(flags).map(ToString::to_string).collect()
    }

    #[test]
    fn flags_alone_make_one_app() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("secret");
        std::fs::write(&secret, "canary\n").unwrap();
        let flag = format!("--wechat.secret-file={}", secret.display());
        let config = load(&[
            "--wechat.appid=wx1",
            &flag,
            "--wechat.app-name=shop",
            "--wechat.api-url=http://127.0.0.1:1/",
            "--wechat.min-interval=0s",
            "--wechat.daily-limit=0",
        ])
        .unwrap();
        let [app] = config.apps.as_slice() else {
            panic!("{:?}", config.apps);
        };
        assert_eq!(app.name, "shop");
        assert_eq!(app.api_urls, ["http://127.0.0.1:1"]);
        assert!(app.min_interval.is_zero());
        assert_eq!(app.daily_limit, None);
        assert_eq!(
            app.credential,
            Credential::StableToken {
                secret: SecretSource::File(secret)
            }
        );
        assert!(!format!("{config:?}").contains("canary"));
    }

    #[test]
    fn settings_without_a_flag_are_as_their_own_defaults_say() {
        let config = load(&APP).unwrap();
        let Config {
            scrape,
            wechat,
            state_dir,
            shared_state,
            web,
            ..
        } = Config::new(Vec::new());
        assert_eq!(config.scrape, scrape);
        assert_eq!(config.wechat, wechat);
        assert_eq!(config.state_dir, state_dir);
        assert_eq!(config.shared_state, shared_state);
        assert_eq!(config.web, web);
    }

    #[test]
    fn documented_defaults_are_in_force() {
        let config = load(&APP).unwrap();
        assert_eq!(config.scrape.timeout, Duration::from_secs(10));
        assert_eq!(config.scrape.timeout_offset, Duration::from_millis(500));
        assert_eq!(config.scrape.max_stale, Duration::from_secs(900));
        assert_eq!(config.web.telemetry_path, "/metrics");
        assert_eq!(config.web.max_requests.for_apps(40), Some(40));
        assert_eq!(
            config.web.listen_addresses,
            [super::super::ListenAddress::AnyAddress(10086)]
        );
        assert!(!config.web.enable_lifecycle);
        assert_eq!(config.apps[0].min_interval, Duration::from_secs(60));
        assert_eq!(config.apps[0].daily_limit, Some(2000));
        assert_eq!(config.apps[0].name, "wx1");
    }

    #[test]
    fn limit_of_requests_grows_with_the_apps_unless_it_is_given() {
        let limit = |flags: &[&str], apps| {
            let config = load(&[&APP, flags].concat()).unwrap();
            config.web.max_requests.for_apps(apps)
        };
        assert_eq!(limit(&[], 1), Some(40));
        assert_eq!(limit(&[], 1000), Some(1000));
        for (flag, given) in [
            ("--web.max-requests=40", Some(40)),
            ("--web.max-requests=1", Some(1)),
            ("--web.max-requests=0", None),
        ] {
            assert_eq!(limit(&[flag], 1000), given, "{flag}");
        }
    }

    #[test]
    fn no_configuration_at_all_points_to_the_demo() {
        let sentence = sentence(&[]);
        assert!(
            sentence.contains("wechat-logistics-exporter demo"),
            "{sentence}"
        );
        assert!(sentence.contains("README"), "{sentence}");
    }

    #[test]
    fn faults_of_the_flags_are_one_sentence_each() {
        for (flags, fault) in [
            (
                &["--config.file=x.yml", "--wechat.appid=wx1"][..],
                "--wechat.appid can't be used together with --config.file (x.yml); write the app into the file or \
                 leave one of the two out",
            ),
            (
                &["--wechat.appid=wx1"],
                "--wechat.appid needs a credential; add --wechat.secret-file, --wechat.token-file or the environment \
                 variable WECHAT_LOGISTICS_WECHAT_SECRET",
            ),
            (
                &["--wechat.token-file=/run/token"],
                "--wechat.token-file is given without an app; add --wechat.appid",
            ),
            (
                &[
                    "--wechat.appid=wx1",
                    "--wechat.token-file=/run/token",
                    "--wechat.secret-file=/run/secret",
                ],
                "both --wechat.secret-file and --wechat.token-file are given; keep one",
            ),
            (
                &["--wechat.appid=wx1", "--wechat.secret-file=/no/such"],
                "--wechat.secret-file can't be used: secret file /no/such can't be read: No such file or directory \
                 (os error 2)",
            ),
            (
                &["--wechat.appid=../x", "--wechat.token-file=/run/token"],
                "--wechat.appid must be 1 to 64 of A-Z, a-z, 0-9, _ and -; the console shows it under 开发管理 → \
                 开发设置 (AppID)",
            ),
        ] {
            assert_eq!(sentence(flags), fault);
        }
        for (flag, fault) in [
            (
                "--wechat.api-url=http://canary:canary@h",
                "--wechat.api-url must hold no user and no password",
            ),
            (
                "--wechat.api-url=http://h,http://h/",
                "--wechat.api-url names one URL twice; keep one",
            ),
            (
                "--wechat.max-label-length=2",
                "--wechat.app-name is longer than a label may be (2 bytes, --wechat.max-label-length); shorten it",
            ),
            (
                "--scrape.timeout=0",
                "--scrape.timeout must be longer than 0",
            ),
            (
                "--scrape.max-stale=0",
                "--scrape.max-stale must be longer than 0",
            ),
            (
                "--wechat.timeout=0s",
                "--wechat.timeout must be longer than 0",
            ),
            (
                "--wechat.max-concurrency=0",
                "--wechat.max-concurrency must be at least 1",
            ),
            (
                "--wechat.live-quota=0",
                "--wechat.live-quota must be longer than 0; leave it out to ask for none",
            ),
            (
                "--web.telemetry-path=metrics",
                "--web.telemetry-path must begin with / and be a plain path, for example /metrics",
            ),
            (
                "--web.telemetry-path=/probe",
                "--web.telemetry-path is a path of the exporter's own; choose another",
            ),
        ] {
            let flags = with_app(&[flag, "--wechat.app-name=shop"]);
            let flags: Vec<_> = flags.iter().map(String::as_str).collect();
            assert_eq!(sentence(&flags), fault);
        }
    }

    #[test]
    fn flag_is_stronger_than_the_files_default_and_reaches_every_app() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("apps.yml");
        let text = "apps:\n  - { appid: wx1, access_token: { none: } }\ndefaults: { min_interval: 3s, daily_limit: 5 }\n";
        std::fs::write(&path, text).unwrap();
        let flag = format!("--config.file={}", path.display());
        let config = load(&[&flag, "--wechat.min-interval=2s", "--wechat.remark-content"]).unwrap();
        assert_eq!(config.apps[0].min_interval, Duration::from_secs(2));
        assert_eq!(config.apps[0].daily_limit, Some(5));
        assert!(config.apps[0].remark_content);
    }

    #[test]
    fn flags_that_a_simulation_goes_without_are_known() {
        let line = [
            "wechat-logistics-exporter",
            "demo",
            "--config.file=apps.yml",
            "--wechat.appid=wx1",
            "--wechat.api-url=https://api.weixin.qq.com",
            "--wechat.min-interval=7s",
        ];
        let ignored = Args::read(line).unwrap().flags_of_real_apps();
        assert_eq!(
            ignored,
            ["--config.file", "--wechat.appid", "--wechat.api-url"]
        );
        assert!(
            Args::read(&line[..2])
                .unwrap()
                .flags_of_real_apps()
                .is_empty()
        );
    }

    #[test]
    fn simulated_apps_follow_the_flags_and_no_proxy() {
        let line = [
            "wechat-logistics-exporter",
            "demo",
            "--wechat.min-interval=7s",
        ];
        let args = Args::read(line).unwrap();
        let apps = load(&APP).unwrap().apps;
        let config = Config::for_simulated(&args, apps).unwrap();
        assert_eq!(config.apps[0].min_interval, Duration::from_secs(7));
        assert_eq!(config.apps[0].daily_limit, Some(2000));
        assert!(!config.wechat.proxy_from_env);
    }
}
