use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::TcpListener;

use super::*;
use crate::config::MaxRequests;

#[tokio::test]
async fn client_that_does_not_go_on_is_cut_off() {
    let mut setup = Setup::new();
    setup.limits.client = Duration::from_millis(500);
    let server = setup.start().await;

    // A byte now and then keeps no connection.
    let mut stream = server.sending(b"GET /-/ready HTTP/1.1\r\nX-Slow: ").await;
    let cut = within(async {
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    cut.await;

    let mut used = server
        .sending(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(rest(&mut used).await.ends_with("ready\n"));
    assert_eq!(rest(&mut server.connect().await).await, "");

    // Asks on and on without reading, until nobody takes the requests either.
    let mut stream = server.connect().await;
    let requests = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1000);
    within(async { while stream.write_all(&requests).await.is_ok() {} }).await;
}

#[tokio::test]
async fn client_that_reads_steadily_is_not_cut_off_however_slowly() {
    let mut setup = Setup::new();
    setup.limits.client = Duration::from_secs(1);
    setup.apps = (0..400)
        .map(|number| app(&format!("wx{number}"), "shop"))
        .collect();
    let server = setup.start().await;
    let mut stream = server
        .sending(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let (mut page, mut chunk) = (Vec::new(), vec![0; 64 << 10]);
    while let read @ 1.. = within(stream.read(&mut chunk)).await.unwrap() {
        page.extend_from_slice(&chunk[..read]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let page = String::from_utf8(page).unwrap();
    let last = "wechat_logistics_up{appid=\"wx399\"} 0\n";
    assert!(page.contains(last), "{} bytes", page.len());
}

#[tokio::test]
async fn body_of_a_request_is_not_read() {
    let server = Setup::new().start().await;
    let mut stream = server
        .sending(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nsome")
        .await;
    let answer = rest(&mut stream).await;
    assert_eq!(status(&answer), 200);
}

/// Probes 60 apps at once while WeChat is silent; how many wait for it, and how many are turned away.
async fn probe_60_apps(max_requests: MaxRequests) -> (usize, usize) {
    const APPS: usize = 60;
    let wechat = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", wechat.local_addr().unwrap());
    let apps = (0..APPS).map(|number| AppConfig {
        api_urls: vec![url.clone()],
        ..app(&format!("wx{number}"), "shop")
    });
    let apps: Vec<_> = apps.collect();
    let mut setup = Setup::new();
    setup.web.max_requests = max_requests;
    setup.scrape.timeout = 2 * PATIENCE;
    setup.apps = apps[..1].to_vec();
    let server = setup.start().await;
    server.reload(apps);

    let probes = (0..APPS).map(|number| {
        let line = format!("GET /probe?target=wx{number}");
        let server = &server;
        async move { server.ask(&line).await }
    });
    let mut probes: FuturesUnordered<_> = probes.collect();
    let (mut waiting, mut turned_away) = (Vec::new(), 0);
    while waiting.len() + turned_away < APPS {
        tokio::select! {
            call = within(wechat.accept()) => waiting.push(call.unwrap()),
            Some(answer) = probes.next() => {
                assert_eq!(status(&answer), 503, "WeChat has answered nothing: {answer}");
                turned_away += 1;
            }
        }
    }
    let waited = waiting.len();
    // WeChat is gone, which the pages say.
    drop((waiting, wechat));
    while let Some(answer) = probes.next().await {
        assert_eq!(status(&answer), 200, "{answer}");
    }
    (waited, turned_away)
}

#[tokio::test]
async fn each_app_can_be_probed_at_once_while_wechat_is_slow() {
    assert_eq!(probe_60_apps(MaxRequests::ByApps).await, (60, 0));
    // What an operator gives holds.
    assert_eq!(probe_60_apps(MaxRequests::Fixed(40)).await, (40, 20));
    assert_eq!(probe_60_apps(MaxRequests::Unlimited).await, (60, 0));
}

#[tokio::test]
async fn connection_that_waits_for_its_client_makes_room_when_there_are_too_many() {
    let mut setup = Setup::new();
    setup.limits.connections = 3;
    let server = setup.start().await;
    let mut silent = server.connect().await;
    let mut half = server.sending(b"GET /-/ready HTTP/1.1\r\nHos").await;
    let mut used = server
        .sending(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    read_until(&mut used, "ready\n").await;

    assert_eq!(status(&server.ask("GET /-/ready").await), 200);
    assert_eq!(rest(&mut silent).await, "", "it waited longest");
    let mut next = server.connect().await;
    let mut last = server.connect().await;
    assert_eq!(rest(&mut half).await, "");
    last.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut last, "ready\n").await;
    // The one that was of use, and the newest, are still there.
    for stream in [&mut used, &mut next] {
        stream
            .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        read_until(stream, "healthy\n").await;
    }
}

#[tokio::test]
async fn request_under_way_keeps_its_place_however_many_knock() {
    let mut setup = Setup::new();
    setup.limits.connections = 2;
    setup.reloading = Reloading::waiting();
    let server = setup.start().await;
    let mut slow = server
        .sending(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    within(server.reloading.begun.notified()).await;
    for _ in 0..20 {
        let _silent = server.connect().await;
        assert_eq!(status(&server.ask("GET /-/ready").await), 200);
    }
    server.reloading.end.notify_one();
    assert_eq!(status(&rest(&mut slow).await), 200);
}

#[tokio::test]
async fn panic_in_a_handler_costs_one_connection() {
    let mut setup = Setup::new();
    setup.reloading = Arc::new(Reloading {
        panics: true,
        ..Reloading::default()
    });
    let server = setup.start().await;
    assert_eq!(server.ask("POST /-/reload").await, "");
    assert_eq!(status(&server.ask("GET /-/ready").await), 200);
}

#[tokio::test]
async fn client_that_ends_its_side_is_answered() {
    let mut setup = Setup::new();
    setup.reloading = Reloading::waiting();
    let server = setup.start().await;
    let mut stream = server
        .sending(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    stream.shutdown().await.unwrap();
    within(server.reloading.begun.notified()).await;
    // Long after the server has seen the end.
    tokio::time::sleep(Duration::from_millis(50)).await;
    server.reloading.end.notify_one();
    assert_eq!(status(&rest(&mut stream).await), 200);
}
