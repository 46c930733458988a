//! Environment variables: those of the proxies and those of the flags.

use crate::support::*;

#[test]
fn way_that_fails_is_named_with_its_proxy_and_one_that_can_not_be_read_stops_the_start() {
    let scratch = Scratch::new();
    let good = &format!("http://canary:canary@{}", free_address());
    for (variable, proxy, url) in [
        ("HTTP_PROXY", good, "http://api.invalid"),
        ("https_proxy", good, "https://api.invalid"),
        ("ALL_PROXY", good, "https://api.invalid"),
        (
            "ALL_PROXY",
            &"htp://canary".to_owned(),
            "http://api.invalid",
        ),
    ] {
        let [appid, secret, url] = one_app(&scratch, url);
        let output = run_in(&[(variable, proxy)], &["check", &appid, &secret, &url]);
        let said = all_output(&output);
        if proxy == good {
            assert_eq!(output.status.code(), Some(1), "{said}");
            let way = format!("on the way to api.invalid through the proxy of {variable}: ");
            assert!(said.contains(&way), "{said}");
        } else {
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains(variable), "{said}");
        }
        assert!(!said.contains("canary"), "{said}");
    }
}

/// Returns the standard error of a command that fails because of its usage or configuration.
fn refused(environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = run_in(environment, arguments);
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    error
}

#[test]
fn variable_at_fault_is_named() {
    let app = &["--wechat.appid=wx1", "--wechat.token-file=/run/token"][..];
    for (variable, value, flag, fault) in [
        ("WECHAT_MIN_INTERVAL", "bad", "wechat.min-interval", "'bad'"),
        ("LOG_LEVEL", "loud", "log.level", "'loud'"),
        ("WECHAT_API_URL", "ftp://h", "wechat.api-url", "http://"),
        ("SCRAPE_TIMEOUT", "0", "scrape.timeout", "longer than 0"),
    ] {
        let variable = format!("WECHAT_LOGISTICS_{variable}");
        let environment = [(variable.as_str(), value)];
        let error = refused(&environment, &[&["collect"], app].concat());
        assert!(error.contains(&variable), "{error}");
        assert!(error.contains(&format!("--{flag}")), "{error}");
        assert!(error.contains(fault), "{error}");
    }
    let both = [
        ("WECHAT_LOGISTICS_CONFIG_FILE", "apps.yml"),
        ("WECHAT_LOGISTICS_WECHAT_APPID", "wx1"),
    ];
    let error = refused(&both, &["collect"]);
    for flag in ["--config.file", "--wechat.appid"] {
        assert!(error.contains(flag), "{error}");
    }
}

#[test]
fn variables_of_a_commands_own_flags_do_what_the_others_do() {
    let seed = "WECHAT_LOGISTICS_DEMO_SEED";
    let help = text(&run_in(&[(seed, "canary")], &["demo", "--help"]).stdout);
    assert!(help.contains(&format!("[env: {seed}]")), "{help}");
    assert!(!help.contains("canary"), "{help}");
    let error = refused(&[(seed, "x")], &["demo"]);
    assert!(error.contains(seed), "{error}");
    // An empty variable counts as not set, so the command gets as far as the bad flag.
    let error = refused(&[(seed, "")], &["demo", "--web.telemetry-path=metrics"]);
    assert!(error.contains("--web.telemetry-path"), "{error}");
}
