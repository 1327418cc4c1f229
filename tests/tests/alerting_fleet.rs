//! Alerts of a node and of the fleet's rules through real processes: what fires without a link, over crashes of the
//! server, and when a node is gone.

use anyhow::{Context, ensure};
use skerry_tests::lab::{Binaries, Lab, Node, wait_for};
use skerry_tests::proxy::Proxy;
use skerry_tests::web::web;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const NODE: &str = "pi-7";

/// Receives webhooks, and keeps what they say: state and name of each alert, in the order in which they came.
struct Pager {
    address: SocketAddr,
    pages: Arc<Mutex<Vec<(String, String)>>>,
}

impl Pager {
    fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let pages = Arc::new(Mutex::new(Vec::new()));
        let kept = pages.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A request that breaks off with the server is none.
                let _ = receive(stream, &kept);
            }
        });
        Ok(Self { address, pages })
    }

    /// How often it was told that this alert is in this state.
    fn count(&self, state: &str, name: &str) -> usize {
        let pages = self.pages.lock().expect("no thread panicked");
        pages.iter().filter(|(s, n)| s == state && n == name).count()
    }

    fn wait(&self, state: &str, name: &str) -> anyhow::Result<()> {
        wait_for("a page", || {
            let pages = self.pages.lock().expect("no thread panicked").clone();
            ensure!(self.count(state, name) > 0, "no page {state} {name} among {pages:?}");
            Ok(())
        })
    }
}

fn receive(mut stream: TcpStream, pages: &Mutex<Vec<(String, String)>>) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut line, mut length) = (String::new(), 0);
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let notice: serde_json::Value = serde_json::from_slice(&body)?;
    let alerts = notice["alerts"].as_array().context("alerts")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let told = alerts.iter().map(|alert| (text(&alert["status"]), text(&alert["labels"]["alertname"])));
    pages.lock().expect("no thread panicked").extend(told);
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    Ok(())
}

/// A fleet with a pager, and a node behind a link that can be cut; the node has rules over two values that a test sets.
struct Rig {
    lab: Lab,
    node: Node,
    proxy: Proxy,
    pager: Pager,
    _runtime: tokio::runtime::Runtime,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let proxy = runtime.block_on(Proxy::start(SocketAddr::from(([127, 0, 0, 1], 1))));
        let pager = Pager::start()?;
        let folder = tempfile::tempdir()?;
        let mut lab = Lab::init(Binaries::build()?, folder.path())?;
        proxy.open(SocketAddr::from(([127, 0, 0, 1], lab.mqtt)));
        lab.edit_config(&format!("public: 127.0.0.1:{}", lab.mqtt), &format!("public: {}", proxy.address()))?;
        let server = folder.path().join("server");
        let routing = format!(
            "route: {{receiver: pager, group_by: ['...'], group_wait: 100ms, group_interval: 500ms, repeat_interval: 4h}}\n\
             receivers: [{{name: pager, webhook_configs: [{{url: 'http://{}/', send_resolved: true}}]}}]\n",
            pager.address
        );
        std::fs::write(server.join("alertmanager.yml"), routing)?;
        let rules = "groups:\n- name: fleet\n  interval: 1s\n  rules:\n  - alert: NodeIsGone\n    expr: \
                     skerry_fleet_node_silent_seconds > 1.5 * skerry_fleet_node_contact_interval_seconds\n  - record: \
                     fleet:nodes:count\n    expr: count(skerry_fleet_node_connected)\n";
        std::fs::write(server.join("fleet-rules.yml"), rules)?;
        let sections =
            "rules: {packs: [], files: [fleet-rules.yml]}\nalerting: {config_file: alertmanager.yml, settle: 1s}\n";
        let config = std::fs::read_to_string(server.join("fleet.yaml"))?;
        std::fs::write(server.join("fleet.yaml"), format!("{config}{sections}"))?;
        lab.start_server()?;
        let mut node = lab.agent(NODE, "")?;
        std::fs::create_dir(node.folder.join("values"))?;
        lab.join(&mut node, "edge")?;
        lab.cli(&[
            "assign",
            NODE,
            "--group",
            "edge",
            "--label",
            "site=lab",
            "--label",
            "contact_interval=20s",
            "--yes",
        ])?;
        let values = node.folder.join("values");
        let spec = format!(
            "  collect:\n    interval: 1s\n    textfile_directory: '{}'\n  store:\n    write_budget: 0B\n  sync:\n    \
             reconnect_min: 100ms\n    reconnect_max: 1s\n    ack_timeout: 3s\n  rules:\n    evaluation_interval: 1s\n    \
             packs: []\n    groups:\n    - name: site\n      rules:\n      - alert: Hot\n        expr: site_hot > 0\n        \
             annotations: {{summary: it is hot}}\n      - alert: Later\n        expr: site_later > 0\n",
            values.display()
        );
        lab.apply("group/edge", &spec)?;
        lab.wait_config(NODE, "group/edge", 1)?;
        let rig = Self { lab, node, proxy, pager, _runtime: runtime, _folder: folder };
        rig.set(0, 0)?;
        Ok(rig)
    }

    /// Sets the values that the node's rules look at.
    fn set(&self, hot: u8, later: u8) -> anyhow::Result<()> {
        let folder = self.node.folder.join("values");
        std::fs::write(folder.join("new"), format!("site_hot {hot}\nsite_later {later}\n"))?;
        Ok(std::fs::rename(folder.join("new"), folder.join("site.prom"))?)
    }

    /// Waits until the node itself says that this alert fires, or fires no more.
    fn wait_on_site(&self, name: &str, fires: bool) -> anyhow::Result<()> {
        wait_for("the node's own rules", || {
            let url = format!("http://127.0.0.1:{}/api/v1/alerts", self.node.http);
            let text = web().get(url).call()?.body_mut().read_to_string()?;
            let told: serde_json::Value = serde_json::from_str(&text)?;
            let alerts = told["data"]["alerts"].as_array().context("alerts")?;
            let found = alerts.iter().any(|a| a["labels"]["alertname"] == name && a["state"] == "firing");
            ensure!(found == fires, "{name}: {alerts:?}");
            Ok(())
        })
    }

    /// Episodes of an alert at the centre, newest first.
    fn history(&self, name: &str) -> anyhow::Result<Vec<serde_json::Value>> {
        let list = self.lab.api("/alert-history?limit=1000")?;
        let mut rows = list["alerts"].as_array().context("alerts")?.clone();
        rows.retain(|row| row["name"] == name);
        Ok(rows)
    }

    /// Waits until the newest episode of an alert meets a condition; all of its episodes.
    fn wait_history(
        &self,
        name: &str,
        condition: impl Fn(&serde_json::Value) -> bool,
    ) -> anyhow::Result<Vec<serde_json::Value>> {
        wait_for("the history", || {
            let rows = self.history(name)?;
            ensure!(rows.first().is_some_and(&condition), "{rows:?}");
            Ok(rows)
        })
    }

    fn close_link(&self) -> anyhow::Result<()> {
        self.proxy.close();
        wait_for("the centre to notice", || {
            ensure!(self.lab.node(NODE)?["reach"] == "gone", "still connected");
            Ok(())
        })
    }

    fn open_link(&self) {
        self.proxy.open(SocketAddr::from(([127, 0, 0, 1], self.lab.mqtt)));
    }
}

#[test]
fn what_fires_without_a_link_is_told_once_or_is_history() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    rig.wait_on_site("Hot", false)?;

    // It fires and ends while the link is cut: one entry in the history, and no page.
    rig.close_link()?;
    rig.set(1, 0)?;
    rig.wait_on_site("Hot", true)?;
    rig.set(0, 0)?;
    rig.wait_on_site("Hot", false)?;
    rig.open_link();
    let rows = rig.wait_history("Hot", |row| row["offline"] == true)?;
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert!(rows[0]["ends_ms"].is_i64() && rows[0]["node"] == NODE, "{rows:?}");

    // It still fires when the link comes back: one page.
    rig.close_link()?;
    rig.set(1, 0)?;
    rig.wait_on_site("Hot", true)?;
    rig.open_link();
    rig.pager.wait("firing", "Hot")?;
    let rows = rig.wait_history("Hot", |row| row["told"] == serde_json::json!(["pager"]))?;
    assert_eq!((rows.len(), &rows[0]["labels"]["site"]), (2, &serde_json::json!("lab")), "{rows:?}");

    // The server is killed and comes back: what pages next is the other alert, not this one again.
    rig.lab.kill_server();
    rig.lab.start_server()?;
    rig.set(1, 1)?;
    rig.pager.wait("firing", "Later")?;
    assert_eq!(rig.pager.count("firing", "Hot"), 1);
    let shown = rig.lab.cli(&["alerts"])?;
    assert!(shown.contains("Hot") && shown.contains("Later") && shown.contains("it is hot"), "{shown}");

    // It ends with the link up: one page that says so, and the episode is closed.
    rig.set(0, 1)?;
    rig.pager.wait("resolved", "Hot")?;
    let rows = rig.wait_history("Hot", |row| row["ends_ms"].is_i64())?;
    assert_eq!((rows.len(), rig.pager.count("firing", "Hot"), rig.pager.count("resolved", "Hot")), (2, 1, 1));

    // A silence holds the next one back; amtool's API is the one that the CLI speaks.
    let id = rig.lab.cli(&["silence", "add", "Hot", "--comment", "work on site"])?;
    assert!(rig.lab.cli(&["silence", "list"])?.contains(id.trim()));
    rig.set(1, 1)?;
    wait_for("the silenced alert", || {
        let shown = rig.lab.cli(&["alerts", "-l", "Hot"])?;
        ensure!(shown.contains("silenced"), "{shown}");
        Ok(())
    })?;
    assert_eq!(rig.pager.count("firing", "Hot"), 1);
    Ok(())
}

#[test]
fn a_node_is_gone_after_its_own_interval_and_no_earlier() -> anyhow::Result<()> {
    let mut rig = Rig::start()?;
    wait_for("series of the fleet", || {
        let found = rig.lab.cli(&["query", "fleet:nodes:count + on () skerry_fleet_node_contact_interval_seconds"])?;
        ensure!(found.contains("21"), "{found}");
        Ok(())
    })?;
    assert_eq!(rig.pager.count("firing", "NodeIsGone"), 0);
    // A restart of the server is no silence of its nodes.
    rig.lab.kill_server();
    rig.lab.start_server()?;
    rig.close_link()?;
    rig.pager.wait("firing", "NodeIsGone")?;
    let rows = rig.wait_history("NodeIsGone", |row| row["ends_ms"].is_null())?;
    assert_eq!((rows.len(), &rows[0]["labels"]["site"]), (1, &serde_json::json!("lab")), "{rows:?}");
    assert!(rows[0]["value"].as_str().and_then(|v| v.parse::<f64>().ok()) >= Some(30.0), "{rows:?}");
    let rules = rig.lab.text("/api/v1/rules")?;
    assert!(rules.contains("NodeIsGone") && rules.contains("\"state\":\"firing\""), "{rules}");
    rig.open_link();
    rig.pager.wait("resolved", "NodeIsGone")?;
    assert_eq!(rig.pager.count("firing", "NodeIsGone"), 1);
    Ok(())
}
