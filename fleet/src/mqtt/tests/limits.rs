//! Time, sizes, budgets, garbage.

use super::*;
use crate::mqtt::codec::{Version, decode, decode_connect};
use proptest::prelude::*;

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_dropped_after_one_and_a_half_keepalives() {
    let mut bench = Bench::new();
    let (mut client, _) = bench.stream("a");
    client.connect(4, 10).await;
    bench.next().await;
    for _ in 0..3 {
        tokio::time::advance(Duration::from_secs(14)).await;
        client.send([0xc0, 0]).await;
        assert_eq!(client.receive_v3().await, v3::Packet::Pingresp);
    }
    let quiet_from = tokio::time::Instant::now();
    let end = timeout(Duration::from_secs(60), bench.inbound.recv()).await.unwrap().unwrap();
    assert!(matches!(end, Inbound::Disconnected { reason: EndReason::Silent, .. }), "{end:?}");
    assert_eq!(quiet_from.elapsed().as_secs(), 15);
}

#[tokio::test(start_paused = true)]
async fn the_keepalive_clock_stands_still_while_the_fleet_pauses_reading() {
    let mut bench = Bench::new();
    let (mut client, _) = bench.stream("a");
    client.connect(4, 10).await;
    bench.next().await;
    let mut done = vec![];
    for n in 1..=32 {
        client.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level1(pid(n)), "x")).await;
        done.push(bench.message().await.3);
    }
    // The 33rd is not read, and neither is the ping behind it.
    client.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level1(pid(33)), "x")).await;
    client.send([0xc0, 0]).await;
    tokio::time::advance(Duration::from_secs(300)).await;
    client.silent().await;
    assert!(bench.inbound.try_recv().is_err(), "at most 32 wait for their PUBACK");

    done.remove(0).complete();
    assert_eq!(client.receive_v3().await, v3::Packet::Puback(pid(1)));
    bench.message().await.3.complete();
    done.into_iter().for_each(Done::complete);
    for _ in 0..33 {
        client.receive().await.expect("the connection has lived on");
    }

    // The same where nothing waits to be read: the node has its whole keepalive again.
    let mut done = vec![];
    for n in 1..=32 {
        client.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level1(pid(n)), "x")).await;
        done.push(bench.message().await.3);
    }
    tokio::time::advance(Duration::from_secs(300)).await;
    done.into_iter().for_each(Done::complete);
    for _ in 0..32 {
        client.receive().await.expect("the connection has lived on");
    }
    tokio::time::advance(Duration::from_secs(14)).await;
    client.send([0xc0, 0]).await;
    assert_eq!(client.receive_v3().await, v3::Packet::Pingresp);
}

#[tokio::test(start_paused = true)]
async fn connect_has_to_come_in_time_and_packets_have_to_end() {
    let mut bench = Bench::new();
    let (mut client, task) = bench.stream("a");
    client.send(&connect_v3(0, None)[..5]).await;
    timeout(Duration::from_secs(11), task).await.expect("10 s for CONNECT").unwrap();
    assert_eq!(bench.service.stats().refused(Refusal::Connect), 1);

    let mut client = bench.client("a", 4).await;
    client.send([0x30, 200, 1, 0, 4]).await;
    let from = tokio::time::Instant::now();
    let end = timeout(Duration::from_secs(60), bench.inbound.recv()).await.unwrap().unwrap();
    assert!(matches!(end, Inbound::Disconnected { reason: EndReason::Silent, .. }), "{end:?}");
    assert_eq!(from.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_takes_nothing_is_dropped() {
    let mut bench = Bench::new();
    let (mut client, _) = bench.stream_of("a", 4096);
    client.connect(4, 0).await;
    bench.next().await;
    client.send(subscribe(4, "skerry/v1/a/down/+", QoS::Level1)).await;
    client.receive().await.unwrap();
    let payload = Bytes::from(vec![0; 100_000]);
    bench.service.downlink().send(&node("a"), DownLeaf::Config, payload).await.unwrap();
    let from = tokio::time::Instant::now();
    let end = timeout(Duration::from_secs(60), bench.inbound.recv()).await.unwrap().unwrap();
    assert!(matches!(end, Inbound::Disconnected { reason: EndReason::Stalled, .. }), "{end:?}");
    assert!((20..22).contains(&from.elapsed().as_secs()));
}

#[tokio::test(start_paused = true)]
async fn a_slow_fleet_holds_up_neither_a_takeover_nor_a_stop() {
    let mut bench = Bench::with(Limits::default(), 1);
    let mut client = bench.client("a", 4).await;
    // Fills the channel, then waits for a place in it.
    for n in 1..=2 {
        client.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level1(pid(n)), "x")).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (mut second, _) = bench.stream("a");
    second.connect(4, 0).await;
    client.closed().await;
    bench.admission.revoke(PIN);
    second.closed().await;
    assert_eq!(bench.message().await.1, UpLeaf::Logs);
    assert_eq!(bench.end().await, EndReason::TakenOver);
    assert!(bench.inbound.try_recv().is_err(), "the second was never announced");
}

#[tokio::test(start_paused = true)]
async fn an_oversized_packet_is_refused_by_its_head() {
    let mut bench = Bench::new();
    let mut client = bench.client("a", 5).await;
    // 2 MiB are announced, and not one byte of them is waited for.
    client.send([0x30, 0x80, 0x80, 0x80, 0x01]).await;
    let words = v5::Disconnect::new(v5::DisconnectReasonCode::PacketTooLarge);
    assert_eq!(client.receive_v5().await, words.into());
    assert_eq!(bench.end().await, EndReason::PacketTooLarge);

    let mut client = bench.client("a", 4).await;
    client.send([0x82, 0x80, 0x80, 0x08]).await;
    client.closed().await;
    assert_eq!(bench.end().await, EndReason::PacketTooLarge, "control packets have a lower limit");
    assert_eq!(bench.service.stats().refused(Refusal::PacketTooLarge), 2);
}

#[tokio::test(start_paused = true)]
async fn the_largest_message_gets_through() {
    for version in [4, 5] {
        let mut bench = Bench::new();
        let mut client = bench.client("a", version).await;
        let payload: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
        client.send(publish(version, "skerry/v1/a/up/metrics", QosPid::Level1(pid(1)), payload.clone())).await;
        let (_, _, got, done) = bench.message().await;
        assert!(got == payload);
        done.complete();
        assert_eq!(client.receive().await.unwrap()[0], 0x40);

        let one_more = vec![0; (1 << 20) + 1];
        client.send(publish(version, "skerry/v1/a/up/metrics", QosPid::Level1(pid(2)), one_more)).await;
        assert_eq!(bench.end().await, EndReason::PacketTooLarge);
    }
}

#[tokio::test(start_paused = true)]
async fn all_nodes_together_stay_within_the_budget() {
    let limits = Limits { budget_bytes: 100_000, ..Limits::default() };
    let mut bench = Bench::with(limits, 64);
    let (mut a, mut b) = (bench.client("a", 4).await, bench.client("b", 4).await);
    a.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level1(pid(1)), vec![0; 60_000])).await;
    let (.., first) = bench.message().await;
    b.send(publish(4, "skerry/v1/b/up/logs", QosPid::Level1(pid(1)), vec![0; 60_000])).await;
    tokio::time::sleep(Duration::from_secs(800)).await;
    assert!(bench.inbound.try_recv().is_err(), "the second waits for its share, however long");
    first.complete();
    let (node, ..) = bench.message().await;
    assert_eq!(node.as_str(), "b");
    assert_eq!(a.receive_v3().await, v3::Packet::Puback(pid(1)));
}

#[tokio::test(start_paused = true)]
async fn one_node_holds_its_share_of_the_budget_at_most() {
    let mut bench = Bench::with(Limits { node_bytes_max: 100, ..Limits::default() }, 64);
    let mut client = bench.client("a", 4).await;
    let mut done = vec![];
    for n in 1..=3 {
        client.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level1(pid(n)), vec![0; 60])).await;
    }
    for _ in 0..2 {
        done.push(bench.message().await.3);
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(bench.inbound.try_recv().is_err(), "120 bytes wait already");
    done.remove(0).complete();
    bench.message().await;
}

#[tokio::test(start_paused = true)]
async fn property_lists_that_would_blow_up_are_refused() {
    let mut bench = Bench::new();
    let mut client = bench.client("a", 5).await;
    let mut message = v5::Publish::new(QosPid::Level0, topic_name("skerry/v1/a/up/logs"), Bytes::new());
    let tiny = v5::UserProperty { name: "".into(), value: "".into() };
    message.properties.user_properties = vec![tiny; 10_000];
    client.send(bytes_of_v5(message.into())).await;
    let words = v5::Disconnect::new(v5::DisconnectReasonCode::MalformedPacket);
    assert_eq!(client.receive_v5().await, words.into());
    assert_eq!(bench.end().await, EndReason::ProtocolError);
}

#[tokio::test(start_paused = true)]
async fn malformed_packets_end_the_connection() {
    for bad in [
        vec![0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x00, 0],
        vec![0xc0, 1, 0],
        vec![0x32, 2, 0, 0],
        vec![0x30, 3, 0, 1, 0xff],
        vec![0x82, 3, 0, 1, 0],
        vec![0x40, 3, 0, 1, 0],
        vec![0x20, 2, 0, 0],
        vec![0xf0, 0],
    ] {
        let mut bench = Bench::new();
        let mut client = bench.client("a", 4).await;
        client.send(&bad).await;
        client.closed().await;
        assert_eq!(bench.end().await, EndReason::ProtocolError, "{bad:02x?}");
        assert_eq!(bench.service.stats().refused(Refusal::Malformed), 1, "{bad:02x?}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_decoder_panic(first: u8, body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_connect(first, &body);
        let _ = decode(Version::V311, first, &body);
        let _ = decode(Version::V5, first, &body);
    }

    #[test]
    fn no_damage_to_sound_packets_makes_the_decoder_panic(at in 0usize..200, with: u8, cut in 0usize..200) {
        let packets = [
            connect_v3(10, Some(("skerry/v1/a/up/status", b"gone"))),
            connect_v5(|connect| connect.properties.receive_max = Some(7)),
            publish(5, "skerry/v1/a/up/logs", QosPid::Level1(pid(1)), "payload"),
            subscribe(4, "skerry/v1/a/down/+", QoS::Level1),
            subscribe(5, "skerry/v1/a/down/+", QoS::Level1),
        ];
        for mut packet in packets {
            let at = at % packet.len();
            packet[at] = with;
            packet.truncate(2 + cut % (packet.len() - 1));
            let _ = decode_connect(packet[0], &packet[2..]);
            let _ = decode(Version::V311, packet[0], &packet[2..]);
            let _ = decode(Version::V5, packet[0], &packet[2..]);
        }
    }
}
