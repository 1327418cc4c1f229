use super::run;
use crate::logs::inputs::rig::{Rig, WALL};
use crate::logs::inputs::stats::Count;
use skerry_model::{Level, LossReason, UnixMillis};
use std::sync::Arc;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket, UnixDatagram};

fn start(rig: &Rig, listen: &str) -> tokio::task::JoinHandle<Result<(), crate::logs::inputs::StoreEnded>> {
    start_as(rig, "in", listen)
}

fn start_as(
    rig: &Rig,
    name: &str,
    listen: &str,
) -> tokio::task::JoinHandle<Result<(), crate::logs::inputs::StoreEnded>> {
    let json = format!(r#"{{"syslog": [{{"name": "{name}", "listen": "{listen}", "labels": {{"site": "north"}}}}]}}"#);
    let input = Rig::checked(&json).syslog.remove(0);
    let source = rig.source(&input.common).marked();
    tokio::spawn(run(input, source, rig.stop.clone()))
}

/// Connects as soon as somebody listens.
async fn connect(port: u16) -> TcpStream {
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => return stream,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

#[tokio::test]
async fn a_datagram_is_a_record() {
    let mut rig = Rig::new();
    let port = Rig::port();
    let task = start(&rig, &format!("udp://127.0.0.1:{port}"));
    let sender = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    sender.connect(("127.0.0.1", port)).await.unwrap();
    // Until it listens, the kernel refuses.
    let first = b"<38>1 2026-11-20T22:14:15.003Z pi sshd 812 ID47 [a@1 b=\"c\"] Accepted\nfor root";
    while sender.send(first).await.is_err() || rig.count(Count::Records) == 0 {
        tokio::task::yield_now().await;
    }
    sender.send(b"<11>Nov 20 22:18:00 cron[7]: failed").await.unwrap();
    rig.until("the second", |rig| rig.lines().iter().any(|line| line == "failed")).await;
    let record = &rig.records[0];
    assert_eq!(record.line, b"Accepted\nfor root");
    assert_eq!((record.at, record.level), (UnixMillis(1_795_212_855_003), Level::Info));
    let labels = "{app=\"sshd\",facility=\"auth\",host=\"pi\",site=\"north\",source=\"in\"}";
    assert_eq!(record.labels.to_string(), labels);
    assert_eq!(record.fields.to_string(), "{a_b=\"c\",msgid=\"ID47\",pid=\"812\"}");
    let record = rig.records.last().unwrap();
    assert_eq!(
        (record.labels.value("host"), record.labels.value("app"), record.level),
        ("127.0.0.1", "cron", Level::Error)
    );
    assert_eq!(rig.positions["seen/in"], WALL.0.to_le_bytes());
    rig.stop.cancel();
    rig.rest(task).await;
}

#[tokio::test]
async fn what_came_before_the_end_is_stored() {
    let mut rig = Rig::new();
    let path = rig.folder.path().join("log");
    let task = start(&rig, &format!("unix://{}", path.display()));
    let sender = UnixDatagram::unbound().unwrap();
    let mut sent = 0;
    while sent < 50 {
        match sender.try_send_to(format!("<14>{sent}").as_bytes(), &path) {
            Ok(_) => sent += 1,
            Err(_) => tokio::task::yield_now().await,
        }
    }
    rig.stop.cancel();
    rig.rest(task).await;
    assert_eq!(rig.lines(), (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(!path.exists());
}

#[tokio::test]
async fn when_nobody_takes_them_the_oldest_datagrams_go_and_are_counted() {
    let mut rig = Rig::new();
    let path = rig.folder.path().join("log");
    let task = start(&rig, &format!("unix://{}", path.display()));
    let sender = UnixDatagram::unbound().unwrap();
    while !path.exists() {
        tokio::task::yield_now().await;
    }
    // 3 MB while the store takes nothing: the queue holds one of them, and a batch or two are on their way.
    let text = "x".repeat(30_000);
    let total = 100;
    let mut sent = 0;
    while sent < total {
        match sender.try_send_to(format!("<14>{sent} {text}").as_bytes(), &path) {
            Ok(_) => sent += 1,
            Err(_) => tokio::task::yield_now().await,
        }
    }
    rig.until("the newest", |rig| rig.lines().iter().any(|line| line.starts_with("99 "))).await;
    rig.stop.cancel();
    rig.rest(task).await;
    let lost: u64 = rig.losses.iter().filter_map(|loss| loss.count).sum();
    assert!(rig.losses.iter().all(|loss| loss.reason == LossReason::Overload && loss.source == "in"));
    assert!(lost > 0 && lost == rig.count(Count::Dropped));
    assert_eq!(rig.records.len() as u64 + lost, total);
}

#[tokio::test]
async fn streams_are_framed_either_way_and_wait_for_the_store() {
    let mut rig = Rig::new();
    let port = Rig::port();
    let task = start(&rig, &format!("tcp://127.0.0.1:{port}"));
    let (mut counted, mut ended) = (connect(port).await, connect(port).await);
    // 20,000 messages of 1 KB that the store takes only later: far more than all buffers hold.
    let writer = tokio::spawn(async move {
        for n in 0..20_000 {
            let text = format!("<14>c {n} {}", "y".repeat(1000));
            counted.write_all(format!("{} {text}", text.len()).as_bytes()).await.unwrap();
        }
    });
    ended.write_all(b"<14>one\n<14>two\n<14>three, which nothing ends").await.unwrap();
    drop(ended);
    rig.until("all", |rig| rig.records.len() == 20_003).await;
    writer.await.unwrap();
    let lines = rig.lines();
    let numbers = lines.iter().filter_map(|line| line.strip_prefix("c ")?.split(' ').next()?.parse::<u32>().ok());
    assert!(numbers.eq(0..20_000));
    for line in ["one", "two", "three, which nothing ends"] {
        assert!(lines.iter().any(|found| found == line), "{line}");
    }
    rig.stop.cancel();
    rig.rest(task).await;
    assert!(rig.losses.is_empty());
}

#[tokio::test]
async fn garbage_costs_its_own_connection() {
    let mut rig = Rig::new();
    let port = Rig::port();
    let task = start(&rig, &format!("tcp://127.0.0.1:{port}"));
    let (mut bad, mut good) = (connect(port).await, connect(port).await);
    bad.write_all(b"999999999 <14>x").await.unwrap();
    rig.until("the loss", |rig| rig.losses.iter().any(|loss| loss.reason == LossReason::Parse)).await;
    good.write_all(b"\xff\xfe\0<14>still here\n").await.unwrap();
    rig.until("the good one", |rig| rig.lines().iter().any(|line| line == "still here")).await;
    assert_eq!((rig.count(Count::Faults), rig.count(Count::Invalid)), (1, 1));
    rig.stop.cancel();
    rig.rest(task).await;
}

#[tokio::test]
async fn a_source_whose_budget_is_full_waits_and_another_goes_on() {
    use crate::data::LogGate;
    use skerry_promql::Matcher;
    let mut rig = Rig::new();
    let (list, gate) = tokio::sync::watch::channel(Arc::default());
    rig.gate = LogGate::new(gate);
    let (slow, free) = (Rig::port(), Rig::port());
    let tasks =
        (start(&rig, &format!("tcp://127.0.0.1:{slow}")), start_as(&rig, "free", &format!("tcp://127.0.0.1:{free}")));
    let (mut slow, mut free) = (connect(slow).await, connect(free).await);
    list.send_replace(Arc::new(vec![(vec![Matcher::equal("source", "in")], true)]));
    slow.write_all(b"<14>waits\n").await.unwrap();
    free.write_all(b"<14>goes on\n").await.unwrap();
    rig.until("the other source's", |rig| !rig.records.is_empty()).await;
    assert_eq!(rig.lines(), ["goes on"]);
    list.send_replace(Arc::default());
    rig.until("what waited", |rig| rig.records.len() == 2).await;
    // What is in hand at the end is handed on whatever the budget says.
    list.send_replace(Arc::new(vec![(vec![Matcher::equal("source", "in")], true)]));
    slow.write_all(b"<14>last\n").await.unwrap();
    rig.stop.cancel();
    rig.rest(async { drop(tokio::join!(tasks.0, tasks.1)) }).await;
    assert_eq!(rig.lines(), ["goes on", "waits", "last"]);
}
