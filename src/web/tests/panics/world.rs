use std::fs;
use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use wiremock::matchers::{path, query_param};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::{SECRET, SECRET_VARIABLE, TOKEN};
use crate::config::{
    AppConfig, CommandLine, Credential, HttpTokenConfig, HttpTokenMethod, RedisTokenConfig,
    SecretSource, SecretUrl, TokenPointers,
};
use crate::redis_server;

const LIST_PATH: &str = "/cgi-bin/express/business/account/getall";

/// Everything that an app's token can come from, with canaries for secrets.
pub(super) struct World {
    wechat: MockServer,
    /// Refuses every call and repeats what it was sent.
    parrot: MockServer,
    tokens: MockServer,
    pub(super) redis: redis_server::Server,
    folder: tempfile::TempDir,
}

impl World {
    pub(super) async fn new() -> Self {
        let world = Self {
            wechat: MockServer::start().await,
            parrot: MockServer::start().await,
            tokens: MockServer::start().await,
            redis: redis_server::Server::start(&[]),
            folder: tempfile::tempdir().unwrap(),
        };
        let minted = json!({"access_token": TOKEN, "expires_in": 7200});
        for mint in ["/cgi-bin/stable_token", "/cgi-bin/token"] {
            answer(&world.wechat, path(mint), &minted).await;
        }
        let list =
            json!({"count": 1, "list": [{"biz_id": "shop", "delivery_id": "STO", "quota_num": 2}]});
        for (name, token) in [
            ("access_token", TOKEN),
            ("cloudbase_access_token", TOKEN),
            ("from_appid", "wx-other"),
        ] {
            answer(&world.wechat, query_param(name, token), &list).await;
        }
        let said = format!("invalid credential access_token={TOKEN} {TOKEN}");
        let refusal = json!({"errcode": 40001, "errmsg": said});
        answer(&world.parrot, path(LIST_PATH), &refusal).await;
        let refusal = json!({"errcode": 40125, "errmsg": format!("invalid appsecret {SECRET}")});
        answer(&world.parrot, path("/cgi-bin/stable_token"), &refusal).await;
        answer(&world.tokens, path("/token"), &minted).await;
        Mock::given(path("/canary"))
            .respond_with(ResponseTemplate::new(500).set_body_string(said))
            .mount(&world.tokens)
            .await;

        for (name, content) in [
            ("secret", SECRET),
            ("token", TOKEN),
            ("headers", &format!("Authorization: Bearer {SECRET}\n")),
        ] {
            fs::write(world.path(name), content).unwrap();
        }
        let login = format!(">{SECRET}");
        let user = ["ACL", "SETUSER", "canary-user", "on", &login, "~*", "+@all"];
        world.redis.run(&user).await;
        world.redis.run(&["SET", "wx:token", TOKEN]).await;
        world
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn credentials(&self) -> Vec<Credential> {
        let pointers = TokenPointers::default();
        let tokens = self.tokens.address();
        let http = |path: &str| HttpTokenConfig {
            url: SecretUrl::new(format!(
                "http://canary-user:{SECRET}@{tokens}{path}?key={SECRET}"
            )),
            method: HttpTokenMethod::Post,
            headers_file: Some(self.path("headers")),
            refresh_url: Some(SecretUrl::new(format!("http://{tokens}/canary"))),
            pointers: pointers.clone(),
        };
        let redis = |url: String, password_file| RedisTokenConfig {
            url: SecretUrl::new(url),
            password_file,
            key: "wx:token".to_owned(),
            field: None,
            expire_field: None,
            pointers: pointers.clone(),
        };
        let port = self.redis.port();
        let words = ["-c", &format!("echo {TOKEN}"), SECRET];
        vec![
            Credential::StableToken {
                secret: SecretSource::File(self.path("secret")),
            },
            Credential::Token {
                secret: SecretSource::Env(SECRET_VARIABLE.to_owned()),
            },
            Credential::File {
                path: self.path("token"),
                pointers: pointers.clone(),
            },
            Credential::Http(http("/token")),
            Credential::Command {
                argv: CommandLine::new("sh", words.map(str::to_owned)),
                pointers: pointers.clone(),
            },
            Credential::Redis(redis(
                format!("redis://canary-user:{SECRET}@127.0.0.1:{port}/0"),
                None,
            )),
            Credential::Redis(redis(
                format!("redis://canary-user@127.0.0.1:{port}/0"),
                Some(self.path("secret")),
            )),
            Credential::Cloudbase {
                path: self.path("token"),
            },
            Credential::None {
                from_appid: Some("wx-other".to_owned()),
            },
        ]
    }

    /// One app for each credential.
    pub(super) fn apps_that_work(&self) -> Vec<AppConfig> {
        let apps = self.credentials().into_iter().enumerate();
        apps.map(|(number, credential)| AppConfig {
            api_urls: vec![self.wechat.uri()],
            ..AppConfig::new(format!("wx-well-{number}"), credential)
        })
        .collect()
    }

    /// The same apps with a WeChat that refuses and repeats, and sources of tokens that give none.
    pub(super) fn apps_that_fail(&self) -> Vec<AppConfig> {
        let mut credentials = self.credentials();
        credentials.push(Credential::Http(HttpTokenConfig {
            url: SecretUrl::new(format!("{}/canary?key={SECRET}", self.tokens.uri())),
            method: HttpTokenMethod::Get,
            headers_file: Some(self.path("headers")),
            refresh_url: None,
            pointers: TokenPointers::default(),
        }));
        credentials.push(Credential::Redis(RedisTokenConfig {
            url: SecretUrl::new(format!(
                "redis://canary-user:{TOKEN}@127.0.0.1:{}",
                self.redis.port()
            )),
            password_file: None,
            key: "wx:token".to_owned(),
            field: None,
            expire_field: None,
            pointers: TokenPointers::default(),
        }));
        credentials.push(Credential::Command {
            argv: CommandLine::new("sh", ["-c".to_owned(), format!("echo {SECRET} {TOKEN}")]),
            pointers: TokenPointers::default(),
        });
        let apps = credentials.into_iter().enumerate();
        apps.map(|(number, credential)| AppConfig {
            api_urls: vec![self.parrot.uri()],
            ..AppConfig::new(format!("wx-fails-{number}"), credential)
        })
        .collect()
    }

    /// A web configuration with a user, in a file; `tls`: and with a certificate.
    pub(super) fn web_config(&self, tls: bool) -> PathBuf {
        let hash = bcrypt::hash(SECRET, 4).unwrap();
        let mut text = format!("basic_auth_users:\n  ann: {hash}\n");
        if tls {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            let certificate = params.self_signed(&key).unwrap();
            fs::write(self.path("server.pem"), certificate.pem()).unwrap();
            fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
            text += "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";
        }
        let file = self.path(if tls { "tls.yml" } else { "web.yml" });
        fs::write(&file, text).unwrap();
        file
    }
}

async fn answer(server: &MockServer, to: impl wiremock::Match + 'static, with: &serde_json::Value) {
    Mock::given(to)
        .respond_with(ResponseTemplate::new(200).set_body_json(with))
        .mount(server)
        .await;
}
