use super::*;

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = Setup::new().start().await;
    let mut silent = server.connect().await;
    let mut used = server
        .sending(b"GET /-/ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    read_until(&mut used, "ready\n").await;
    server.stop().await;
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut used).await, "");
}

#[tokio::test]
async fn request_that_does_not_end_is_cut() {
    let mut setup = Setup::new();
    setup.reloading = Reloading::waiting();
    setup.scrape.timeout = Duration::ZERO;
    let mut server = setup.start().await;
    let mut stream = server
        .sending(b"POST /-/reload HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    within(server.reloading.begun.notified()).await;
    server.begin_to_stop();
    within(&mut server.task).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}
