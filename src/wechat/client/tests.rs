//! How the client calls: what it sends, where to, how often, and how it reads the answers.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;
use crate::wechat::{Cause, DailyLimitReached, Symptom};

const TOKEN: &str = "canary-token-0123456789";
const SECRET: &str = "canary-secret";

/// A meter that counts calls and records failures.
#[derive(Debug, Default)]
struct CountingMeter {
    sent: AtomicUsize,
    failures: Mutex<Vec<Reason>>,
}

impl CountingMeter {
    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    fn failures(&self) -> Vec<Reason> {
        self.failures.lock().unwrap().clone()
    }
}

impl Meter for CountingMeter {
    fn sending(&self, _: Api) -> Result<(), DailyLimitReached> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn failed(&self, _: Api, cause: Cause) {
        self.failures.lock().unwrap().push(cause.reason);
    }
}

fn options(api_urls: &[&str], timeout: Duration) -> ClientOptions {
    ClientOptions {
        api_urls: api_urls.iter().map(|url| url.parse().unwrap()).collect(),
        timeout,
        list_limits: ListLimits::default(),
        proxy_from_env: false,
    }
}

fn client_within(api_urls: &[&str], timeout: Duration) -> Client {
    Client::new(&options(api_urls, timeout)).unwrap()
}

/// Returns a client that trusts these certificates.
fn trusting(trusted: &[&rcgen::Certificate], api_url: &str) -> Client {
    let options = options(&[api_url], Duration::from_secs(30));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.der().clone()).unwrap();
    }
    Client::trusting(roots, &options)
}

fn client(api_urls: &[&str]) -> Client {
    client_within(api_urls, Duration::from_secs(30))
}

fn access_token() -> AccessToken {
    AccessToken {
        secret: TOKEN.into(),
        expires: None,
    }
}

fn authorization() -> Authorization {
    Authorization::AccessToken(access_token())
}

/// Starts a mock WeChat that always gives this answer.
async fn wechat(answer: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

fn ok(body: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn one_account() -> Value {
    json!({"count": 1, "list": [{"biz_id": "a", "delivery_id": "YTO", "quota_num": 7}]})
}

async fn list_with(client: &Client, meter: &CountingMeter) -> Result<AccountList, Error> {
    client.account_list(&authorization(), None, meter).await
}

/// Returns a URL where nobody listens.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

#[tokio::test]
async fn each_call_is_sent_as_wechat_documents_it() {
    // One reply that is valid for every call.
    let mut reply = one_account();
    reply["resp_data"] = one_account().to_string().into();
    reply["data"] = json!([{"delivery_id": "YTO", "delivery_name": "圆通速递"}]);
    reply["quota_num"] = json!(210);
    reply["quota"] = json!({"daily_limit": 10, "used": 1, "remain": 9});
    reply["access_token"] = json!(TOKEN);
    reply["expires_in"] = json!(7200);
    let server = wechat(ok(reply)).await;
    let client = client(&[&server.uri()]);
    let meter = CountingMeter::default();
    let token = authorization();

    let list = client.account_list(&token, None, &meter).await.unwrap();
    assert_eq!(list.accounts[0].quota_num, Some(7.0));
    let from_appid = |appid: Option<&str>| Authorization::None {
        from_appid: appid.map(str::to_owned),
    };
    for other in [
        Authorization::CloudbaseAccessToken(access_token()),
        from_appid(None),
        from_appid(Some("wx 1")),
    ] {
        client.account_list(&other, None, &meter).await.unwrap();
    }
    let function = CloudFunction {
        env: "prod&1".to_owned(),
        name: "f".to_owned(),
        pointer: None,
    };
    let list = client.account_list(&token, Some(&function), &meter);
    assert_eq!(list.await.unwrap().accounts.len(), 1);
    let couriers = client.delivery_getall(&token, &meter).await.unwrap();
    assert_eq!(&*couriers[0].delivery_name, "圆通速递");
    let quota = client.quota_get(&token, "STO", "四川\"公司", &meter);
    assert_eq!(quota.await.unwrap(), Some(210.0));
    let figures = client.api_quota_get(&token, Api::AccountGetall, &meter);
    assert_eq!(figures.await.unwrap().remain, Some(9.0));
    let before = SystemTime::now();
    let secret = SECRET.into();
    let minted = client.mint_token(Api::StableToken, "wx1", &secret, &meter);
    let minted = minted.await.unwrap();
    assert_eq!(minted.secret.expose_secret(), TOKEN);
    let lifetime = minted.expires.unwrap().duration_since(before).unwrap();
    assert!(lifetime >= Duration::from_secs(7200));
    let secret = "a&b".into();
    let minted = client.mint_token(Api::Token, "wx1", &secret, &meter);
    minted.await.unwrap();

    let requests = server.received_requests().await.unwrap();
    assert_eq!((meter.sent(), meter.failures()), (requests.len(), vec![]));
    let sent: Vec<String> = requests
        .iter()
        .map(|request| {
            // wiremock omits the port.
            let url = request.url.as_str().trim_start_matches("http://localhost");
            let body = String::from_utf8_lossy(&request.body);
            format!("{} {url} {body}", request.method)
        })
        .collect();
    #[rustfmt::skip]
    assert_eq!(sent, [
        "GET /cgi-bin/express/business/account/getall?access_token=canary-token-0123456789 ",
        "GET /cgi-bin/express/business/account/getall?cloudbase_access_token=canary-token-0123456789 ",
        "GET /cgi-bin/express/business/account/getall ",
        "GET /cgi-bin/express/business/account/getall?from_appid=wx+1 ",
        "POST /tcb/invokecloudfunction?access_token=canary-token-0123456789&env=prod%261&name=f {}",
        "GET /cgi-bin/express/business/delivery/getall?access_token=canary-token-0123456789 ",
        r#"POST /cgi-bin/express/business/quota/get?access_token=canary-token-0123456789 {"biz_id":"四川\"公司","delivery_id":"STO"}"#,
        r#"POST /cgi-bin/openapi/quota/get?access_token=canary-token-0123456789 {"cgi_path":"/cgi-bin/express/business/account/getall"}"#,
        r#"POST /cgi-bin/stable_token {"appid":"wx1","force_refresh":false,"grant_type":"client_credential","secret":"canary-secret"}"#,
        "GET /cgi-bin/token?grant_type=client_credential&appid=wx1&secret=a%26b ",
    ]);
    for request in requests {
        let headers = &request.headers;
        let agent = headers["user-agent"].to_str().unwrap();
        assert!(agent.starts_with("wechat-logistics-exporter/"), "{agent}");
        assert!(!headers.contains_key("accept-encoding"));
        assert!(!headers.contains_key("transfer-encoding"));
        if !request.body.is_empty() {
            assert_eq!(headers["content-length"], request.body.len().to_string());
            assert_eq!(headers["content-type"], "application/json");
        }
    }
}

/// Starts a mock WeChat with this certificate and returns its URL.
async fn wechat_over_tls(certified: &rcgen::CertifiedKey<rcgen::KeyPair>) -> String {
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der());
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.into())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = acceptor.accept(stream).await else {
            return;
        };
        let mut request = [0; 4096];
        let _ = stream.read(&mut request).await;
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"list\":[]}";
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
    });
    format!("https://localhost:{port}")
}

fn certificate(name: &str, years: [i32; 2], is_ca: bool) -> rcgen::CertifiedKey<rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(years[0], 1, 1);
    params.not_after = rcgen::date_time_ymd(years[1], 1, 1);
    if is_ca {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    }
    let signing_key = rcgen::KeyPair::generate().unwrap();
    let cert = params.self_signed(&signing_key).unwrap();
    rcgen::CertifiedKey { cert, signing_key }
}

#[tokio::test]
async fn certificate_decides_whether_wechat_is_called_and_what_is_wrong_with_it_is_told() {
    use Symptom::{CertificateDates, UntrustedCertificate};
    let good = [2020, 2090];
    #[rustfmt::skip]
    let table = [
        ("localhost", good, false, true, None),
        ("localhost", good, false, false, Some((UntrustedCertificate, "invalid peer certificate"))),
        ("localhost", good, true, true, Some((UntrustedCertificate, "invalid peer certificate"))),
        ("other.example", good, false, true, Some((UntrustedCertificate, "only valid for"))),
        ("localhost", [2020, 2021], false, true, Some((CertificateDates, "expired"))),
        ("localhost", [2089, 2090], false, true, Some((CertificateDates, "not valid yet"))),
    ];
    for (name, years, is_ca, is_trusted, expected) in table {
        let shown = certificate(name, years, is_ca);
        let other = certificate(name, years, is_ca);
        let root = if is_trusted { &shown } else { &other };
        let client = trusting(&[&root.cert], &wechat_over_tls(&shown).await);
        let result = list_with(&client, &CountingMeter::default()).await;
        let Some((symptom, words)) = expected else {
            result.unwrap();
            continue;
        };
        let error = result.unwrap_err();
        assert_eq!(error.cause.reason, Reason::Network);
        assert_eq!(error.cause.symptom, Some(symptom), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[tokio::test]
async fn next_host_is_asked_where_the_first_cant_answer_and_stays_in_use() {
    let broken = wechat(ResponseTemplate::new(503)).await;
    let good = wechat(ok(one_account())).await;
    for bad in [nobody().await, broken.uri()] {
        let client = client(&[&bad, &good.uri()]);
        let meter = CountingMeter::default();
        list_with(&client, &meter).await.unwrap();
        assert_eq!((meter.sent(), meter.failures().len()), (2, 1));
        let address = good.address().to_string();
        assert_eq!(client.current_host(), address);
        list_with(&client, &meter).await.unwrap();
        assert_eq!(
            (meter.sent(), meter.failures().len()),
            (3, 1),
            "it stays with the host that answered"
        );
    }
}

#[tokio::test]
async fn answer_that_is_late_has_had_all_the_time_and_sends_the_next_call_elsewhere() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let good = wechat(ok(one_account())).await;
    let client = client_within(&[&url, &good.uri()], Duration::from_millis(500));
    let meter = CountingMeter::default();
    let begun = std::time::Instant::now();
    list_with(&client, &meter).await.unwrap_err();
    assert!(begun.elapsed() >= Duration::from_millis(500));
    assert_eq!((meter.sent(), meter.failures()), (1, vec![Reason::Timeout]));
    list_with(&client, &meter).await.unwrap();
    assert_eq!(meter.sent(), 2);
    assert_eq!(client.current_host(), good.address().to_string());
}

#[tokio::test]
async fn failure_of_one_app_leaves_the_other_with_the_host_that_answers_it() {
    let server = wechat(ResponseTemplate::new(503)).await;
    let one = client(&[&server.uri(), &nobody().await]);
    let other = one.for_another_app();
    let meter = CountingMeter::default();
    for _ in 0..3 {
        list_with(&one, &meter).await.unwrap_err();
    }
    server.reset().await;
    let well = Mock::given(any()).respond_with(ok(one_account()));
    well.mount(&server).await;
    let meter = CountingMeter::default();
    list_with(&other, &meter).await.unwrap();
    assert_eq!(meter.sent(), 1);
}

#[tokio::test]
async fn what_wechat_answered_is_asked_of_no_other_host() {
    let other = wechat(ok(one_account())).await;
    for answer in [
        ok(json!({"errcode": -1})),
        ok(json!({"errcode": 40001})),
        ok(json!({})),
        ResponseTemplate::new(200).set_body_string("<html>"),
        ResponseTemplate::new(302).insert_header("location", other.uri().as_str()),
        ResponseTemplate::new(404),
        ResponseTemplate::new(429),
    ] {
        let first = wechat(answer).await;
        let client = client(&[&first.uri(), &other.uri()]);
        let meter = CountingMeter::default();
        list_with(&client, &meter).await.unwrap_err();
        assert_eq!((meter.sent(), meter.failures().len()), (1, 1));
        assert_eq!(client.current_host(), first.address().to_string());
    }
    assert_eq!(other.received_requests().await.unwrap().len(), 0);
}

#[tokio::test]
async fn what_something_else_answers_for_a_host_prolongs_no_outage_and_hides_no_failure() {
    let (first, other) = (MockServer::start().await, MockServer::start().await);
    let client = client(&[&first.uri(), &other.uri()]);
    let meter = CountingMeter::default();
    let answer = async |first_answers, other_answers| {
        for (server, answer) in [(&first, first_answers), (&other, other_answers)] {
            server.reset().await;
            Mock::given(any()).respond_with(answer).mount(server).await;
        }
    };
    let status = ResponseTemplate::new;
    answer(status(503), status(403)).await;
    // The second host is asked in the first call, after the first host, and alone in the third.
    for reason in [Reason::Transient, Reason::Transient, Reason::Config] {
        let error = list_with(&client, &meter).await.unwrap_err();
        assert_eq!(error.cause.reason, reason);
    }
    answer(ok(one_account()), status(403)).await;
    list_with(&client, &meter).await.unwrap();

    answer(status(503), status(503)).await;
    list_with(&client, &meter).await.unwrap_err();
    answer(status(403), ok(one_account())).await;
    list_with(&client, &meter).await.unwrap_err();
    list_with(&client, &meter).await.unwrap();
    assert_eq!(client.current_host(), other.address().to_string());
}

#[tokio::test]
async fn outage_costs_one_try_a_call_until_a_host_answers() {
    let (down, broken) = (nobody().await, wechat(ResponseTemplate::new(503)).await);
    let client = client(&[&down, &broken.uri()]);
    let meter = CountingMeter::default();
    for sent in [2, 3, 4, 5] {
        let error = list_with(&client, &meter).await.unwrap_err();
        assert_eq!(meter.sent(), sent);
        if sent == 2 {
            assert_eq!(meter.failures(), [Reason::Network, Reason::Transient]);
            assert_eq!(error.cause.reason, Reason::Network, "the preferred host's");
        }
    }
    broken.reset().await;
    let mended = Mock::given(any()).respond_with(ok(one_account()));
    mended.mount(&broken).await;
    list_with(&client, &meter).await.unwrap();
    assert_eq!(meter.sent(), 6);
    assert_eq!(client.current_host(), broken.address().to_string());
}
