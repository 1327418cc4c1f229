//! Bootstrap, rotation chains, and every way a root document is refused.

use super::*;
use crate::testkit::{TestFleet, new_keys, role};
use crate::{SigningKey, add_signature, sign};

fn two(keys: &[SigningKey]) -> [&SigningKey; 2] {
    [&keys[0], &keys[1]]
}

#[test]
fn root_one_is_known_by_its_hash() {
    let fleet = TestFleet::new();
    let first = &fleet.trust.roots()[0];
    assert_eq!(TrustStore::bootstrap(first, &fleet.trust.pin()).unwrap().fleet(), &fleet.fleet);
    let refused = TrustStore::bootstrap(first, &[0; 32]).unwrap_err();
    assert_eq!(refused.code(), "root_pin_mismatch");
    assert!(refused.to_string().contains(&hex(&fleet.trust.pin())));
}

#[test]
fn root_one_must_be_signed_by_its_own_keys() {
    let fleet = TestFleet::new();
    let one = fleet.trust.current().seal(&[&fleet.root_keys[0]]).unwrap();
    assert_eq!(TrustStore::bootstrap(&one, &root_hash(&one)).unwrap_err().code(), "too_few_signatures");
    let two = fleet.next_root().seal(&two(&fleet.root_keys)).unwrap();
    let refused = TrustStore::bootstrap(&two, &root_hash(&two)).unwrap_err();
    assert_eq!(refused, TrustError::Gap { found: 2, newest: 0 });
    let unreadable = sign(Role::Root, &fleet.fleet, &[0xa0], &[&fleet.root_keys[0]]).unwrap();
    assert_eq!(
        TrustStore::bootstrap(&unreadable, &root_hash(&unreadable)).unwrap_err().code(),
        "root_document_invalid"
    );
}

/// Root keys change completely, twice; every document in between is needed, and the chain can be followed again.
#[test]
fn a_chain_of_rotations_is_followed() {
    let mut fleet = TestFleet::new();
    let pin = fleet.trust.pin();
    let mut holders = std::mem::take(&mut fleet.root_keys);
    let mut envelopes = fleet.trust.roots().to_vec();
    for epoch in [1, 2] {
        let fresh = new_keys(3);
        let mut next = fleet.next_root();
        next.revision.epoch = epoch;
        next.roles.insert(Role::Root, role(2, &fresh));
        let [a, b] = two(&fresh);
        let envelope = next.seal(&[&holders[0], &holders[2], a, b]).unwrap();
        assert_eq!(fleet.trust.update(&envelope), Ok(RootUpdate::Adopted));
        assert_eq!(fleet.trust.update(&envelope), Ok(RootUpdate::Known));
        envelopes.push(envelope);
        holders = fresh;
    }
    assert_eq!(fleet.trust.roots(), envelopes);
    assert_eq!(fleet.trust.current().revision.to_string(), "2.3");
    for again in [TrustStore::follow(&envelopes, &pin), TrustStore::restore(&envelopes)] {
        assert_eq!(again.unwrap().current(), fleet.trust.current());
    }
    let skipping = [envelopes[0].clone(), envelopes[2].clone()];
    assert_eq!(TrustStore::follow(&skipping, &pin).unwrap_err().code(), "too_few_signatures");
    assert_eq!(TrustStore::follow::<Vec<u8>>(&[], &pin).unwrap_err(), TrustError::Empty);
    assert_eq!(TrustStore::restore::<Vec<u8>>(&[]).unwrap_err(), TrustError::Empty);
    // A node that knows root 1 takes the rest from any bundle.
    let mut behind = TrustStore::bootstrap(&envelopes[0], &pin).unwrap();
    assert_eq!(behind.update_all(&envelopes), Ok(RootUpdate::Adopted));
    assert_eq!(behind.update_all(&envelopes), Ok(RootUpdate::Known));
}

#[test]
fn old_and_new_holders_must_both_sign() {
    let mut fleet = TestFleet::new();
    let fresh = new_keys(3);
    let mut next = fleet.next_root();
    next.roles.insert(Role::Root, role(2, &fresh));
    let few = |found| TrustError::Envelope(EnvelopeError::Threshold { role: Role::Root, found, needed: 2 });
    for (signers, found) in [
        (vec![&fresh[0], &fresh[1]], 0),
        (vec![&fleet.root_keys[0], &fresh[0], &fresh[1]], 1),
        (vec![&fleet.root_keys[0], &fleet.root_keys[1]], 0),
        (vec![&fleet.root_keys[0], &fleet.root_keys[1], &fresh[2]], 1),
    ] {
        assert_eq!(fleet.trust.update(&next.seal(&signers).unwrap()), Err(few(found)));
    }
    // Collected one after the other it holds.
    let mut envelope = next.seal(&[&fresh[2]]).unwrap();
    for key in [&fleet.root_keys[2], &fresh[0], &fleet.root_keys[0]] {
        assert!(fleet.trust.update(&envelope).is_err());
        envelope = add_signature(&envelope, Role::Root, &fleet.fleet, key).unwrap();
    }
    assert_eq!(fleet.trust.update(&envelope), Ok(RootUpdate::Adopted));
}

#[test]
fn versions_have_no_gaps_and_no_second_history() {
    let mut fleet = TestFleet::new();
    let mut next = fleet.next_root();
    next.revision.version = 3;
    let gap = TrustError::Gap { found: 3, newest: 1 };
    assert_eq!(fleet.trust.update(&next.seal(&two(&fleet.root_keys)).unwrap()), Err(gap));
    next.revision.version = 1;
    next.roles.remove(&Role::Config);
    let fork = TrustError::Equivocation { version: 1 };
    assert_eq!(fleet.trust.update(&next.seal(&two(&fleet.root_keys)).unwrap()), Err(fork));
    // The same document with another pair of signatures is no second history.
    let other_pair = fleet.trust.current().seal(&[&fleet.root_keys[2]]).unwrap();
    assert_eq!(fleet.trust.update(&other_pair), Ok(RootUpdate::Known));
}

#[test]
fn the_epoch_stays_or_rises_by_one() {
    let mut fleet = TestFleet::new();
    for (epoch, taken) in [(0, false), (3, false), (u64::MAX >> 1, false), (2, true)] {
        let mut next = fleet.next_root();
        next.revision.epoch = epoch;
        let outcome = fleet.trust.update(&next.seal(&two(&fleet.root_keys)).unwrap());
        match taken {
            true => assert_eq!(outcome, Ok(RootUpdate::Adopted)),
            false => assert_eq!(outcome, Err(TrustError::Epoch { version: 2, from: 1, to: epoch })),
        }
    }
}

#[test]
fn the_fleet_never_changes() {
    let mut fleet = TestFleet::new();
    let mut next = fleet.next_root();
    next.fleet = "other".parse().unwrap();
    // Sealed for the other fleet the signatures do not hold; sealed for this one the name inside is wrong.
    assert_eq!(fleet.trust.update(&next.seal(&two(&fleet.root_keys)).unwrap()).unwrap_err().code(), "bad_signature");
    let inside = sign(Role::Root, &fleet.fleet, &next.encode(), &two(&fleet.root_keys)).unwrap();
    let refused = TrustError::Fleet { found: next.fleet, expected: fleet.fleet.clone() };
    assert_eq!(fleet.trust.update(&inside), Err(refused));
}

#[test]
fn sizes_are_bounded() {
    let mut fleet = TestFleet::new();
    let large = vec![0; ROOT_BYTES_MAX + 1];
    assert_eq!(fleet.trust.update(&large), Err(TrustError::TooLarge { bytes: ROOT_BYTES_MAX + 1 }));
    while fleet.trust.roots().len() < ROOTS_MAX {
        let next = fleet.next_root().seal(&two(&fleet.root_keys)).unwrap();
        fleet.trust.update(&next).unwrap();
    }
    let next = fleet.next_root().seal(&two(&fleet.root_keys)).unwrap();
    assert_eq!(fleet.trust.update(&next), Err(TrustError::TooMany));
}

#[test]
fn a_refused_document_changes_nothing() {
    let mut fleet = TestFleet::new();
    let before = fleet.trust.current().clone();
    let mut changed = fleet.next_root().seal(&two(&fleet.root_keys)).unwrap();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    assert_eq!(fleet.trust.update(&changed).unwrap_err().code(), "bad_signature");
    assert_eq!((fleet.trust.current(), fleet.trust.roots().len()), (&before, 1));
}
