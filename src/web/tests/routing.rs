use tokio::net::TcpListener;

use super::*;

#[tokio::test]
async fn unknown_path_is_not_found() {
    let server = Setup::new().start().await;
    for path in [
        "/x",
        "/metrics/",
        "/-/",
        "//",
        "/-/quit",
        "/METRICS",
        "/%2d/ready",
        "/metrics%00",
    ] {
        assert_eq!(
            status(&server.ask(&format!("GET {path}")).await),
            404,
            "{path}"
        );
    }
}

#[tokio::test]
async fn head_has_the_headers_and_no_body() {
    let server = Setup::new().start().await;
    for path in ["/metrics", "/", "/sd", "/-/ready", "/probe", "/x"] {
        let get = server.ask(&format!("GET {path}")).await;
        let head = server.ask(&format!("HEAD {path}")).await;
        assert_eq!(status(&head), status(&get), "{path}");
        assert_eq!(
            header(&head, "content-type"),
            header(&get, "content-type"),
            "{path}"
        );
        assert_eq!(body(&head), "", "{path}");
        // A page is written while it is sent: nobody knows its length.
        let has_length = path != "/metrics";
        for answer in [&get, &head] {
            assert_eq!(
                header(answer, "content-length").is_some(),
                has_length,
                "{path}"
            );
        }
    }
}

#[tokio::test]
async fn options_are_told_on_any_path() {
    let server = Setup::new().start().await;
    for (path, allowed) in [
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("*", "GET, HEAD, OPTIONS"),
        ("/nothing", "GET, HEAD, OPTIONS"),
        ("/-/reload", "POST, PUT, OPTIONS"),
    ] {
        let answer = server.ask(&format!("OPTIONS {path}")).await;
        assert_eq!(status(&answer), 204, "{path}");
        assert_eq!(header(&answer, "allow"), Some(allowed), "{path}");
    }
}

#[tokio::test]
async fn wrong_method_is_told_the_right_ones() {
    let server = Setup::new().start().await;
    for (method, path, allowed) in [
        ("POST", "/metrics", "GET, HEAD, OPTIONS"),
        ("DELETE", "/", "GET, HEAD, OPTIONS"),
        ("PUT", "/sd", "GET, HEAD, OPTIONS"),
        ("POST", "/-/ready", "GET, HEAD, OPTIONS"),
        ("BREW", "/-/healthy", "GET, HEAD, OPTIONS"),
        ("GET", "/-/reload", "POST, PUT, OPTIONS"),
        ("HEAD", "/-/reload", "POST, PUT, OPTIONS"),
        ("DELETE", "/-/reload", "POST, PUT, OPTIONS"),
    ] {
        let answer = server.ask(&format!("{method} {path}")).await;
        assert_eq!(status(&answer), 405, "{method} {path}");
        assert_eq!(header(&answer, "allow"), Some(allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn reload_tells_how_it_went() {
    let server = Setup::new().start().await;
    for method in ["POST", "PUT"] {
        let answer = server.ask(&format!("{method} /-/reload")).await;
        assert_eq!(status(&answer), 200, "{method}");
    }
    let mut setup = Setup::new();
    setup.reloading = Arc::new(Reloading {
        fails: true,
        ..Reloading::default()
    });
    let answer = setup.start().await.ask("POST /-/reload").await;
    assert_eq!(status(&answer), 500);
    assert!(body(&answer).contains("line 3 is wrong"), "{answer}");
}

#[tokio::test]
async fn reload_is_off_without_lifecycle() {
    let mut setup = Setup::new();
    setup.web.enable_lifecycle = false;
    let server = setup.start().await;
    let answer = server.ask("POST /-/reload").await;
    assert_eq!(status(&answer), 403);
    assert_eq!(body(&answer), "Lifecycle API is not enabled.\n");
    assert_eq!(status(&server.ask("GET /-/reload").await), 405);
}

#[tokio::test]
async fn metrics_are_where_the_operator_put_them() {
    let mut setup = Setup::new();
    setup.web.telemetry_path = "/".to_owned();
    let server = setup.start().await;
    let answer = server.ask("GET /?name[]=up").await;
    assert_eq!(header(&answer, "vary"), Some("Accept, Accept-Encoding"));
    assert_eq!(status(&server.ask("GET /metrics").await), 404);
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
        (
            "/probe?target=%0a%3Cb%3E",
            "target \"\\n<b>\" is not configured",
        ),
        ("/probe?target=a&target=a", "more than one target"),
    ] {
        let answer = server.ask(&format!("GET {path}")).await;
        assert_eq!(status(&answer), 400, "{path}");
        assert!(
            body(&answer).starts_with(words) || body(&answer).contains(words),
            "{answer}"
        );
        assert_eq!(
            header(&answer, "content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert_eq!(header(&answer, "x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn status_page_can_neither_run_nor_load_anything() {
    let server = Setup::new().start().await;
    let answer = server.ask("GET /").await;
    assert_eq!(
        header(&answer, "content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        header(&answer, "content-security-policy")
            .unwrap()
            .starts_with("default-src 'none';")
    );
    assert_eq!(header(&answer, "x-frame-options"), Some("deny"));
    assert_eq!(header(&answer, "vary"), Some("Accept-Language"));
}

#[tokio::test]
async fn every_address_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("exporter.sock");
    let mut setup = Setup::new();
    setup.web.listen_addresses = vec![
        ListenAddress::AnyAddress(0),
        ListenAddress::Socket(([127, 0, 0, 1], 0).into()),
        ListenAddress::Unix(socket.clone()),
    ];
    if TcpStream::connect("[::1]:1")
        .await
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    {
        setup
            .web
            .listen_addresses
            .push(ListenAddress::Socket("[::1]:0".parse().unwrap()));
    }
    let request = b"GET /-/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let server = setup.start().await;
    for address in &server.addresses {
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(status(&exchange(stream, request).await), 200, "{address}");
    }
    let stream = tokio::net::UnixStream::connect(&socket).await.unwrap();
    assert_eq!(status(&exchange(stream, request).await), 200);
    server.stop().await;
    assert!(!socket.exists());
}

#[tokio::test]
async fn each_app_is_a_target_of_its_own() {
    let mut setup = Setup::new();
    setup.apps = vec![app("wx1", "main shop"), app("wx2", "旗舰店")];
    let server = setup.start().await;
    let answer = server.ask("GET /sd").await;
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let groups: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
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

    // A client of HTTP/1.0 may not say where it thinks it is.
    let request = b"GET /sd HTTP/1.0\r\n\r\n";
    let answer = exchange(server.connect().await, request).await;
    let groups: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
    assert_eq!(groups[0]["targets"][0], server.address().to_string());
}

#[tokio::test]
async fn behind_a_proxy_targets_lead_to_it_and_its_path_may_be_passed_on() {
    let mut setup = Setup::new();
    setup.apps = vec![app("wx1", "main shop")];
    setup.web.external_url = Some("https://proxy.example/wechat/".parse().unwrap());
    let server = setup.start().await;
    for path in ["/sd", "/wechat/sd"] {
        let answer = server.ask(&format!("GET {path}")).await;
        let groups: serde_json::Value = serde_json::from_str(body(&answer)).unwrap();
        assert_eq!(groups[0]["targets"][0], "proxy.example");
        let labels = &groups[0]["labels"];
        assert_eq!(labels["__scheme__"], "https");
        assert_eq!(labels["__metrics_path__"], "/wechat/probe");
    }
    let answer = server.ask("GET /wechat").await;
    assert_eq!(status(&answer), 308);
    assert_eq!(
        header(&answer, "location"),
        Some("https://proxy.example/wechat/")
    );
    for path in ["/wechat/", "/wechat/metrics"] {
        assert_eq!(status(&server.ask(&format!("GET {path}")).await), 200);
    }
    assert_eq!(status(&server.ask("GET /wechats").await), 404);
}

#[tokio::test]
async fn metrics_of_the_exporter_alone_wait_for_no_fetch() {
    let wechat = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = Setup::new();
    setup.apps = vec![AppConfig {
        api_urls: vec![format!("http://{}", wechat.local_addr().unwrap())],
        ..app("wx1", "one")
    }];
    setup.scrape.timeout = 2 * PATIENCE;
    let server = setup.start().await;
    let mut waits = server.connect().await;
    waits
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let _silent = within(wechat.accept()).await.unwrap();
    let own = "GET /metrics?name[]=wechat_logistics_exporter_build_info";
    assert_eq!(status(&server.ask(own).await), 200);
}
