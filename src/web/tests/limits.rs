use super::*;

#[tokio::test]
async fn client_that_does_not_go_on_is_cut_off() {
    let mut setup = Setup::new();
    setup.limits.client = Duration::from_millis(500);
    let server = setup.start().await;

    // Sending a byte now and then doesn't keep a connection open.
    let mut stream = server.sending(b"GET /-/ready HTTP/1.1\r\nX-Slow: ").await;
    let cut = within(async {
        while stream.write_all(b"a").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    cut.await;

    let mut used = server.sending(READY).await;
    assert!(rest(&mut used).await.ends_with("ready\n"));
    assert_eq!(rest(&mut server.connect().await).await, "");

    // Sends requests without reading the replies, until the server stops reading too.
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
    let head = b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nsome";
    let mut stream = server.sending(head).await;
    assert_eq!(status(&rest(&mut stream).await), 405);
}

#[tokio::test]
async fn connection_that_waits_for_its_client_makes_room_when_there_are_too_many() {
    let mut setup = Setup::new();
    setup.limits.connections = 3;
    let server = setup.start().await;
    let mut silent = server.connect().await;
    let mut half = server.sending(&READY[..30]).await;
    let mut used = server.sending(READY).await;
    read_until(&mut used, "ready\n").await;

    assert_eq!(status(&server.ask("GET /-/ready").await), 200);
    assert_eq!(rest(&mut silent).await, "", "it waited longest");
    let mut next = server.connect().await;
    let mut last = server.sending(READY).await;
    assert_eq!(rest(&mut half).await, "");
    read_until(&mut last, "ready\n").await;
    // The connection that was used and the newest one are still open.
    for stream in [&mut used, &mut next] {
        stream.write_all(READY).await.unwrap();
        read_until(stream, "ready\n").await;
    }
}

#[tokio::test]
async fn request_under_way_keeps_its_place_however_many_knock() {
    let mut setup = Setup::new();
    setup.limits.connections = 2;
    let server = setup.start().await;
    let mut slow = server.sending(RELOAD).await;
    let reload = server.reload().await;
    for _ in 0..20 {
        let _silent = server.connect().await;
        assert_eq!(status(&server.ask("GET /-/ready").await), 200);
    }
    reload.send(Ok(())).unwrap();
    assert_eq!(status(&rest(&mut slow).await), 200);
}

#[tokio::test]
async fn client_that_still_reads_keeps_its_place_however_many_knock() {
    let mut setup = Setup::new();
    setup.limits.connections = 2;
    // Longer than what the kernel buffers.
    setup.apps.push(app("wx0", &"店".repeat(1_000_000)));
    let server = setup.start().await;
    let request = b"GET /sd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut slow = server.sending(request).await;
    read_until(&mut slow, "wx0").await;
    for _ in 0..5 {
        let _silent = server.connect().await;
        assert_eq!(status(&server.ask("GET /-/ready").await), 200);
    }
    assert!(rest(&mut slow).await.contains("\"targets\""));
}

#[tokio::test]
async fn panic_in_a_handler_costs_one_connection() {
    let server = Setup::new().start().await;
    // The handler panics if nobody handles reloads, which can't happen while the exporter serves.
    server.reloads.lock().await.close();
    assert_eq!(server.ask("POST /-/reload").await, "");
    assert_eq!(status(&server.ask("GET /-/ready").await), 200);
}

#[tokio::test]
async fn client_that_ends_its_side_is_answered() {
    let server = Setup::new().start().await;
    let mut stream = server.sending(RELOAD).await;
    stream.shutdown().await.unwrap();
    let reload = server.reload().await;
    // Long enough for the server to see that the client has closed its side.
    tokio::time::sleep(Duration::from_millis(50)).await;
    reload.send(Ok(())).unwrap();
    assert_eq!(status(&rest(&mut stream).await), 200);
}
