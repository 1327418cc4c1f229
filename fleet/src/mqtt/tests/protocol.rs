//! Topics, acknowledgements, wills, sessions.

use super::*;

const BOTH: [u8; 2] = [4, 5];

#[tokio::test(start_paused = true)]
async fn a_puback_waits_for_the_fleet_and_keeps_the_order() {
    for version in BOTH {
        let mut bench = Bench::new();
        let mut client = bench.client("a", version).await;
        for n in 1..=3 {
            client.send(publish(version, "skerry/v1/a/up/metrics", QosPid::Level1(pid(n)), vec![n as u8])).await;
        }
        let mut done = vec![];
        for n in 1..=3u8 {
            let (node, leaf, payload, d) = bench.message().await;
            assert_eq!((node.as_str(), leaf, &payload[..]), ("a", UpLeaf::Metrics, &[n][..]));
            done.push(d);
        }
        client.silent().await;
        done.pop().unwrap().complete();
        client.silent().await;
        done.remove(0).complete();
        assert_eq!(client.receive().await.unwrap()[3], 1);
        client.silent().await;
        done.remove(0).complete();
        assert_eq!(client.receive().await.unwrap()[3], 2);
        assert_eq!(client.receive().await.unwrap()[3], 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_dropped_unfinished_ends_the_connection_unacknowledged() {
    let mut bench = Bench::new();
    let mut client = bench.client("a", 4).await;
    client.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level1(pid(1)), "x")).await;
    drop(bench.message().await);
    client.closed().await;
    assert_eq!(bench.end().await, EndReason::Unhandled);
}

#[tokio::test(start_paused = true)]
async fn qos_0_needs_no_answer() {
    for version in BOTH {
        let mut bench = Bench::new();
        let mut client = bench.client("a", version).await;
        client.send(publish(version, "skerry/v1/a/up/answer", QosPid::Level0, "x")).await;
        let (_, leaf, _, done) = bench.message().await;
        assert_eq!(leaf, UpLeaf::Answer);
        drop(done);
        client.send([0xc0, 0]).await;
        assert_eq!(client.receive().await.unwrap()[0], 0xd0, "and its end hurts nobody");
    }
}

#[tokio::test(start_paused = true)]
async fn a_foreign_topic_is_refused_in_5_and_closes_in_3_1_1() {
    for foreign in ["skerry/v1/b/up/metrics", "skerry/v1/a/down/ack", "skerry/v1/a/up/else", "x", ""] {
        let mut bench = Bench::new();
        let mut client = bench.client("a", 5).await;
        client.send(publish(5, foreign, QosPid::Level1(pid(1)), "x")).await;
        let refused = v5::Puback::new(pid(1), v5::PubackReasonCode::NotAuthorized);
        assert_eq!(client.receive_v5().await, refused.into(), "{foreign:?}");
        client.send(publish(5, "skerry/v1/a/up/hello", QosPid::Level1(pid(2)), "x")).await;
        bench.message().await.3.complete();
        assert_eq!(client.receive_v5().await, v5::Puback::new_success(pid(2)).into());
        assert_eq!(bench.service.stats().refused(Refusal::PublishTopic), 1);

        let mut bench = Bench::new();
        let mut client = bench.client("a", 4).await;
        client.send(publish(4, foreign, QosPid::Level1(pid(1)), "x")).await;
        client.closed().await;
        assert_eq!(bench.end().await, EndReason::NotAuthorized);
        assert_eq!(bench.service.stats().refused(Refusal::PublishTopic), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_does_not_overtake_an_earlier_puback() {
    let mut bench = Bench::new();
    let mut client = bench.client("a", 5).await;
    client.send(publish(5, "skerry/v1/a/up/logs", QosPid::Level1(pid(1)), "x")).await;
    client.send(publish(5, "skerry/v1/b/up/logs", QosPid::Level1(pid(2)), "x")).await;
    let (.., done) = bench.message().await;
    client.silent().await;
    done.complete();
    assert_eq!(client.receive_v5().await, v5::Puback::new_success(pid(1)).into());
    let refused = v5::Puback::new(pid(2), v5::PubackReasonCode::NotAuthorized);
    assert_eq!(client.receive_v5().await, refused.into());
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_granted_below_the_own_down_alone() {
    for version in BOTH {
        let mut bench = Bench::new();
        let mut client = bench.client("a", version).await;
        let cases = [
            ("skerry/v1/a/down/+", Some(1)),
            ("skerry/v1/a/down/#", Some(1)),
            ("skerry/v1/a/down/config", Some(1)),
            ("skerry/v1/b/down/+", None),
            ("skerry/v1/+/down/+", None),
            ("#", None),
            ("skerry/v1/a/up/hello", None),
        ];
        for (filter, granted) in cases {
            client.send(subscribe(version, filter, QoS::Level2)).await;
            let refused = if version == 4 { 0x80 } else { 0x87 };
            let answer = client.receive().await.unwrap();
            assert_eq!(answer[answer.len() - 1], granted.unwrap_or(refused), "{filter} in {version}");
        }
        assert_eq!(bench.service.stats().refused(Refusal::SubscribeTopic), 4);
    }
}

#[tokio::test(start_paused = true)]
async fn qos_2_is_refused() {
    let mut bench = Bench::new();
    let mut client = bench.client("a", 5).await;
    client.send(publish(5, "skerry/v1/a/up/logs", QosPid::Level2(pid(1)), "x")).await;
    let words = v5::Disconnect::new(v5::DisconnectReasonCode::QoSNotSupported);
    assert_eq!(client.receive_v5().await, words.into());
    assert_eq!(bench.end().await, EndReason::ProtocolError);

    let mut client = bench.client("a", 4).await;
    client.send(publish(4, "skerry/v1/a/up/logs", QosPid::Level2(pid(1)), "x")).await;
    client.closed().await;
    assert_eq!(bench.end().await, EndReason::ProtocolError);
    assert_eq!(bench.service.stats().refused(Refusal::Qos), 2);
}

#[tokio::test(start_paused = true)]
async fn mqtt_5_is_told_what_the_server_grants() {
    let bench = Bench::new();
    let (mut client, _) = bench.stream("a");
    client.send(connect_v5(|_| {})).await;
    let v5::Packet::Connack(connack) = client.receive_v5().await else { panic!("CONNACK is expected") };
    let granted = connack.properties;
    assert_eq!(granted.assigned_client_id.as_deref(), Some("a"));
    assert_eq!(granted.max_qos, Some(QoS::Level1));
    assert_eq!(granted.retain_available, Some(false));
    assert_eq!(granted.receive_max, Some(32));
    assert_eq!(granted.server_keep_alive, Some(600));
    assert_eq!(granted.max_packet_size, Some((1 << 20) + 1024));
}

#[tokio::test(start_paused = true)]
async fn messages_reach_a_node_once_it_has_subscribed() {
    for version in BOTH {
        let mut bench = Bench::new();
        let downlink = bench.service.downlink();
        let early = downlink.send(&node("a"), DownLeaf::Ack, Bytes::from_static(b"1")).await;
        assert_eq!(early, Err(SendError::NotConnected));
        let mut client = bench.client("a", version).await;
        downlink.send(&node("a"), DownLeaf::Ack, Bytes::from_static(b"2")).await.unwrap();
        client.silent().await;
        client.send(subscribe(version, "skerry/v1/a/down/ack", QoS::Level1)).await;
        client.receive().await.unwrap();
        let got = client.receive().await.unwrap();
        assert_eq!((got[0], &got[got.len() - 1..]), (0x32, &b"2"[..]));
        downlink.send(&node("a"), DownLeaf::Config, Bytes::from_static(b"3")).await.unwrap();
        client.silent().await;
        assert_eq!(bench.service.stats().refused(Refusal::Undeliverable), 1, "not subscribed to");

        let huge = Bytes::from(vec![0; (1 << 20) + 1]);
        let refused = downlink.send(&node("a"), DownLeaf::Ack, huge).await;
        assert!(matches!(refused, Err(SendError::TooLarge { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_under_way_than_the_node_takes() {
    let mut bench = Bench::new();
    let downlink = bench.service.downlink();
    let (mut client, _) = bench.stream("a");
    client.send(connect_v5(|connect| connect.properties.receive_max = Some(1))).await;
    client.receive_v5().await;
    bench.next().await;
    client.send(subscribe(5, "skerry/v1/a/down/+", QoS::Level1)).await;
    client.receive_v5().await;
    for text in ["1", "2"] {
        downlink.send(&node("a"), DownLeaf::Ask, Bytes::from_static(text.as_bytes())).await.unwrap();
    }
    let mut seen = vec![];
    for _ in 0..2 {
        let v5::Packet::Publish(message) = client.receive_v5().await else { panic!("PUBLISH is expected") };
        client.silent().await;
        let pid = message.qos_pid.pid().unwrap();
        seen.push((message.payload, pid));
        client.send(bytes_of_v5(v5::Puback::new_success(pid).into())).await;
    }
    assert_eq!((&seen[0].0[..], &seen[1].0[..]), (&b"1"[..], &b"2"[..]));
    assert_ne!(seen[0].1, seen[1].1);
}

const OWN_STATUS: &str = "skerry/v1/a/up/status";

#[tokio::test(start_paused = true)]
async fn a_will_is_delivered_when_the_connection_breaks() {
    let mut bench = Bench::new();
    let (mut client, _) = bench.stream("a");
    client.send(connect_v3(0, Some((OWN_STATUS, b"gone")))).await;
    client.receive_v3().await;
    bench.next().await;
    drop(client);
    let (_, leaf, payload, _) = bench.message().await;
    assert_eq!((leaf, &payload[..]), (UpLeaf::Status, &b"gone"[..]));
    assert_eq!(bench.end().await, EndReason::Lost);
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_takes_the_will_back_unless_it_says_otherwise() {
    for (code, delivered) in [
        (v5::DisconnectReasonCode::NormalDisconnect, false),
        (v5::DisconnectReasonCode::DisconnectWithWillMessage, true),
    ] {
        let mut bench = Bench::new();
        let (mut client, _) = bench.stream("a");
        client
            .send(connect_v5(|connect| {
                connect.last_will =
                    Some(v5::LastWill::new(QoS::Level0, topic_name(OWN_STATUS), Bytes::from_static(b"gone")));
            }))
            .await;
        client.receive_v5().await;
        bench.next().await;
        client.send(bytes_of_v5(v5::Disconnect::new(code).into())).await;
        if delivered {
            assert_eq!(&bench.message().await.2[..], b"gone");
        }
        assert_eq!(bench.end().await, EndReason::Goodbye);
    }
}

#[tokio::test(start_paused = true)]
async fn a_will_for_another_topic_is_refused() {
    for foreign in ["skerry/v1/b/up/status", "skerry/v1/a/up/metrics", "x"] {
        let mut bench = Bench::new();
        let (mut client, _) = bench.stream("a");
        client.send(connect_v3(0, Some((foreign, b"x")))).await;
        let refused = v3::Connack::new(false, v3::ConnectReturnCode::NotAuthorized);
        assert_eq!(client.receive_v3().await, refused.into());
        client.closed().await;
        assert!(bench.inbound.try_recv().is_err());
        assert_eq!(bench.service.stats().refused(Refusal::Connect), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_of_a_node_takes_over() {
    let mut bench = Bench::new();
    let (mut first, _) = bench.stream("a");
    first.send(connect_v3(0, Some((OWN_STATUS, b"gone")))).await;
    first.receive_v3().await;
    let Inbound::Connected { session: earlier, .. } = bench.next().await else { panic!("connected is expected") };

    let (mut second, _) = bench.stream("a");
    second.connect(5, 0).await;
    first.closed().await;
    let mut later = None;
    for _ in 0..2 {
        match bench.next().await {
            Inbound::Connected { session, .. } => later = Some(session),
            Inbound::Disconnected { session, reason, .. } => {
                assert_eq!((session, reason), (earlier, EndReason::TakenOver));
            }
            other => panic!("no will is due, the node is there: {other:?}"),
        }
    }
    assert!(later.unwrap() > earlier);
    second.send(subscribe(5, "skerry/v1/a/down/+", QoS::Level0)).await;
    second.receive_v5().await;
    bench.service.downlink().send(&node("a"), DownLeaf::Ack, Bytes::from_static(b"x")).await.unwrap();
    assert!(matches!(second.receive_v5().await, v5::Packet::Publish(_)), "the successor keeps its place");
    assert_eq!(bench.service.stats().connected(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_key_is_cut_off_and_kept_out() {
    let mut bench = Bench::new();
    let mut client = bench.client("a", 5).await;
    bench.admission.revoke([1; 32]);
    client.send([0xc0, 0]).await;
    assert_eq!(client.receive_v5().await, v5::Packet::Pingresp, "another key's revocation does not matter");

    // Proved by TLS before the revocation, but without CONNECT yet.
    let (mut waiting, _) = bench.stream("b");
    tokio::task::yield_now().await;
    let from = tokio::time::Instant::now();
    bench.admission.revoke(PIN);
    let words = v5::Disconnect::new(v5::DisconnectReasonCode::NotAuthorized);
    assert_eq!(client.receive_v5().await, words.into());
    assert_eq!(bench.end().await, EndReason::Revoked);
    assert_eq!(from.elapsed(), Duration::ZERO, "no timer stands between");

    waiting.send(connect_v3(0, None)).await;
    let refused = v3::Connack::new(false, v3::ConnectReturnCode::NotAuthorized);
    assert_eq!(waiting.receive_v3().await, refused.into());
    waiting.closed().await;
    assert!(bench.inbound.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_no_mqtt_of_ours_is_refused_at_connect() {
    let v310 = {
        let mut connect = v3::Connect::new("x".into(), 0);
        connect.protocol = mqtt_proto::Protocol::V310;
        bytes_of_v3(connect.into())
    };
    let v6 = vec![0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 6, 2, 0, 0, 0, 0];
    for unknown in [v310, v6] {
        let bench = Bench::new();
        let (mut client, _) = bench.stream("a");
        client.send(unknown).await;
        let refused = v3::Connack::new(false, v3::ConnectReturnCode::UnacceptableProtocolVersion);
        assert_eq!(client.receive_v3().await, refused.into());
        client.closed().await;
    }
    let extended = connect_v5(|connect| connect.properties.auth_method = Some("SCRAM".into()));
    let publish_first = publish(4, "skerry/v1/a/up/logs", QosPid::Level0, "x");
    for (garbage, answer) in
        [(extended, true), (publish_first, false), (b"GET / HTTP/1.1\r\n\r\n".to_vec(), false), (vec![0x10, 0], false)]
    {
        let mut bench = Bench::new();
        let (mut client, task) = bench.stream("a");
        client.send(garbage).await;
        if answer {
            client.receive().await.unwrap();
        }
        client.closed().await;
        timeout(SOON, task).await.unwrap().unwrap();
        assert!(bench.inbound.try_recv().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_ends_connections_with_their_wills() {
    let mut bench = Bench::new();
    let mut client = bench.client("a", 5).await;
    bench.stop.cancel();
    let words = v5::Disconnect::new(v5::DisconnectReasonCode::ServerShuttingDown);
    assert_eq!(client.receive_v5().await, words.into());
    assert_eq!(bench.end().await, EndReason::Shutdown);
    assert_eq!(bench.service.stats().connected(), 0);
}
