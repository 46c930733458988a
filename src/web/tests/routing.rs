use super::*;

#[tokio::test]
async fn paths_and_methods_are_answered_as_the_table_of_routes_says() {
    let server = Setup::new().start().await;
    let (read, reload) = ("GET, HEAD, OPTIONS", "POST, PUT, OPTIONS");
    for (line, code, allowed) in [
        ("GET /metrics/", 404, None),
        ("GET //", 404, None),
        ("GET /METRICS", 404, None),
        ("GET /%2d/ready", 404, None),
        ("OPTIONS /metrics", 204, Some(read)),
        ("OPTIONS *", 204, Some(read)),
        ("OPTIONS /nothing", 204, Some(read)),
        ("OPTIONS /-/reload", 204, Some(reload)),
        ("POST /metrics", 405, Some(read)),
        ("PUT /sd", 405, Some(read)),
        ("BREW /-/healthy", 405, Some(read)),
        ("HEAD /-/reload", 405, Some(reload)),
    ] {
        let answer = server.ask(line).await;
        assert_eq!(status(&answer), code, "{line}");
        assert_eq!(header(&answer, "allow"), allowed, "{line}");
    }
    for line in ["POST /-/reload", "PUT /-/reload"] {
        let reload = async { server.reload().await.send(Ok(())).unwrap() };
        let (answer, ()) = tokio::join!(server.ask(line), reload);
        assert_eq!(status(&answer), 200, "{line}");
    }
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let server = Setup::new().start().await;
    for path in ["/metrics", "/", "/sd", "/-/ready", "/probe", "/x"] {
        let get = server.ask(&format!("GET {path}")).await;
        let head = server.ask(&format!("HEAD {path}")).await;
        assert_eq!(status(&head), status(&get), "{path}");
        for name in ["content-type", "content-length"] {
            assert_eq!(header(&head, name), header(&get, name), "{path}");
        }
        assert_eq!(body(&head), "", "{path}");
    }
}

#[tokio::test]
async fn settings_move_the_metrics_switch_reload_off_and_lead_to_the_proxy() {
    let mut setup = Setup::new();
    setup.web.telemetry_path = "/".to_owned();
    setup.web.enable_lifecycle = false;
    let server = setup.start().await;
    let metrics = server.ask("GET /").await;
    assert_eq!(header(&metrics, "vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(status(&server.ask("GET /metrics").await), 404);
    assert_eq!(status(&server.ask("POST /-/reload").await), 403);

    let mut setup = Setup::new();
    setup.web.external_url = Some("https://proxy.example/wechat/".parse().unwrap());
    let answer = setup.start().await.ask("GET /wechat").await;
    assert_eq!(status(&answer), 308);
    assert_eq!(header(&answer, "location"), Some("/wechat/"));

    // The exporter's own paths win over the proxy's.
    for (url, path) in [("http://h/x", "/x/metrics"), ("http://h/sd", "/sd")] {
        let mut setup = Setup::new();
        setup.web.external_url = Some(url.parse().unwrap());
        setup.web.telemetry_path = "/x/metrics".to_owned();
        let answer = setup.start().await.ask(&format!("GET {path}")).await;
        assert_eq!(status(&answer), 200, "{url}");
    }
}

#[tokio::test]
async fn status_page_can_neither_run_nor_load_anything() {
    let answer = Setup::new().start().await.ask("GET /").await;
    let policy = header(&answer, "content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert_eq!(header(&answer, "x-frame-options"), Some("deny"));
    assert_eq!(header(&answer, "vary"), Some("Accept-Language"));
}

#[tokio::test]
async fn app_that_is_not_configured_is_a_mistake_of_the_asker() {
    let server = Setup::new().start().await;
    for (path, words) in [
        ("/metrics?appid=wx1", "appid \"wx1\" is not configured"),
        ("/metrics?appid=", "appid \"\" is not configured"),
        ("/probe", "the target is missing"),
        ("/probe?target=", "the target is empty"),
        ("/probe?target=wx1", "target \"wx1\" is not configured"),
        ("/probe?target=%0a%3Cb%3E", "target \"\\n<b>\" is not"),
        ("/probe?target=a&target=a", "more than one target"),
    ] {
        let answer = server.ask(&format!("GET {path}")).await;
        assert_eq!(status(&answer), 400, "{path}");
        assert!(body(&answer).contains(words), "{answer}");
        let content_type = header(&answer, "content-type");
        assert_eq!(content_type, Some("text/plain; charset=utf-8"));
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn each_app_is_a_target_of_its_own() {
    let mut setup = Setup::new();
    setup.apps = vec![app("wx1", "main shop"), app("wx2", "旗舰店")];
    let server = setup.start().await;
    let answer = server.ask("GET /sd").await;
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let groups: serde_json::Value = serde_json::from_str(json_line(&answer)).unwrap();
    assert_eq!(
        groups[1],
        serde_json::json!({
            "targets": ["exporter.example:1"],
            "labels": {
                "__metrics_path__": "/probe",
                "__param_target": "wx2",
                "__meta_wechat_logistics_appid": "wx2",
                "__meta_wechat_logistics_name": "旗舰店",
            },
        })
    );
    assert_eq!(groups.as_array().unwrap().len(), 2);

    // An HTTP/1.0 client may omit `Host`.
    let request = b"GET /sd HTTP/1.0\r\n\r\n";
    let answer = exchange(server.connect().await, request).await;
    let groups: serde_json::Value = serde_json::from_str(json_line(&answer)).unwrap();
    assert_eq!(groups[0]["targets"][0], server.address.to_string());
}
