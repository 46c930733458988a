use std::fs;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use wiremock::matchers::{header, method, path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::config::{HttpTokenConfig, RedisTokenConfig, SecretUrl};
use crate::redis_server;
use crate::wechat::{ClientOptions, ListLimits};

fn client(api_url: &str) -> Client {
    let options = ClientOptions {
        api_urls: vec![api_url.parse().unwrap()],
        timeout: Duration::from_secs(60),
        list_limits: ListLimits::default(),
        proxy_from_env: false,
    };
    Client::new(&options).unwrap()
}

/// Returns a client of a URL where nobody listens.
fn nowhere() -> Client {
    client("http://127.0.0.1:9")
}

fn source(credential: Credential) -> TokenSource {
    TokenSource::new(&AppConfig::new("wx1", credential), Arc::default())
}

fn text(token: &SecretString) -> String {
    token.expose_secret().to_owned()
}

async fn token(source: &TokenSource) -> Result<AccessToken, Error> {
    let held = source.token(&nowhere(), &()).await?;
    Ok(held.token().unwrap().clone())
}

async fn read(credential: Credential) -> Result<String, Error> {
    let token = token(&source(credential)).await?;
    Ok(text(&token.secret))
}

/// Returns the reason, and the error with its causes, which must not show what the source gave.
async fn failure(credential: Credential) -> (Reason, String) {
    let error = read(credential).await.unwrap_err();
    assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    let Error { cause, text } = error;
    assert_eq!((cause.api, cause.errcode), (None, 0));
    (cause.reason, text)
}

/// Returns how long the token is still valid. Unit: minutes, rounded up, because time passes during the test.
fn left(token: &AccessToken) -> Option<u64> {
    let now = SystemTime::now();
    let left = |expires: SystemTime| expires.duration_since(now).unwrap_or_default();
    token
        .expires
        .map(|expires| left(expires).as_secs().div_ceil(60))
}

mod minted {
    use super::*;

    /// A mock WeChat that gives the answers of the test to token calls in order, and an app with an AppSecret.
    struct World {
        server: MockServer,
        client: Client,
        source: TokenSource,
        secret: PathBuf,
        _directory: tempfile::TempDir,
    }

    impl World {
        async fn new(answers: &[serde_json::Value]) -> Self {
            let server = MockServer::start().await;
            for answer in answers {
                Mock::given(path("/cgi-bin/stable_token"))
                    .respond_with(ResponseTemplate::new(200).set_body_json(answer))
                    .up_to_n_times(1)
                    .mount(&server)
                    .await;
            }
            let directory = tempfile::tempdir().unwrap();
            let secret = directory.path().join("secret");
            fs::write(&secret, "old").unwrap();
            Self {
                client: client(&server.uri()),
                server,
                source: source(Credential::StableToken {
                    secret: SecretSource::File(secret.clone()),
                }),
                secret,
                _directory: directory,
            }
        }

        async fn token(&self) -> Result<Authorization, Error> {
            self.source.token(&self.client, &()).await
        }

        async fn renew(&self, rejected: &Authorization) -> Option<Authorization> {
            let renewed = self.source.renew(rejected, &self.client, &()).await;
            renewed.unwrap()
        }

        /// Returns the secrets that were sent in the calls.
        async fn secrets(&self) -> Vec<serde_json::Value> {
            let requests = self.server.received_requests().await.unwrap();
            let body = |request: &wiremock::Request| request.body_json::<serde_json::Value>();
            requests
                .iter()
                .map(|request| body(request).unwrap()["secret"].clone())
                .collect()
        }
    }

    fn answer(token: &str, expires_in: u64) -> serde_json::Value {
        serde_json::json!({"access_token": token, "expires_in": expires_in})
    }

    fn text_of(held: &Authorization) -> String {
        text(&held.token().unwrap().secret)
    }

    #[tokio::test]
    async fn token_is_minted_once_and_once_more_after_a_rejection() {
        let world = World::new(&[answer("minted-1", 7200), answer("minted-2", 7200)]).await;
        let first = world.token().await.unwrap();
        assert_eq!(text_of(&first), "minted-1");
        assert_eq!(text_of(&world.token().await.unwrap()), "minted-1");
        assert!(world.source.expiry().is_some());
        // A rotated secret is used from the next mint on.
        fs::write(&world.secret, "new").unwrap();
        let renewed = world.renew(&first).await.unwrap();
        assert_eq!(text_of(&renewed), "minted-2");
        assert_eq!(world.secrets().await, ["old", "new"]);
    }

    #[tokio::test]
    async fn token_that_still_lives_bridges_a_failure_that_may_pass_and_no_other() {
        let busy = serde_json::json!({"errcode": -1, "errmsg": "system error"});
        let world = World::new(&[answer("minted-1", 200), busy]).await;
        world.token().await.unwrap();
        assert_eq!(text_of(&world.token().await.unwrap()), "minted-1");
        assert_eq!(world.secrets().await.len(), 2);

        fs::remove_file(&world.secret).unwrap();
        let error = world.token().await.unwrap_err();
        assert_eq!(error.cause.reason, Reason::Config);
        let shown = error.text;
        assert!(
            shown.starts_with("the AppSecret can't be read: "),
            "{shown}"
        );
        assert!(shown.contains(world.secret.to_str().unwrap()), "{shown}");
    }
}

mod file {
    use super::*;

    fn credential(path: &Path) -> Credential {
        Credential::File {
            path: path.to_owned(),
            token_pointer: None,
        }
    }

    #[tokio::test]
    async fn seconds_left_in_a_json_file_count_from_the_time_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, r#"{"access_token":"tok-1","expires_in":7200}"#).unwrap();
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let opened = fs::File::options().write(true).open(&path).unwrap();
        opened.set_modified(written).unwrap();
        let token = token(&source(credential(&path))).await.unwrap();
        assert_eq!(token.expires, Some(written + Duration::from_secs(7200)));
    }

    #[tokio::test]
    async fn file_without_a_token_is_named_with_the_fix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "canary canary").unwrap();
        let (reason, shown) = failure(credential(&path)).await;
        assert_eq!(reason, Reason::Token);
        assert!(shown.contains("/token gives no token: "), "{shown}");

        let fifo = directory.path().join("fifo");
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU).unwrap();
        for path in [&fifo, directory.path()] {
            let (reason, shown) = failure(credential(path)).await;
            assert_eq!(reason, Reason::Config);
            assert!(shown.ends_with("not a regular file"), "{shown}");
        }
    }

    #[tokio::test]
    async fn mounted_token_travels_as_cloudbase_access_token() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "tok-1").unwrap();
        let source = source(Credential::Cloudbase { path });
        let held = source.token(&nowhere(), &()).await.unwrap();
        assert!(matches!(held, Authorization::CloudbaseAccessToken(_)));
    }
}

mod http {
    use super::*;

    fn config(url: impl AsRef<str>) -> HttpTokenConfig {
        HttpTokenConfig {
            url: SecretUrl::new(url.as_ref().parse().unwrap()),
            headers_file: None,
            refresh_url: None,
            token_pointer: None,
        }
    }

    async fn answering(response: ResponseTemplate) -> MockServer {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .respond_with(response)
            .mount(&server)
            .await;
        server
    }

    #[tokio::test]
    async fn token_is_used_until_its_end_is_near_and_a_minute_where_that_is_unknown() {
        for (body, known, asked) in [
            (
                r#"{"access_token":"tok-1","expires_in":7130}"#,
                Some(119),
                1,
            ),
            (r#"{"access_token":"tok-1","expires_in":120}"#, Some(2), 2),
            ("tok-1", None, 1),
        ] {
            let server = answering(ResponseTemplate::new(200).set_body_string(body)).await;
            let source = source(Credential::Http(config(server.uri())));
            token(&source).await.unwrap();
            let token = token(&source).await.unwrap();
            assert_eq!(left(&token), known);
            assert_eq!(server.received_requests().await.unwrap().len(), asked);
        }
    }

    #[tokio::test]
    async fn headers_of_the_file_are_sent_with_the_query_of_the_settings() {
        let server = MockServer::start().await;
        Mock::given(method("GET"))
            .and(path("/wx"))
            .and(query_param("appid", "wx1"))
            .and(header("x-api-secret", "canary"))
            .and(header("authorization", "Bearer a:b"))
            .respond_with(ResponseTemplate::new(200).set_body_string("\"tok-1\""))
            .mount(&server)
            .await;
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("headers");
        let lines = "X-API-Secret: canary\r\n\nAuthorization:Bearer a:b\n";
        fs::write(&file, lines).unwrap();
        let credential = Credential::Http(HttpTokenConfig {
            headers_file: Some(file.clone()),
            ..config(format!("{}/wx?appid=wx1", server.uri()))
        });
        assert_eq!(read(credential.clone()).await.unwrap(), "tok-1");

        fs::write(&file, "X: 1\ncanary\n").unwrap();
        let (reason, shown) = failure(credential.clone()).await;
        assert_eq!(reason, Reason::Config);
        assert!(shown.contains("headers line 2 should be"), "{shown}");
        fs::remove_file(&file).unwrap();
        let (reason, shown) = failure(credential).await;
        assert_eq!(reason, Reason::Config);
        assert!(shown.contains("headers can't be read"), "{shown}");
    }

    #[tokio::test]
    async fn server_is_told_once_of_a_rejected_token() {
        let answer = r#"{"access_token":"tok-1","expires_in":7200}"#;
        let server = answering(ResponseTemplate::new(200).set_body_string(answer)).await;
        let source = source(Credential::Http(HttpTokenConfig {
            refresh_url: Some(config(format!("{}/refresh", server.uri())).url),
            ..config(format!("{}/token", server.uri()))
        }));
        let held = source.token(&nowhere(), &()).await.unwrap();
        for _ in 0..2 {
            let renewed = source.renew(&held, &nowhere(), &()).await.unwrap();
            assert!(renewed.is_none());
        }
        // The next fetch asks again, whatever lifetime the server gave.
        source.token(&nowhere(), &()).await.unwrap();
        let requests = server.received_requests().await.unwrap();
        let paths: Vec<_> = requests.iter().map(|request| request.url.path()).collect();
        assert_eq!(paths, ["/token", "/refresh", "/token", "/token", "/token"]);
    }

    #[tokio::test]
    async fn answer_that_is_not_a_token_is_told_apart() {
        let status = ResponseTemplate::new;
        let long = status(200).set_body_bytes(vec![b'c'; parse::TEXT_MAX + 1]);
        let redirect = status(302).insert_header("location", "/canary");
        for (response, reason, sentence) in [
            (long, Reason::Token, "too long"),
            (status(502), Reason::Token, "answers 502"),
            (status(403), Reason::Config, "credentials"),
            (redirect, Reason::Config, "redirect"),
        ] {
            let server = answering(response).await;
            let url = format!("{}/?key=canary", server.uri());
            let (is, shown) = failure(Credential::Http(config(url))).await;
            assert_eq!(is, reason, "{shown}");
            assert!(shown.contains(sentence), "{shown}");
        }
    }

    #[tokio::test]
    async fn server_that_is_silent_is_named_without_its_secrets() {
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = silent.local_addr().unwrap();
        let url = format!("http://canary:canary@{address}/canary?key=canary");
        let (reason, shown) = failure(Credential::Http(config(url))).await;
        assert_eq!(reason, Reason::Timeout);
        let expected = format!("token server http://{address} gave no token within 5 s");
        assert_eq!(shown, expected);
    }
}

mod command {
    use super::*;

    fn credential(argv: &[&str]) -> Credential {
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        Credential::Command(argv.try_into().unwrap())
    }

    fn shell(script: &str) -> Credential {
        credential(&["sh", "-c", script])
    }

    #[tokio::test]
    async fn standard_output_is_the_token_or_json() {
        assert_eq!(read(credential(&["echo", "tok-1"])).await.unwrap(), "tok-1");
        let json = r#"{"access_token":"tok-1","expires_in":7200}"#;
        let token = token(&source(credential(&["echo", json]))).await.unwrap();
        assert_eq!(left(&token), Some(120));
    }

    #[tokio::test]
    async fn command_that_gives_no_token_is_named_and_its_output_is_not() {
        for (command, reason, sentence) in [
            (
                shell("echo canary1; echo canary1 >&2; exit 3"),
                Reason::Token,
                "token command sh gives no token: it ended with exit status: 3; run it by hand to see what it says",
            ),
            (
                credential(&["/nonexistent/command"]),
                Reason::Config,
                "the exporter's user may run it",
            ),
            (credential(&["yes"]), Reason::Token, "too long"),
            // No shell sees the arguments.
            (
                credential(&["echo", "$HOME;id"]),
                Reason::Token,
                "characters that no token has",
            ),
        ] {
            let (is, shown) = failure(command).await;
            assert_eq!(is, reason, "{shown}");
            assert!(shown.contains(sentence), "{shown}");
        }
    }

    #[tokio::test]
    async fn command_that_is_no_longer_waited_for_is_killed_with_all_that_it_started() {
        let directory = tempfile::tempdir().unwrap();
        let pids = directory.path().join("pids");
        let script = format!(
            "sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; wait",
            pids.display()
        );
        let hanging = source(shell(&script));
        let running = tokio::spawn(async move { token(&hanging).await.map(|_| ()) });
        let mut started = None;
        for _ in 0..600 {
            started = fs::read_to_string(&pids).ok();
            if started.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.abort();
        let started = started.expect("the script should have started");
        assert_eq!(started.split_whitespace().count(), 2);
        for pid in started.split_whitespace() {
            assert!(ends(pid).await, "{pid} still runs");
        }
    }

    /// Reports whether a killed process ends: it is gone, or a zombie that nobody has waited for yet.
    async fn ends(pid: &str) -> bool {
        for _ in 0..600 {
            match fs::read_to_string(format!("/proc/{pid}/stat")) {
                Ok(stat) if !stat.contains(") Z ") => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                _ => return true,
            }
        }
        false
    }
}

mod redis {
    use super::*;

    fn config(url: impl AsRef<str>, key: &str) -> RedisTokenConfig {
        RedisTokenConfig {
            url: SecretUrl::new(url.as_ref().parse().unwrap()),
            password_file: None,
            key: key.to_owned(),
            field: None,
            expire_field: None,
            token_pointer: None,
        }
    }

    #[tokio::test]
    async fn value_is_read_each_time_and_ends_with_its_key() {
        let server = redis_server::Server::start(&[]);
        let source = source(Credential::Redis(config(server.url(), "key")));
        server.run(&["SET", "key", "tok-1", "EX", "7000"]).await;
        let first = token(&source).await.unwrap();
        assert_eq!(
            (text(&first.secret), left(&first)),
            ("tok-1".to_owned(), Some(117))
        );
        // It is not known when this lifetime was written, and the key doesn't expire.
        let json = r#"{"access_token":"tok-2","expires_in":7200}"#;
        server.run(&["SET", "key", json]).await;
        let next = token(&source).await.unwrap();
        assert_eq!(
            (text(&next.secret), left(&next)),
            ("tok-2".to_owned(), None)
        );
    }

    #[tokio::test]
    async fn secret_in_a_key_is_not_shown() {
        let server = redis_server::Server::start(&[]);
        let secret = "0123456789abcdef0123456789abcdef";
        let key = format!("official_account.access_token.wx1.{secret}.0");
        let (_, shown) = failure(Credential::Redis(config(server.url(), &key))).await;
        assert!(!shown.contains(secret), "{shown}");
        assert!(shown.starts_with("Redis key official_account.access_token.wx1."));
        let key = "gowechat_miniprogram__stable_access_token_wx0000000000000001";
        let (_, shown) = failure(Credential::Redis(config(server.url(), key))).await;
        assert!(shown.contains(key), "{shown}");
    }

    #[tokio::test]
    async fn missing_password_is_told_from_a_missing_database() {
        let server = redis_server::Server::start(&["--requirepass", "canary"]);
        for database in [0, 3] {
            let url = format!("redis://127.0.0.1:{}/{database}", server.port());
            let (reason, shown) = failure(Credential::Redis(config(url, "key"))).await;
            assert_eq!(reason, Reason::Config, "{shown}");
            assert!(shown.contains("refuses the login"), "{shown}");
        }
    }

    #[tokio::test]
    async fn hash_of_wxjava_gives_value_and_end() {
        let server = redis_server::Server::start(&[]);
        let key = "maConfig:m1:accessToken";
        let hash = Credential::Redis(RedisTokenConfig {
            field: Some("value".to_owned()),
            expire_field: Some("expire".to_owned()),
            ..config(server.url(), key)
        });
        let (reason, shown) = failure(hash.clone()).await;
        assert_eq!(reason, Reason::Token);
        let missing = format!(
            "Redis key {key} (field value) at redis://127.0.0.1:{}",
            server.port()
        );
        assert!(shown.starts_with(&missing), "{shown}");
        assert!(shown.contains("there is nothing there"), "{shown}");

        let end = SystemTime::now() + Duration::from_secs(3600);
        let millis = crate::clock::unix_millis(end).to_string();
        server
            .run(&["HSET", key, "value", "tok-1", "expire", &millis])
            .await;
        let token = token(&source(hash)).await.unwrap();
        assert_eq!(
            (text(&token.secret), left(&token)),
            ("tok-1".to_owned(), Some(60))
        );
    }

    #[tokio::test]
    async fn value_that_can_not_be_read_says_what_to_change() {
        let server = redis_server::Server::start(&[]);
        server.run(&["HSET", "hash", "value", "tok-1"]).await;
        server.run(&["SET", "plain", "tok-1"]).await;
        let as_hash = RedisTokenConfig {
            field: Some("value".to_owned()),
            ..config(server.url(), "plain")
        };
        server
            .run(&[
                "ACL", "SETUSER", "other", "on", ">canary", "~other", "+@read",
            ])
            .await;
        let at = |login, path| format!("redis://{login}127.0.0.1:{}{path}", server.port());
        for (config, sentence) in [
            (config(server.url(), "hash"), "set `field` if it is a hash"),
            (as_hash, "remove `field`"),
            (
                config(at("other:canary@", ""), "key"),
                "its user may not read this key",
            ),
            (
                config(at(":wrong-canary@", ""), "key"),
                "it refuses the login",
            ),
            (config(at("", "/99"), "key"), "no database of the number"),
        ] {
            let (reason, shown) = failure(Credential::Redis(config)).await;
            assert_eq!(reason, Reason::Config, "{shown}");
            assert!(shown.contains(sentence), "{shown}");
        }
    }

    #[tokio::test]
    async fn rotated_password_is_read_from_its_file() {
        let server = redis_server::Server::start(&["--requirepass", "canary"]);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let source = source(Credential::Redis(RedisTokenConfig {
            password_file: Some(file.clone()),
            ..config(server.url(), "key")
        }));
        for (password, sentence) in [
            (None, "its password_file must be a file"),
            (Some("wrong-canary"), "refuses the login"),
            (Some("canary"), "there is nothing there"),
        ] {
            if let Some(password) = password {
                fs::write(&file, password).unwrap();
            }
            let shown = token(&source).await.unwrap_err().text;
            assert!(shown.contains(sentence), "{shown}");
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
