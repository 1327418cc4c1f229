use super::{key, run};
use crate::logs::inputs::rig::Rig;
use crate::logs::inputs::stats::Count;
use skerry_logs::wire::msgpack::{Reader, Scanner, Value, put_array, put_map, put_text};
use skerry_model::{LossReason, OutputStream};
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

type Task = tokio::task::JoinHandle<Result<(), crate::logs::inputs::StoreEnded>>;

fn start(rig: &Rig, more: &str) -> (PathBuf, Task) {
    let path = rig.folder.path().join("forward");
    let json = format!(r#"{{"forward": [{{"name": "in", "listen": "unix://{}"{more}}}]}}"#, path.display());
    let input = Rig::checked(&json).forward.remove(0);
    let source = rig.source(&input.common);
    let state = rig.positions.get(&key("in")).cloned();
    (path, tokio::spawn(run(input, source, state, rig.stop.clone())))
}

async fn connect(path: &PathBuf) -> UnixStream {
    loop {
        match UnixStream::connect(path).await {
            Ok(stream) => return stream,
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

/// A frame of the shape PackedForward with these numbers as events.
fn frame(numbers: std::ops::Range<u32>, chunk: Option<&str>) -> Vec<u8> {
    let mut entries = Vec::new();
    for n in numbers {
        put_array(&mut entries, 2);
        entries.push(1);
        put_map(&mut entries, 1);
        put_text(&mut entries, b"log");
        put_text(&mut entries, n.to_string().as_bytes());
    }
    let mut out = Vec::new();
    put_array(&mut out, if chunk.is_some() { 3 } else { 2 });
    put_text(&mut out, b"app");
    out.push(0xc6);
    out.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
    out.extend(entries);
    if let Some(chunk) = chunk {
        put_map(&mut out, 1);
        put_text(&mut out, b"chunk");
        put_text(&mut out, chunk.as_bytes());
    }
    out
}

/// The next value that the input sends.
async fn answer(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let (mut buffer, mut byte) = (Vec::new(), [0]);
    loop {
        if stream.read(&mut byte).await.unwrap_or(0) == 0 {
            return None;
        }
        buffer.push(byte[0]);
        if Scanner::default().scan(&buffer, 1 << 20).unwrap() == Some(buffer.len()) {
            return Some(buffer);
        }
    }
}

async fn ack(stream: &mut UnixStream) -> Option<String> {
    let bytes = answer(stream).await?;
    let mut reader = Reader::new(&bytes);
    assert_eq!((reader.map(), reader.bytes()), (Ok(1), Ok(&b"ack"[..])));
    Some(String::from_utf8(reader.bytes().unwrap().to_vec()).unwrap())
}

fn numbers(rig: &Rig) -> Vec<u32> {
    rig.lines().iter().map(|line| line.parse().unwrap()).collect()
}

#[tokio::test]
async fn an_acknowledgement_comes_after_the_commit_and_a_chunk_counts_once() {
    let mut rig = Rig::new();
    rig.commits = false;
    let (path, task) = start(&rig, "");
    let mut stream = connect(&path).await;
    stream.write_all(&frame(0..3000, Some("one"))).await.unwrap();
    rig.until("the events", |rig| rig.records.len() == 3000).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), stream.read_u8()).await.is_err(), "not yet on the disk");
    // The sender gave up waiting: it sends again, on another connection, and this time all is committed.
    rig.commits = true;
    let mut again = connect(&path).await;
    again.write_all(&frame(0..3000, Some("one"))).await.unwrap();
    let taken = rig.until("the barrier", |rig| rig.count(Count::Acks) > 0);
    let (told, ()) = tokio::join!(ack(&mut again), taken);
    assert_eq!(told.as_deref(), Some("one"));
    assert_eq!(numbers(&rig), (0..3000).collect::<Vec<_>>());
    assert_eq!(rig.count(Count::Duplicates), 1);
    rig.stop.cancel();
    rig.rest(task).await;
    assert!(!rig.positions.contains_key("seen/in"), "all of it can be sent again");
}

#[tokio::test]
async fn after_a_crash_a_chunk_goes_on_where_it_ended() {
    let mut rig = Rig::new();
    rig.commits = false;
    let (path, task) = start(&rig, "");
    let mut stream = connect(&path).await;
    stream.write_all(&frame(0..2500, Some("long"))).await.unwrap();
    rig.until("a part", |rig| rig.records.len() >= 1000).await;
    // The crash: what the store took so far is on the disk, the rest of the chunk is not.
    let taken = rig.records.len();
    assert!(taken < 2500);
    task.abort();
    let mut next = Rig::new();
    (next.records, next.positions) = (rig.records.clone(), rig.positions.clone());
    let (path, task) = start(&next, "");
    let mut stream = connect(&path).await;
    stream.write_all(&frame(0..2500, Some("long"))).await.unwrap();
    next.until("the rest", |rig| rig.records.len() >= 2500).await;
    assert_eq!(ack(&mut stream).await.as_deref(), Some("long"));
    assert_eq!(numbers(&next), (0..2500).collect::<Vec<_>>());
    next.stop.cancel();
    next.rest(task).await;
}

#[tokio::test]
async fn without_a_chunk_nothing_is_acknowledged_and_parts_of_lines_are_joined() {
    let mut rig = Rig::new();
    let (path, task) = start(&rig, r#", "labels": {"site": "north"}"#);
    let mut stream = connect(&path).await;
    for (ordinal, text, last) in [("1", "one ", "false"), ("2", "two ", "false"), ("3", "three\n", "true")] {
        let mut out = Vec::new();
        put_array(&mut out, 3);
        put_text(&mut out, b"docker.web");
        out.push(7);
        put_map(&mut out, 8);
        for (name, value) in [
            ("log", text),
            ("source", "stderr"),
            ("container_id", "0123456789abcdef"),
            ("container_name", "/web-1"),
            ("partial_message", "true"),
            ("partial_id", "p"),
            ("partial_ordinal", ordinal),
            ("partial_last", last),
        ] {
            put_text(&mut out, name.as_bytes());
            put_text(&mut out, value.as_bytes());
        }
        stream.write_all(&out).await.unwrap();
    }
    rig.until("the line", |rig| !rig.records.is_empty()).await;
    let record = &rig.records[0];
    assert_eq!(record.line, b"one two three");
    assert_eq!((record.at.0, record.output), (7000, OutputStream::Stderr));
    let labels = "{container=\"web-1\",container_id=\"0123456789ab\",site=\"north\",source=\"in\",tag=\"docker.web\"}";
    assert_eq!(record.labels.to_string(), labels);
    assert!(record.fields.is_empty());
    assert!(rig.positions.contains_key("seen/in"));
    rig.stop.cancel();
    rig.rest(task).await;
    assert_eq!((rig.count(Count::Acks), rig.records.len()), (0, 1));
}

#[tokio::test]
async fn garbage_and_long_frames_cost_their_own_connection() {
    let mut rig = Rig::new();
    let (path, task) = start(&rig, r#", "frame_bytes_max": "64KiB""#);
    let long = [&[0x92, 0xa1, b't', 0xc6, 0, 2, 0, 0][..], &[0; 100]].concat();
    for bad in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xc1], vec![0x91; 40], long] {
        let mut stream = connect(&path).await;
        stream.write_all(&bad).await.unwrap();
        assert_eq!(answer(&mut stream).await, None, "{bad:x?}");
    }
    assert_eq!(rig.count(Count::Faults), 4);
    rig.until("the ledger's entries", |rig| rig.losses.len() == 4).await;
    assert!(rig.losses.iter().all(|loss| (loss.reason, loss.count) == (LossReason::Parse, None)), "{:?}", rig.losses);
    // Damage behind whole events: these are taken, the rest is told, and the sender need not send it for ever.
    let mut stream = connect(&path).await;
    let mut spoilt = frame(0..3, Some("spoilt"));
    let length = u32::from_be_bytes(spoilt[6..10].try_into().unwrap());
    let end = 10 + length as usize;
    spoilt[6..10].copy_from_slice(&(length + 1).to_be_bytes());
    spoilt.insert(end, 0xc1);
    stream.write_all(&spoilt).await.unwrap();
    rig.until("what is whole", |rig| rig.records.len() == 3).await;
    assert_eq!(ack(&mut stream).await.as_deref(), Some("spoilt"));
    assert_eq!((rig.losses[4].reason, rig.losses[4].count), (LossReason::Parse, None));
    rig.stop.cancel();
    rig.rest(task).await;
}

#[tokio::test]
async fn a_key_is_asked_for_and_proven() {
    let mut rig = Rig::new();
    let (path, task) = start(&rig, r#", "shared_key": "secret""#);
    for (secret, good) in [("secret", true), ("wrong", false)] {
        let mut stream = connect(&path).await;
        let helo = answer(&mut stream).await.unwrap();
        let mut reader = Reader::new(&helo);
        assert_eq!((reader.array(), reader.bytes()), (Ok(2), Ok(&b"HELO"[..])));
        assert_eq!((reader.map(), reader.bytes()), (Ok(3), Ok(&b"nonce"[..])));
        let Ok(Value::Binary(nonce)) = reader.value() else { panic!("no nonce") };
        let digest = |host: &[u8]| {
            let whole = [&b"salt"[..], host, nonce, secret.as_bytes()].concat();
            let digest = ring::digest::digest(&ring::digest::SHA512, &whole);
            digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        };
        let mut ping = Vec::new();
        put_array(&mut ping, 6);
        for text in ["PING", "sender", "salt", &digest(b"sender"), "", ""] {
            put_text(&mut ping, text.as_bytes());
        }
        stream.write_all(&ping).await.unwrap();
        let pong = answer(&mut stream).await.unwrap();
        let mut reader = Reader::new(&pong);
        assert_eq!((reader.array(), reader.bytes(), reader.value()), (Ok(5), Ok(&b"PONG"[..]), Ok(Value::Bool(good))));
        if good {
            assert_eq!(reader.bytes(), Ok(&b""[..]));
            let host = reader.bytes().unwrap();
            assert_eq!(reader.bytes(), Ok(digest(host).as_bytes()));
            stream.write_all(&frame(0..1, None)).await.unwrap();
            rig.until("the event", |rig| rig.records.len() == 1).await;
        } else {
            assert_eq!(answer(&mut stream).await, None);
        }
    }
    rig.stop.cancel();
    rig.rest(task).await;
}
