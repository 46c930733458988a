//! What the environment's variables do: proxies, root certificates, and those of the flags.

use crate::support::*;

fn check_through(variable: &str, proxy: &str, url: &str) -> std::process::Output {
    let scratch = Scratch::new();
    let flags = one_app(&scratch, url);
    let mut arguments = vec!["check"];
    arguments.extend(flags.iter().map(String::as_str));
    run_in(&[(variable, proxy)], &arguments)
}

#[test]
fn proxy_that_can_not_be_read_stops_the_start_before_anything_is_sent() {
    let nobody = unused_address();
    for proxy in ["htp://127.0.0.1:1", "http://canary user:canary@127.0.0.1:1"] {
        for variable in ["HTTPS_PROXY", "http_proxy", "ALL_PROXY"] {
            let output = check_through(variable, proxy, &format!("http://{nobody}"));
            let error = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{variable}={proxy}: {error}");
            assert!(error.contains(variable), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }
}

#[test]
fn way_that_fails_is_named_with_its_proxy() {
    let nobody = unused_address();
    let proxy = format!("http://canary:canary@{nobody}");
    for (variable, url) in [
        ("HTTP_PROXY", "http://api.invalid"),
        ("https_proxy", "https://api.invalid"),
        ("ALL_PROXY", "https://api.invalid"),
    ] {
        let output = check_through(variable, &proxy, url);
        let report = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{report}");
        let way = format!("failed on the way to api.invalid through the proxy of {variable}: ");
        assert!(report.contains(&way), "{report}");
        assert!(!report.contains("canary"), "{report}");
    }
}

#[test]
fn missing_root_certificates_are_named_with_their_cure_where_a_token_server_needs_them() {
    for (scheme, needs) in [("https", true), ("http", false)] {
        let scratch = Scratch::new();
        let nobody = unused_address();
        let text = format!(
            "apps:\n- appid: {APPID}\n  api_url: http://{nobody}\n  access_token: {{ http: {{ url: '{scheme}://{nobody}' }} }}\n"
        );
        let flag = format!(
            "--config.file={}",
            scratch.write("exporter.yml", &text).display()
        );
        let none = scratch.path("none");
        std::fs::create_dir(&none).unwrap();
        let roots = [
            ("SSL_CERT_FILE", "/dev/null"),
            ("SSL_CERT_DIR", none.to_str().unwrap()),
        ];
        let output = run_in(&roots, &["check", &flag]);
        let report = String::from_utf8(output.stdout).unwrap();
        let sentence = format!(
            "token server {scheme}://{nobody} can't be used: its certificate can't be checked: no root certificate was found"
        );
        assert_eq!(report.contains(&sentence), needs, "{report}");
        assert_eq!(report.contains("ca-certificates"), needs, "{report}");
        let place = format!("token server {scheme}://{nobody} can't be reached");
        assert_eq!(report.contains(&place), !needs, "{report}");
        // Whatever is to be mended, it is not at WeChat's.
        for elsewhere in ["mp.weixin.qq.com", "curl"] {
            assert!(!report.contains(elsewhere), "{report}");
        }
    }
}

/// Standard error of a command that the usage or the configuration stops.
fn refused(environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run_in(environment, arguments);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    error
}

#[test]
fn variable_at_fault_is_named_and_not_the_flag_that_nobody_typed() {
    let app = &["--wechat.appid=wx1", "--wechat.token-file=/run/token"][..];
    for (variable, value, flag, fault) in [
        ("WECHAT_MIN_INTERVAL", "bad", "wechat.min-interval", "'bad'"),
        ("LOG_LEVEL", "loud", "log.level", "'loud'"),
        ("WECHAT_DAILY_LIMIT", "-1", "wechat.daily-limit", "'-1'"),
        ("WECHAT_API_URL", "ftp://h", "wechat.api-url", "http://"),
        ("SCRAPE_TIMEOUT", "0", "scrape.timeout", "longer than 0"),
        (
            "WEB_TELEMETRY_PATH",
            "metrics",
            "web.telemetry-path",
            "begin with /",
        ),
    ] {
        let variable = format!("WECHAT_LOGISTICS_{variable}");
        let environment = [(variable.as_str(), value)];
        let error = refused(&environment, &[&["collect"], app].concat());
        assert!(error.contains(&variable), "{error}");
        assert!(!error.contains(&format!("--{flag}")), "{error}");
        assert!(error.contains(fault), "{error}");
        // The flag is stronger, and is at fault where both are bad.
        let typed = format!("--{flag}={value}");
        let error = refused(&environment, &[&["collect", &typed], app].concat());
        assert!(error.contains(&format!("--{flag}")), "{error}");
        assert!(!error.contains(&variable), "{error}");
    }
    let both = [
        ("WECHAT_LOGISTICS_CONFIG_FILE", "apps.yml"),
        ("WECHAT_LOGISTICS_WECHAT_APPID", "wx1"),
    ];
    let error = refused(&both, &["collect"]);
    assert!(!error.contains("--"), "{error}");
    for (variable, _) in both {
        assert!(error.contains(variable), "{error}");
    }
    let demo = refused(&[("WECHAT_LOGISTICS_DEMO_SEED", "x")], &["demo"]);
    assert!(demo.contains("'WECHAT_LOGISTICS_DEMO_SEED'"), "{demo}");
}

#[test]
fn variables_of_a_commands_own_flags_do_what_the_others_do() {
    let help = run_in(
        &[("WECHAT_LOGISTICS_DEMO_FAULT", "canary")],
        &["demo", "--help"],
    );
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(
        help.contains("[env: WECHAT_LOGISTICS_DEMO_FAULT]"),
        "{help}"
    );
    assert!(!help.contains("canary"), "{help}");
    // Empty: not set. It gets as far as what the flag does wrong.
    let empty = ["SEED", "APPS", "ACCOUNTS", "SPEED", "FAULT", "ADDRESS"]
        .map(|name| (format!("WECHAT_LOGISTICS_DEMO_{name}"), ""));
    let empty: Vec<_> = empty
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let error = refused(&empty, &["demo", "--web.telemetry-path=metrics"]);
    assert!(error.contains("--web.telemetry-path"), "{error}");
}

/// Where nobody listens.
fn unused_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}
