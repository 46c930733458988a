//! A real nginx in front of the exporter, serving it under a path of its own.

use std::net::SocketAddr;
use std::process::Command;

use crate::support::*;

/// Starts an nginx. `pass`: where it forwards requests for `/wechat/`.
fn nginx(scratch: &Scratch, address: SocketAddr, pass: &str) -> Killed {
    let folder = scratch.path("").display().to_string();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};"))
        .concat();
    let text = format!(
        "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}\n\
         http {{ access_log off; {paths}\n\
         server {{ listen {address}; location /wechat/ {{ proxy_pass {pass}; }} }} }}\n"
    );
    let file = scratch.write("nginx.conf", &text);
    let mut nginx = Command::new("nginx");
    let child = nginx.args(["-e", "/dev/null", "-c"]).arg(file).spawn();
    Killed(child.expect("nginx is installed (Debian package nginx-light)"))
}

#[tokio::test]
async fn service_discovery_and_links_lead_through_a_proxy_with_a_path() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    let client = client();
    let get = async |url: &str| Answer::of(client.get(url)).await;
    for slash in ["/", ""] {
        // With a slash, nginx strips its own path; without one, it passes the path on.
        let proxy = free_address();
        let base = format!("http://{proxy}/wechat/");
        let external = format!("--web.external-url={base}");
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[&external]);
        let pass = format!("http://{}{slash}", exporter.address);
        let _nginx = nginx(&scratch, proxy, &pass);
        until("nginx answers", async || {
            client.get(&base).send().await.is_ok()
        })
        .await;

        let groups = get(&format!("{base}sd")).await.body;
        let groups: Value = serde_json::from_str(&groups).unwrap();
        let group = &groups[0];
        let of = |label: &str| group["labels"][label].as_str().unwrap();
        let (scheme, path) = (of("__scheme__"), of("__metrics_path__"));
        let host = group["targets"][0].as_str().unwrap();
        let target = format!("{scheme}://{host}{path}?target={}", of("__param_target"));
        let page = get(&target).await;
        assert_eq!(page.status, 200, "{target}");
        assert_eq!(Page(page.body).up(APPID), Some(1.0), "{target}");

        let html = get(&base).await.body;
        let mut links = 0;
        for rest in html.split("href=\"").skip(1) {
            let link = rest.split('"').next().unwrap().replace("&amp;", "&");
            let link = reqwest::Url::parse(&base).unwrap().join(&link).unwrap();
            if link.host_str() == Some("127.0.0.1") {
                assert_eq!(get(link.as_str()).await.status, 200, "{link}");
                links += 1;
            }
        }
        assert!(links > 4, "{html}");
    }
}
