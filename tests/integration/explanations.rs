//! The table of replies from outside: what WeChat answers, and the reason, errcode and fix that the metrics, `check` and
//! the status page show for it. One exporter has an app for each row.

use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request};

use crate::support::*;

/// The call that gets the reply.
#[derive(Clone, Copy, PartialEq)]
enum At {
    Token,
    List,
}
use At::{List, Token};

struct Row {
    /// The app's `access_token:` and what follows it. `APPID`, `TOKEN` and WeChat's `URL` are replaced.
    access_token: &'static str,
    at: At,
    reply: ResponseTemplate,
    reason: &'static str,
    errcode: i64,
    /// Words of the fix in English and Chinese.
    fix: [&'static str; 2],
    /// Words of a more general fix, which would contradict this one.
    never: &'static str,
}

const OLD: &str = "{ token: { secret_file: secret } }";
const FILE: &str = "{ file: { path: token-APPID } }";
const NO_FILE: &str = "{ file: { path: nowhere-APPID } }";
const HTTP: &str = "{ http: { url: 'URL/token?APPID' } }";
const NO_SERVER: &str = "{ http: { url: 'http://127.0.0.1:9/APPID' } }";
const FAILING: &str = "{ command: [/bin/false, APPID] }";
const COMMAND: &str = "{ command: [/bin/echo, TOKEN] }";
const CLOUDBASE: &str = "{ cloudbase: { path: token-APPID } }";
const MISSING: &str = "{ cloudbase: { path: nowhere-APPID } }";
const NONE: &str = "{ none: { from_appid: APPID } }";
const CLOUD: &str =
    "{ stable_token: { secret_file: secret } }\n    cloud_function: { env: APPID, name: f }";

fn status(status: u16) -> ResponseTemplate {
    ResponseTemplate::new(status)
}

fn returns(result: &str) -> ResponseTemplate {
    ok(json!({"errcode": 0, "errmsg": "ok", "resp_data": result}))
}

#[rustfmt::skip]
fn table() -> Vec<Row> {
    let row = |access_token, at, reply, reason, errcode, fix, never| Row { access_token, at, reply, reason, errcode, fix, never };
    let encrypted = ok(json!({"iv": "a", "data": "b", "authtag": "c"}));
    let page = ResponseTemplate::new(200).set_body_raw("<html>login</html>", "text/html");
    let redirect = status(301).insert_header("location", "https://example.com/");
    vec![
        row(STABLE, Token, errcode(40001, "invalid credential"), "config", 40001, ["AppSecret is wrong", "AppSecret 错误"], "force_refresh"),
        row(STABLE, Token, errcode(45009, "reach max api daily quota limit"), "daily_quota", 45009, ["after midnight", "零点后恢复"], "/cgi-bin/token"),
        row(STABLE, Token, errcode(40125, "invalid appsecret"), "config", 40125, ["AppSecret", "AppSecret"], "force_refresh"),
        row(STABLE, Token, errcode(48001, "api unauthorized"), "permission", 48001, ["registration", "完成注册"], "物流助手"),
        row(STABLE, Token, errcode(61024, "component"), "config", 61024, ["authorizer_access_token", "authorizer_access_token"], "AppSecret"),
        row(STABLE, Token, errcode(89506, ""), "ip_whitelist", 89506, ["Agree with the administrator", "与管理员沟通"], "confirm the call"),
        row(OLD, Token, errcode(45009, "reach max api daily quota limit, could get access_token by getStableAccessToken"), "daily_quota", 45009, ["stable_token", "改为 stable_token"], "midnight"),
        row(STABLE, List, errcode(40001, "not latest"), "token", 40001, ["force_refresh", "force_refresh"], "/cgi-bin/token"),
        row(OLD, List, errcode(40001, "not latest"), "token", 40001, ["/cgi-bin/token", "互踢"], "force_refresh"),
        row(FILE, List, errcode(42001, "expired"), "token", 42001, ["token file", "令牌文件"], "asks for a new one by itself"),
        row(FILE, List, errcode(48001, "api unauthorized"), "permission", 48001, ["45 or 71", "45 或 71"], "from_appid"),
        row(NO_FILE, List, status(500), "token", 0, ["token file", "令牌文件"], "mp.weixin.qq.com"),
        row(HTTP, List, errcode(40001, "not latest"), "token", 40001, ["token server must renew", "中控服务器须更新"], "asks for a new one by itself"),
        row(NO_SERVER, List, status(500), "network", 0, ["can't be reached", "无法连接"], "mp.weixin.qq.com"),
        row(FAILING, List, status(500), "token", 0, ["Run the command by hand", "手动运行该命令"], "mp.weixin.qq.com"),
        row(COMMAND, List, errcode(40014, "invalid"), "token", 40014, ["token command", "令牌命令"], "asks for a new one by itself"),
        row(CLOUDBASE, List, errcode(40001, "invalid"), "token", 40001, ["微信令牌", "微信令牌"], "asks for a new one by itself"),
        row(MISSING, List, status(500), "token", 0, ["Switch 微信令牌 on", "开启微信令牌"], "program"),
        row(NONE, List, errcode(41001, "access_token missing"), "config", 41001, ["开放接口服务", "开放接口服务"], "busy"),
        row(NONE, List, errcode(40001, "not latest"), "token", 40001, ["开放接口服务", "开放接口服务"], "asks for a new one by itself"),
        row(NONE, List, errcode(48001, "api unauthorized"), "permission", 48001, ["from_appid", "from_appid"], "45 or 71"),
        row(NONE, List, status(502), "permission", 0, ["云调用权限", "云调用权限"], "物流助手"),
        row(NONE, List, errcode(85107, "URL不在白名单内"), "permission", 85107, ["云调用权限", "云调用权限"], "物流助手"),
        row(CLOUDBASE, List, errcode(85113, "cloudbase_token is not ready yet"), "transient", 85113, ["some minutes", "几分钟"], "busy"),
        row(STABLE, List, redirect, "config", 0, ["--wechat.api-url", "--wechat.api-url"], "AppSecret"),
        row(STABLE, List, status(403), "config", 0, ["--wechat.api-url", "--wechat.api-url"], "AppSecret"),
        row(STABLE, List, status(403).set_body_json(json!({"errcode": 48004})), "permission", 48004, ["通知中心", "通知中心"], "--wechat.api-url"),
        row(STABLE, List, status(404), "config", 0, ["--wechat.api-url", "--wechat.api-url"], "AppSecret"),
        row(STABLE, List, status(407), "config", 0, ["user:password", "user:password"], "--wechat.api-url"),
        row(STABLE, List, status(408), "timeout", 0, ["scrape timeout", "抓取超时"], "--wechat.api-url"),
        row(STABLE, List, status(412), "config", 0, ["Content-Length", "原样转发"], "AppSecret"),
        row(STABLE, List, status(429), "rate", 0, ["too often", "过于频繁"], "AppSecret"),
        row(STABLE, List, status(500), "transient", 0, ["tries again", "会重试"], "AppSecret"),
        row(STABLE, List, encrypted, "config", 0, ["API安全", "API安全"], "AppSecret"),
        row(STABLE, List, page, "decode", 0, ["--wechat.api-url", "--wechat.api-url"], "report it"),
        row(STABLE, List, ok(json!({})), "decode", 0, ["report it", "反馈"], "AppSecret"),
        row(STABLE, List, ok(json!({"count": 3, "list": null})), "decode", 0, ["report it", "反馈"], "AppSecret"),
        row(STABLE, List, errcode(40066, "invalid url"), "config", 40066, ["--wechat.api-url", "--wechat.api-url"], "AppSecret"),
        row(FILE, List, errcode(61004, "access clientip is not registered requestIP: 203.0.113.9"), "ip_whitelist", 61004, ["open.weixin.qq.com", "open.weixin.qq.com"], "mp.weixin.qq.com"),
        row(STABLE, List, errcode(45011, "must slower"), "rate", 45011, ["calls go on", "自动恢复"], "AppSecret"),
        row(STABLE, List, errcode(45009, "reach max api Minute quota limit"), "rate", 45009, ["within minutes", "短时间内"], "midnight"),
        row(STABLE, List, errcode(48001, "api unauthorized"), "permission", 48001, ["物流助手", "物流助手"], "45 or 71"),
        row(STABLE, List, errcode(123_456, "?"), "unknown", 123_456, ["error code", "错误码"], "AppSecret"),
        row(CLOUD, List, errcode(-601_034, "没有权限，请先开通云开发或者云托管"), "permission", -601_034, ["Open 云开发", "开通云开发"], "busy"),
        row(CLOUD, List, errcode(-501_000, "FunctionName parameter could not be found"), "config", -501_000, ["Upload the function", "上传并部署"], "error code"),
        row(CLOUD, List, errcode(-504_002, "functions execute fail | TypeError"), "config", -504_002, ["function's own log", "该函数的日志"], "time limit"),
        row(CLOUD, List, errcode(-504_002, "Invoking task timed out after 3 seconds"), "timeout", -504_002, ["5 seconds at most", "最长 5 秒"], "own log"),
        row(CLOUD, List, returns(r#"{"errCode":48001,"errMsg":""}"#), "permission", 48001, ["功能 → 物流助手", "功能 → 物流助手"], "config.json"),
        row(CLOUD, List, returns(r#"{"errCode":-604101,"errMsg":"fail"}"#), "permission", -604_101, ["config.json", "config.json"], "own log"),
        row(CLOUD, List, returns(r#"{"errCode":40001,"errMsg":"fail"}"#), "token", 40001, ["Upload the cloud function again", "重新上传并部署"], "asks for a new one"),
        row(CLOUD, List, returns("<html>"), "decode", 0, ["not an account list", "不是账号列表"], "--wechat.api-url"),
        row(CLOUD, List, returns("null"), "decode", 0, ["not an account list", "不是账号列表"], "report it"),
        row(CLOUD, List, ok(json!({"errcode": 0})), "decode", 0, ["report it", "反馈"], "not an account list"),
        row(CLOUD, List, returns(r#"{"statusCode":200,"body":"{\"list\":[]}"}"#), "decode", 0, ["cloud_function.pointer", "cloud_function.pointer"], "report it"),
    ]
}

/// Returns the appid and the token of a row.
fn app(number: usize) -> (String, String) {
    let appid = format!("wx{number:016x}");
    let token = format!("{TOKEN}-{appid}");
    (appid, token)
}

/// Starts a WeChat that gives each app the reply of its row.
async fn wechat(rows: &[Row]) -> MockServer {
    let replies = rows.iter().map(|row| (row.at, row.reply.clone()));
    let replies: Vec<_> = replies.collect();
    let answer = move |request: &Request| {
        let call = format!("{} {}", request.url, String::from_utf8_lossy(&request.body));
        let is_called = |number: &usize| call.contains(&app(*number).0);
        let number = (0..replies.len()).find(is_called);
        let number = number.expect("each call names its app");
        let (at, reply) = &replies[number];
        let gives_token = request.url.path().ends_with("token");
        match (gives_token, at) {
            (true, List) => ok(json!({"access_token": app(number).1, "expires_in": 7200})),
            _ => reply.clone(),
        }
    };
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(answer).mount(&server).await;
    server
}

#[tokio::test]
async fn metrics_check_and_status_page_explain_each_reply_in_its_place() {
    let rows = table();
    let server = wechat(&rows).await;
    let scratch = Scratch::new();
    let mut settings = "apps:\n".to_owned();
    for (number, row) in rows.iter().enumerate() {
        let (appid, token) = app(number);
        scratch.write(&format!("token-{appid}"), &token);
        let access_token = row.access_token.replace("APPID", &appid);
        let access_token = access_token.replace("TOKEN", &token);
        let access_token = access_token.replace("URL", &server.uri());
        settings += &format!("  - appid: {appid}\n    access_token: {access_token}\n");
    }
    let file = scratch.write("apps.yml", &settings);
    let api_url = format!("--wechat.api-url={}", server.uri());
    let check = run(&["check", "--config.file", file.to_str().unwrap(), &api_url]);
    assert_eq!(check.status.code(), Some(1));
    let check = text(&check.stdout);
    let exporter = Exporter::from_file(&file, &[&api_url]);
    let page = exporter.scrape().await;
    for (number, row) in rows.iter().enumerate() {
        let (appid, _) = app(number);
        let context = format!("{} {} {}", row.access_token, row.reason, row.errcode);
        let mut lines = page.0.lines().filter(|line| line.contains(&appid));
        let reason = format!("reason=\"{}\"", row.reason);
        let is_counted = |line: &str| {
            line.contains("api_failures_total") && line.contains(&reason) && !line.ends_with(" 0")
        };
        assert!(lines.any(is_counted), "{context}: {}", page.0);
        let errcode = page.value(&format!("api_errcode{{appid=\"{appid}\"}}"));
        assert_eq!(errcode, Some(row.errcode as f64), "{context}");

        let report = check.split(&format!("\n{appid}\n")).nth(1);
        let report = report.and_then(|rest| rest.split("\n\n").next());
        let report = report.expect("a report of each app");
        let explained = report.split("meaning").nth(1).expect("a meaning");
        assert!(explained.contains(row.fix[0]), "{context}: {report}");
        assert!(!explained.contains(row.never), "{context}: {report}");

        let status = exporter.get(&format!("/?appid={appid}&lang=zh")).await.body;
        assert!(status.contains(row.fix[1]), "{context}: {status}");
    }
    let address = "The address to add to the IP whitelist is 203.0.113.9";
    assert!(check.contains(address), "{check}");
    assert!(!check.contains("canary"), "{check}");
}
