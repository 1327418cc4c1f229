use crate::enrol::Answer;
use crate::testkit::{Kit, NOW, TestNode};
use skerry_seal::{EnrolResponse, SigningKey, Token};
use std::time::Duration;

/// The code of the refusal, or what the node was answered.
async fn outcome(kit: &Kit, node: &TestNode, token: Option<&Token>) -> &'static str {
    match kit.fleet.enrolment.answer(&node.request(token).encode(), NOW).await {
        Ok(Answer::Joined(..)) => "joined",
        Ok(Answer::Pending(..)) => "pending",
        Err(refusal) => refusal.code(),
    }
}

#[tokio::test]
async fn a_token_brings_as_many_nodes_in_as_it_says() {
    let kit = Kit::new().await;
    let token = kit.token(2, false).await;
    let (a, b, c) = (TestNode::new("a"), TestNode::new("b"), TestNode::new("c"));
    assert_eq!(outcome(&kit, &a, Some(&token)).await, "joined");
    assert_eq!(outcome(&kit, &a, Some(&token)).await, "joined", "asks again because the answer was lost");
    assert_eq!(outcome(&kit, &b, Some(&token)).await, "joined");
    assert_eq!(outcome(&kit, &c, Some(&token)).await, "token_used_up");
    assert_eq!(kit.fleet.control.tokens().await.unwrap()[0].used, 2);
    assert_eq!(kit.fleet.control.nodes().await.unwrap().len(), 2);
}

#[tokio::test]
async fn the_answer_is_what_the_node_accepts() {
    let kit = Kit::new().await;
    let (token, node) = (kit.token(1, false).await, TestNode::new("a"));
    let request = node.request(Some(&token));
    let Answer::Joined(_, response) = kit.fleet.enrolment.answer(&request.encode(), NOW).await.unwrap() else {
        panic!("pending")
    };
    let enrolled = EnrolResponse::accept(&response, &request, &token).unwrap();
    assert_eq!((enrolled.given.mqtt_url.as_str(), enrolled.trust.fleet()), ("mqtts://localhost:8883", &kit.id));
}

#[tokio::test]
async fn tokens_of_others_changed_and_ended_ones_are_refused() {
    let kit = Kit::new().await;
    let (token, node) = (kit.token(1, false).await, TestNode::new("a"));
    let foreign = Token::generate([7; 32], "http://elsewhere").unwrap();
    assert_eq!(outcome(&kit, &node, Some(&foreign)).await, "token_unknown");
    let forged = Token { id: token.id, ..foreign };
    assert_eq!(outcome(&kit, &node, Some(&forged)).await, "enrol_bad_proof");
    let late = NOW + Duration::from_secs(3601);
    let error = kit.fleet.enrolment.answer(&node.request(Some(&token)).encode(), late).await.unwrap_err();
    assert_eq!(error.code(), "token_expired");
    for garbage in [&b""[..], b"\xff", &[0xa0], &vec![0; 100_000]] {
        let error = kit.fleet.enrolment.answer(garbage, NOW).await.unwrap_err();
        assert_eq!(error.code(), "enrol_message_invalid");
    }
    assert!(kit.fleet.control.remove_token(token.id, NOW).await.unwrap());
    assert!(!kit.fleet.control.remove_token(token.id, NOW).await.unwrap());
    assert_eq!(outcome(&kit, &node, Some(&token)).await, "token_unknown");
    assert!(kit.fleet.control.nodes().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_name_belongs_to_its_keys_until_they_are_revoked() {
    let kit = Kit::new().await;
    let token = kit.token(9, false).await;
    let (first, second) = (TestNode::new("a"), TestNode::new("a"));
    assert_eq!(outcome(&kit, &first, Some(&token)).await, "joined");
    assert_eq!(outcome(&kit, &second, Some(&token)).await, "node_exists");
    let pin = kit.fleet.control.revoke(&first.name, NOW).await.unwrap().unwrap();
    assert_eq!(outcome(&kit, &first, Some(&token)).await, "node_revoked");
    assert_eq!(outcome(&kit, &second, Some(&token)).await, "joined");
    assert_eq!(kit.fleet.control.revoked_pins().await.unwrap(), [pin], "the old keys stay shut out");
}

#[tokio::test]
async fn a_node_without_a_token_waits_and_changes_nothing() {
    let kit = Kit::new().await;
    let token = kit.token(1, true).await;
    let (node, other) = (TestNode::new("a"), TestNode::new("a"));
    assert_eq!(outcome(&kit, &node, None).await, "pending");
    assert_eq!(outcome(&kit, &other, None).await, "pending");
    let pin = kit.fleet.control.node(&node.name).await.unwrap().unwrap().tls_pin;
    assert!(!kit.fleet.control.approve(&node.name, [0; 32], NOW).await.unwrap(), "other keys than were compared");
    assert_eq!(outcome(&kit, &node, Some(&token)).await, "pending", "the token wants an approval");
    assert!(kit.fleet.control.approve(&node.name, pin, NOW).await.unwrap());
    assert_eq!(outcome(&kit, &other, Some(&token)).await, "node_exists");
    assert_eq!(outcome(&kit, &node, Some(&token)).await, "joined");
}

#[tokio::test]
async fn only_rising_revisions_of_the_right_keys_are_taken() {
    let kit = Kit::new().await;
    let trust = kit.fleet.trust.current();
    let (config, assign) = (kit.key("config-1"), kit.key("assign-1"));
    let foreign = SigningKey::generate().unwrap();
    let code = |doc: skerry_seal::ConfigDoc, key: &SigningKey| {
        let (envelope, control, trust) = (doc.seal(&[key]).unwrap(), kit.fleet.control.clone(), trust.clone());
        async move { control.add_config(envelope, &trust, NOW).await.map(|_| "").unwrap_or_else(|error| error.code()) }
    };
    assert_eq!(code(kit.config(2, "two"), &config).await, "");
    assert_eq!(code(kit.config(2, "two"), &config).await, "", "the same again");
    assert_eq!(code(kit.config(2, "other"), &config).await, "equivocation");
    assert_eq!(code(kit.config(1, "one"), &config).await, "rollback");
    assert!(!code(kit.config(3, "three"), &foreign).await.is_empty());
    assert!(!code(kit.config(3, "three"), &assign).await.is_empty(), "a key of another role");
    let mut ended = kit.config(3, "three");
    ended.not_after = Some(skerry_model::UnixMillis(NOW.0 - 1));
    assert_eq!(code(ended, &config).await, "expired");
    let mut ahead = kit.config(3, "three");
    ahead.revision.epoch = 2;
    assert_eq!(code(ahead, &config).await, "epoch_ahead");
    let stream = "group/edge".parse().unwrap();
    assert_eq!(kit.fleet.control.configs(&stream, 9).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_assignment_is_for_the_keys_that_joined() {
    let kit = Kit::new().await;
    let node = kit.joined("a").await;
    let trust = kit.fleet.trust.current();
    let key = kit.key("assign-1");
    let doc = kit.assignment(&node, 1).await;
    let mut other_keys = doc.clone();
    other_keys.tls_pin = [9; 32];
    let mut other_node = doc.clone();
    other_node.node = "b".parse().unwrap();
    for (doc, code) in [(other_keys, "other_keys"), (other_node, "node_unknown")] {
        let error = kit.fleet.control.add_assignment(doc.seal(&[&key]).unwrap(), &trust, NOW).await.unwrap_err();
        assert_eq!(error.code(), code);
    }
    kit.fleet.control.add_assignment(doc.seal(&[&key]).unwrap(), &trust, NOW).await.unwrap();
    let stored = kit.fleet.control.assignment(&node.name).await.unwrap().unwrap();
    assert_eq!(kit.fleet.delivery.read(&stored), Some(doc));
    assert_eq!(kit.fleet.control.assignments().await.unwrap(), [(node.name, stored)]);
}
