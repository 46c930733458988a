use super::*;

fn waiting_reload() -> Setup {
    let mut setup = Setup::new();
    setup.reloading = Arc::new(Reloading {
        waits: true,
        ..Reloading::default()
    });
    setup
}

#[tokio::test]
async fn request_under_way_is_answered_and_nobody_else_is_let_in() {
    let mut server = waiting_reload().start().await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    within(server.reloading.begun.notified()).await;

    server.begin_to_stop();
    // Closed is closed: the listening socket goes first.
    within(async { while TcpStream::connect(server.address()).await.is_ok() {} }).await;
    server.reloading.end.notify_one();
    let answer = rest(&mut stream).await;
    assert_eq!(status(&answer), 200);
    assert_eq!(header(&answer, "connection"), Some("close"));
    within(&mut server.task).await.unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = Setup::new().start().await;
    let mut silent = server.connect().await;
    let mut used = server.connect().await;
    used.write_all(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    read_until(&mut used, "ready\n").await;
    server.stop().await;
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut used).await, "");
}

#[tokio::test]
async fn request_that_does_not_end_is_cut() {
    let mut setup = waiting_reload();
    setup.scrape.timeout = Duration::ZERO;
    let mut server = setup.start().await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    within(server.reloading.begun.notified()).await;
    server.begin_to_stop();
    within(&mut server.task).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}
