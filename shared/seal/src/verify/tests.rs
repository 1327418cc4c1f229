//! One case per refusal, in the order of the checks; then what must hold whatever byte is changed.

use super::*;
use crate::testkit::{ISSUED, TestFleet, new_keys, role};
use crate::{RootUpdate, add_signature, sign};
use proptest::prelude::*;
use std::sync::LazyLock;

/// The verdict and what it changes, for tests that expect an adoption.
fn adopt(fleet: &mut TestFleet, envelope: &[u8]) -> AcceptedConfig {
    match verify_config(envelope, &fleet.context()) {
        Ok(Verdict::Adopt(accepted)) => {
            fleet.floors.raise_config(&accepted);
            accepted
        }
        other => panic!("not adopted: {other:?}"),
    }
}

fn refusal(fleet: &TestFleet, doc: &ConfigDoc) -> Refusal {
    verify_config(&fleet.seal(doc), &fleet.context()).unwrap_err()
}

#[test]
fn a_good_config_is_adopted_once() {
    let mut fleet = TestFleet::new();
    let doc = fleet.config();
    let envelope = fleet.seal(&doc);
    let accepted = adopt(&mut fleet, &envelope);
    assert_eq!((&accepted.doc, accepted.time_untrusted), (&doc, false));
    assert_eq!(verify_config(&envelope, &fleet.context()), Ok(Verdict::Unchanged));
    // One more signature makes no other document of it.
    let third = add_signature(&envelope, Role::Config, &fleet.fleet, &fleet.config_keys[2]).unwrap();
    assert_eq!(verify_config(&third, &fleet.context()), Ok(Verdict::Unchanged));
}

#[test]
fn an_oversized_envelope_is_not_looked_at() {
    let fleet = TestFleet::new();
    let refused = verify_config(&vec![0; 256 * 1024 + 1], &fleet.context()).unwrap_err();
    assert_eq!(refused, Refusal::Envelope(EnvelopeError::TooLarge { bytes: 262_145 }));
}

#[test]
fn malformed_bytes_are_refused_before_signatures() {
    let fleet = TestFleet::new();
    let mut trailing = fleet.seal(&fleet.config());
    trailing.push(0);
    let refused = verify_config(&trailing, &fleet.context()).unwrap_err();
    assert_eq!(refused.code(), "malformed");
}

#[test]
fn two_of_three_must_sign_and_one_key_counts_once() {
    let fleet = TestFleet::new();
    let doc = fleet.config();
    let one = doc.seal(&[&fleet.config_keys[2]]).unwrap();
    let needs_two = EnvelopeError::Threshold { role: Role::Config, found: 1, needed: 2 };
    assert_eq!(verify_config(&one, &fleet.context()), Err(Refusal::Envelope(needs_two)));
    // An unknown key adds nothing; the second known one does.
    let stranger = &new_keys(1)[0];
    let with_stranger = add_signature(&one, Role::Config, &fleet.fleet, stranger).unwrap();
    assert_eq!(verify_config(&with_stranger, &fleet.context()).unwrap_err().code(), "too_few_signatures");
    let two = add_signature(&with_stranger, Role::Config, &fleet.fleet, &fleet.config_keys[0]).unwrap();
    assert!(matches!(verify_config(&two, &fleet.context()), Ok(Verdict::Adopt(_))));
}

#[test]
fn a_document_of_another_role_is_refused_even_under_shared_keys() {
    // The assign role is given the config keys: only the role in what is signed keeps them apart.
    let mut fleet = TestFleet::new();
    let mut root = fleet.next_root();
    root.roles.insert(Role::Assign, role(2, &fleet.config_keys));
    let envelope = root.seal(&[&fleet.root_keys[0], &fleet.root_keys[2]]).unwrap();
    assert_eq!(fleet.trust.update(&envelope), Ok(RootUpdate::Adopted));
    let keys = [&fleet.config_keys[0], &fleet.config_keys[1]];

    let as_assign = sign(Role::Assign, &fleet.fleet, &fleet.config().encode(), &keys).unwrap();
    let refused = verify_config(&as_assign, &fleet.context()).unwrap_err();
    let wrong = EnvelopeError::Role { found: Role::Assign, expected: Role::Config };
    assert_eq!(refused, Refusal::Envelope(wrong));
    // The same with the content type patched: the signature covers the role twice over.
    let (assign, config) = (Role::Assign.content_type().as_bytes(), Role::Config.content_type().as_bytes());
    let at = as_assign.windows(assign.len()).position(|window| window == assign).unwrap();
    let mut patched = as_assign;
    patched[at..at + assign.len()].copy_from_slice(config);
    let refused = verify_config(&patched, &fleet.context()).unwrap_err();
    assert_eq!(refused.code(), "bad_signature");
}

#[test]
fn a_role_without_keys_signs_nothing() {
    let mut fleet = TestFleet::new();
    let mut root = fleet.next_root();
    root.roles.remove(&Role::Config);
    let envelope = root.seal(&[&fleet.root_keys[0], &fleet.root_keys[1]]).unwrap();
    fleet.trust.update(&envelope).unwrap();
    assert_eq!(refusal(&fleet, &fleet.config()), Refusal::NoSuchRole(Role::Config));
}

#[test]
fn another_fleets_documents_are_refused() {
    let fleet = TestFleet::new();
    // Signed for the other fleet by the same keys: the fleet is part of what is signed.
    let mut foreign = fleet.config();
    foreign.fleet = "other".parse().unwrap();
    assert_eq!(refusal(&fleet, &foreign).code(), "bad_signature");
    // Signed for this fleet, but naming the other inside.
    let keys = [&fleet.config_keys[0], &fleet.config_keys[1]];
    let inside = sign(Role::Config, &fleet.fleet, &foreign.encode(), &keys).unwrap();
    let refused = verify_config(&inside, &fleet.context()).unwrap_err();
    assert_eq!(refused, Refusal::OtherFleet { found: foreign.fleet, expected: fleet.fleet.clone() });
}

#[test]
fn content_that_cannot_be_read_is_refused() {
    let fleet = TestFleet::new();
    let keys = [&fleet.config_keys[0], &fleet.config_keys[1]];
    let envelope = sign(Role::Config, &fleet.fleet, &[0xa0], &keys).unwrap();
    let refused = verify_config(&envelope, &fleet.context()).unwrap_err();
    assert_eq!(refused, Refusal::Document(DocError::Missing { document: "the config", field: "fleet" }));
}

#[test]
fn without_an_assignment_no_stream_is_followed() {
    let fleet = TestFleet::new();
    let envelope = fleet.seal(&fleet.config());
    let context = Context { assignment: None, ..fleet.context() };
    assert_eq!(verify_config(&envelope, &context), Err(Refusal::Unassigned));
}

#[test]
fn a_revoked_node_adopts_nothing() {
    let mut fleet = TestFleet::new();
    fleet.assignment.revoked = true;
    assert_eq!(refusal(&fleet, &fleet.config()), Refusal::Revoked);
}

#[test]
fn a_stream_that_is_not_assigned_is_refused() {
    let fleet = TestFleet::new();
    let mut doc = fleet.config();
    doc.stream = "node/other".parse().unwrap();
    assert_eq!(refusal(&fleet, &doc), Refusal::OtherStream { stream: doc.stream.clone() });
}

#[test]
fn the_assignment_bounds_revisions_from_below() {
    let mut fleet = TestFleet::new();
    let mut doc = fleet.config();
    doc.revision = Revision::new(1, 1);
    let lowest = Revision::new(1, 2);
    let below = Refusal::BelowLowest { stream: doc.stream.clone(), found: doc.revision, lowest };
    assert_eq!(refusal(&fleet, &doc), below);
    doc.revision = lowest;
    let envelope = fleet.seal(&doc);
    adopt(&mut fleet, &envelope);
}

#[test]
fn an_older_revision_is_refused() {
    let mut fleet = TestFleet::new();
    let mut doc = fleet.config();
    let envelope = fleet.seal(&doc);
    adopt(&mut fleet, &envelope);
    doc.revision = Revision::new(1, 4);
    let rollback = Refusal::Rollback { found: doc.revision, floor: Revision::new(1, 5) };
    assert_eq!(refusal(&fleet, &doc), rollback);
    // The floor also outlives the assignment that named the stream.
    let streams = std::mem::take(&mut fleet.assignment.streams);
    assert_eq!(refusal(&fleet, &doc).code(), "other_stream");
    fleet.assignment.streams = streams;
    assert_eq!(refusal(&fleet, &doc), rollback);
}

#[test]
fn two_documents_of_one_revision_raise_the_alarm() {
    let mut fleet = TestFleet::new();
    let mut doc = fleet.config();
    let envelope = fleet.seal(&doc);
    adopt(&mut fleet, &envelope);
    doc.body = b"kind: Other\n".to_vec();
    assert_eq!(refusal(&fleet, &doc), Refusal::Equivocation { revision: doc.revision });
}

#[test]
fn a_raised_epoch_gets_above_whatever_a_thief_signed() {
    let mut fleet = TestFleet::new();
    let mut stolen = fleet.config();
    stolen.revision = Revision::new(2, 1);
    assert_eq!(refusal(&fleet, &stolen), Refusal::EpochAhead { found: stolen.revision, epoch: 1 });
    stolen.revision = Revision::new(1, i64::MAX as u64);
    let envelope = fleet.seal(&stolen);
    adopt(&mut fleet, &envelope);

    let mut root = fleet.next_root();
    root.revision.epoch = 2;
    let fresh = new_keys(2);
    root.roles.insert(Role::Config, role(2, &fresh));
    let rotated = root.seal(&[&fleet.root_keys[0], &fleet.root_keys[1]]).unwrap();
    fleet.trust.update(&rotated).unwrap();
    assert_eq!(refusal(&fleet, &fleet.config()).code(), "too_few_signatures");
    let mut mend = fleet.config();
    mend.revision = Revision::new(2, 1);
    adopt(&mut fleet, &mend.seal(&[&fresh[0], &fresh[1]]).unwrap());
}

#[test]
fn expiry_blocks_adoption_and_nothing_else() {
    let mut fleet = TestFleet::new();
    let mut doc = fleet.config();
    doc.not_after = Some(ISSUED);
    let envelope = fleet.seal(&doc);
    fleet.time.at = UnixMillis(ISSUED.0 + 1);
    let expired = refusal(&fleet, &doc);
    assert_eq!(expired, Refusal::Expired { not_after: ISSUED, now: fleet.time.at });
    assert!(expired.to_string().contains("by 2026-01-01T00:00:00Z"), "{expired}");
    // Untrusted, but certainly past.
    fleet.time.trusted = false;
    assert_eq!(refusal(&fleet, &doc).code(), "expired");
    // Untrusted and possibly past: the version decides, and the report says so.
    fleet.time.at = ISSUED;
    assert!(adopt(&mut fleet, &envelope).time_untrusted);
    // What runs is not stopped.
    fleet.time = TrustedTime { at: UnixMillis(i64::MAX), trusted: true };
    assert_eq!(verify_config(&envelope, &fleet.context()), Ok(Verdict::Unchanged));
}

#[test]
fn a_config_for_newer_agents_waits() {
    let fleet = TestFleet::new();
    let mut doc = fleet.config();
    let found = fleet.identity.agent;
    doc.min_agent = AgentVersion { minor: found.minor + 1, patch: 0, ..found };
    assert_eq!(refusal(&fleet, &doc), Refusal::AgentTooOld { needed: doc.min_agent, found });
    doc.min_agent = found;
    assert!(verify_config(&fleet.seal(&doc), &fleet.context()).is_ok());
}

#[test]
fn a_node_opens_its_own_secrets_and_no_others() {
    let mut fleet = TestFleet::new();
    let (node, other) = (fleet.identity.node.clone(), "other".parse().unwrap());
    let other_key = X25519Key::generate().unwrap();
    let mut doc = fleet.config();
    doc.add_secret("mqtt.password", &node, &fleet.identity.key.public(), b"hunter2").unwrap();
    doc.add_secret("mqtt.password", &other, &other_key.public(), b"other").unwrap();
    let envelope = fleet.seal(&doc);
    let secrets = adopt(&mut fleet, &envelope).secrets;
    assert_eq!(
        secrets.into_iter().map(|(path, value)| (path, value.expose().to_vec())).collect::<Vec<_>>(),
        [("mqtt.password".to_owned(), b"hunter2".to_vec())]
    );

    let mut wrong = fleet.config();
    wrong.revision.version += 1;
    wrong.add_secret("a", &node, &other_key.public(), b"x").unwrap();
    assert_eq!(refusal(&fleet, &wrong), Refusal::Secret(SecretError::Sealed { path: "a".to_owned() }));
    // A secret carried over from another revision does not open either.
    let mut moved = fleet.config();
    moved.revision.version += 1;
    moved.secrets = doc.secrets;
    assert_eq!(refusal(&fleet, &moved).code(), "secret_not_opened");
}

#[test]
fn a_stored_config_opens_again_after_rotation_and_expiry() {
    let mut fleet = TestFleet::new();
    let mut doc = fleet.config();
    doc.add_secret("p", &fleet.identity.node.clone(), &fleet.identity.key.public(), b"s").unwrap();
    let envelope = fleet.seal(&doc);
    let accepted = adopt(&mut fleet, &envelope);
    assert_eq!(reopen_config(&envelope, &accepted.hash, &fleet.identity).as_ref(), Ok(&accepted));
    assert_eq!(reopen_config(&envelope, &[0; 32], &fleet.identity), Err(Refusal::Damaged));
    let as_job = sign(Role::Job, &fleet.fleet, &doc.encode(), &[&fleet.config_keys[0]]).unwrap();
    assert_eq!(reopen_config(&as_job, &accepted.hash, &fleet.identity), Err(Refusal::Damaged));
}

#[test]
fn an_assignment_is_adopted_and_opens_again() {
    let mut fleet = TestFleet::new();
    let envelope = fleet.assignment.seal(&[&fleet.assign_key]).unwrap();
    let Ok(Verdict::Adopt(accepted)) = verify_assignment(&envelope, &fleet.context()) else { panic!("refused") };
    assert_eq!(accepted.doc, fleet.assignment);
    fleet.floors.raise_assignment(&accepted);
    assert_eq!(verify_assignment(&envelope, &fleet.context()), Ok(Verdict::Unchanged));
    let stored = reopen_assignment(&envelope, &accepted.hash, &fleet.identity);
    assert_eq!(stored, Ok(accepted.doc));
    assert_eq!(reopen_assignment(&envelope, &[0; 32], &fleet.identity), Err(Refusal::Damaged));
}

#[test]
fn an_assignment_must_name_this_node_and_its_keys() {
    let fleet = TestFleet::new();
    let verdict = |change: &dyn Fn(&mut Assignment)| {
        let mut doc = fleet.assignment.clone();
        change(&mut doc);
        verify_assignment(&doc.seal(&[&fleet.assign_key]).unwrap(), &fleet.context())
    };
    let other: NodeId = "other".parse().unwrap();
    let other_node = Refusal::OtherNode { found: other.clone(), expected: fleet.identity.node.clone() };
    assert_eq!(verdict(&|doc| doc.node = other.clone()), Err(other_node));
    assert_eq!(verdict(&|doc| doc.tls_pin[0] ^= 1), Err(Refusal::OtherTlsKey));
    assert_eq!(verdict(&|doc| doc.x25519.0[0] ^= 1), Err(Refusal::OtherX25519Key));
    assert_eq!(verdict(&|doc| doc.revision.epoch = 2).unwrap_err().code(), "epoch_ahead");
    assert_eq!(verdict(&|doc| doc.fleet = "other".parse().unwrap()).unwrap_err().code(), "bad_signature");
    // Keys of another role do not sign assignments.
    let foreign = fleet.assignment.seal(&[&fleet.config_keys[0], &fleet.config_keys[1]]).unwrap();
    assert_eq!(verify_assignment(&foreign, &fleet.context()).unwrap_err().code(), "too_few_signatures");
}

#[test]
fn an_assignment_has_a_floor_of_its_own_and_may_revoke() {
    let mut fleet = TestFleet::new();
    let mut doc = fleet.assignment.clone();
    doc.revision = Revision::new(1, 3);
    doc.revoked = true;
    let envelope = doc.seal(&[&fleet.assign_key]).unwrap();
    let Ok(Verdict::Adopt(accepted)) = verify_assignment(&envelope, &fleet.context()) else { panic!("refused") };
    assert!(accepted.doc.revoked);
    fleet.floors.raise_assignment(&accepted);
    // The assignment before the revocation does not bring the node back.
    let old = fleet.assignment.seal(&[&fleet.assign_key]).unwrap();
    let rollback = Refusal::Rollback { found: Revision::new(1, 1), floor: Revision::new(1, 3) };
    assert_eq!(verify_assignment(&old, &fleet.context()), Err(rollback));
    doc.revoked = false;
    let other = doc.seal(&[&fleet.assign_key]).unwrap();
    let alarm = Refusal::Equivocation { revision: doc.revision };
    assert_eq!(verify_assignment(&other, &fleet.context()), Err(alarm));
}

#[test]
fn a_floor_is_not_lowered_by_an_older_document() {
    let mut fleet = TestFleet::new();
    let mut doc = fleet.config();
    let newer = Accepted { doc: doc.clone(), hash: [1; 32] };
    doc.revision = Revision::new(1, 2);
    let accepted = |Accepted { doc, hash }: Accepted<ConfigDoc>| AcceptedConfig {
        doc,
        hash,
        secrets: BTreeMap::new(),
        time_untrusted: false,
    };
    fleet.floors.raise_config(&accepted(newer));
    fleet.floors.raise_config(&accepted(Accepted { doc: doc.clone(), hash: [2; 32] }));
    assert_eq!(fleet.floors.config(&doc.stream), Some(Floor { revision: Revision::new(1, 5), hash: [1; 32] }));

    let mut assignment = fleet.assignment.clone();
    for (version, hash) in [(5, [1; 32]), (2, [2; 32])] {
        assignment.revision = Revision::new(1, version);
        fleet.floors.raise_assignment(&Accepted { doc: assignment.clone(), hash });
    }
    assert_eq!(fleet.floors.assignment(), Some(Floor { revision: Revision::new(1, 5), hash: [1; 32] }));
}

static SIGNED: LazyLock<(TestFleet, Vec<u8>)> = LazyLock::new(|| {
    let fleet = TestFleet::new();
    let envelope = fleet.seal(&fleet.config());
    (fleet, envelope)
});

proptest! {
    #[test]
    fn a_changed_byte_anywhere_is_refused(at in any::<prop::sample::Index>(), change in 1u8..) {
        let (fleet, envelope) = &*SIGNED;
        let mut changed = envelope.clone();
        changed[at.index(envelope.len())] ^= change;
        prop_assert!(verify_config(&changed, &fleet.context()).is_err());
    }

    #[test]
    fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let (fleet, _) = &*SIGNED;
        prop_assert!(verify_config(&bytes, &fleet.context()).is_err());
        prop_assert!(verify_assignment(&bytes, &fleet.context()).is_err());
    }

    #[test]
    fn a_part_is_refused(at in any::<prop::sample::Index>()) {
        let (fleet, envelope) = &*SIGNED;
        prop_assert!(verify_config(&envelope[..at.index(envelope.len())], &fleet.context()).is_err());
    }
}
