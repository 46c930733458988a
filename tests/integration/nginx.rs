//! A real nginx in front of the exporter, which it serves under a path of its own.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use crate::support::*;

/// Ended when dropped.
struct Nginx(Child);

impl Nginx {
    /// `pass`: where nginx passes on what comes to `/wechat/`.
    fn start(scratch: &Scratch, address: SocketAddr, pass: &str) -> Self {
        let folder = scratch.path("");
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {}/{kind};", folder.display()))
            .join("\n");
        let text = format!(
            "daemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log {0}/nginx.log;\nevents {{}}\n\
             http {{\naccess_log off;\n{paths}\nserver {{ listen {address};\n\
             location /wechat/ {{ proxy_pass {pass}; }}\n}}\n}}\n",
            folder.display()
        );
        let file = scratch.write("nginx.conf", &text);
        let child = Command::new("nginx")
            .args(["-e", "/dev/null", "-c"])
            .arg(file)
            .stdout(Stdio::null())
            .spawn()
            .expect("this test needs nginx: install Debian's package `nginx-light`");
        Self(child)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn service_discovery_and_links_lead_through_a_proxy_with_a_path() {
    let (scratch, wechat) = (Scratch::new(), Wechat::healthy().await);
    for slash in ["/", ""] {
        // With a slash nginx takes its own path away, without one it passes that on.
        let proxy = free_address();
        let external = format!("--web.external-url=http://{proxy}/wechat/");
        let exporter = Exporter::for_one_app(&scratch, &wechat, &[&external]);
        let pass = format!("http://{}{slash}", exporter.address);
        let _nginx = Nginx::start(&scratch, proxy, &pass);
        let get = async |url: &str| client().get(url).send().await;
        let sd = format!("http://{proxy}/wechat/sd");
        until("nginx answers", async || get(&sd).await.is_ok()).await;

        let document = get(&sd).await.unwrap().text().await.unwrap();
        let groups: serde_json::Value = serde_json::from_str(&document).unwrap();
        let group = &groups[0];
        let of = |label: &str| group["labels"][label].as_str().unwrap().to_owned();
        let target = format!(
            "{}://{}{}?target={}",
            of("__scheme__"),
            group["targets"][0].as_str().unwrap(),
            of("__metrics_path__"),
            of("__param_target")
        );
        let page = Answer::of(client().get(&target)).await;
        assert_eq!(page.status, 200, "{target}");
        assert_eq!(Page(page.body).up(APPID), Some(1.0), "{target}");

        let base = format!("http://{proxy}/wechat/");
        let html = get(&base).await.unwrap().text().await.unwrap();
        let mut links = 0;
        for rest in html.split("href=\"").skip(1) {
            let link = rest.split('"').next().unwrap().replace("&amp;", "&");
            let link = reqwest::Url::parse(&base).unwrap().join(&link).unwrap();
            if link.host_str() == Some("127.0.0.1") {
                let status = get(link.as_str()).await.unwrap().status();
                assert_eq!(status.as_u16(), 200, "{link}");
                links += 1;
            }
        }
        assert!(links > 4, "{html}");
    }
}
