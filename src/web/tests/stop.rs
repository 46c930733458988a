use super::*;

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_end() {
    let server = Setup::new().start().await;
    let mut silent = server.connect().await;
    let mut used = server.sending(READY).await;
    read_until(&mut used, "ready\n").await;
    server.stop().await;
    assert_eq!(rest(&mut silent).await, "");
    assert_eq!(rest(&mut used).await, "");
}

#[tokio::test]
async fn request_that_does_not_end_is_cut() {
    let mut setup = Setup::new();
    setup.scrape.timeout = Duration::ZERO;
    let server = setup.start().await;
    let mut stream = server.sending(RELOAD).await;
    let _under_way = server.reload().await;
    server.stop().await;
    assert_eq!(rest(&mut stream).await, "");
}
