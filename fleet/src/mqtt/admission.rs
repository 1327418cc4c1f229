//! Which keys may come in: a deny-set, and where wanted an allow-set, both changeable at any moment.

use crate::pki::SpkiPin;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// Live list of keys; cheap to clone, all clones share it. A change is seen by every live session at once.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lists: RwLock<Lists>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Lists {
    revoked: HashSet<SpkiPin>,
    allowed: Option<HashSet<SpkiPin>>,
}

impl Admission {
    /// Admits every key of the fleet's CA but the revoked ones.
    pub fn deny(revoked: impl IntoIterator<Item = SpkiPin>) -> Self {
        Self::new(Lists { revoked: revoked.into_iter().collect(), allowed: None })
    }

    /// Admits only keys that are on the list and not revoked.
    pub fn allow(allowed: impl IntoIterator<Item = SpkiPin>, revoked: impl IntoIterator<Item = SpkiPin>) -> Self {
        let allowed = Some(allowed.into_iter().collect());
        Self::new(Lists { revoked: revoked.into_iter().collect(), allowed })
    }

    fn new(lists: Lists) -> Self {
        Self(Arc::new(Inner { lists: RwLock::new(lists), changed: watch::Sender::new(()) }))
    }

    /// Shuts a key out: its sessions are cut and new ones refused.
    pub fn revoke(&self, pin: SpkiPin) {
        self.change(|lists| {
            lists.revoked.insert(pin);
        });
    }

    /// Takes a revocation back.
    pub fn restore(&self, pin: SpkiPin) {
        self.change(|lists| {
            lists.revoked.remove(&pin);
        });
    }

    /// Puts a key on the list of allowed ones. Without such a list, as made by [`Self::deny`], nothing changes.
    pub fn admit(&self, pin: SpkiPin) {
        self.change(|lists| {
            if let Some(allowed) = &mut lists.allowed {
                allowed.insert(pin);
            }
        });
    }

    /// Whether that key may come in now.
    #[must_use]
    pub fn admits(&self, pin: &SpkiPin) -> bool {
        // The sets are sound even if a writer panicked: each change is one insert or remove.
        let lists = self.0.lists.read().unwrap_or_else(PoisonError::into_inner);
        !lists.revoked.contains(pin) && lists.allowed.as_ref().is_none_or(|allowed| allowed.contains(pin))
    }

    /// Tells each change from now on.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    fn change(&self, edit: impl FnOnce(&mut Lists)) {
        edit(&mut self.0.lists.write().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deny_set_wins() {
        let (a, b) = ([1; 32], [2; 32]);
        let list = Admission::allow([a], [b]);
        assert!(list.admits(&a) && !list.admits(&b));
        list.admit(b);
        assert!(!list.admits(&b), "still revoked");
        list.restore(b);
        assert!(list.admits(&b));
        assert!(!list.admits(&[3; 32]), "not on the list");

        let open = Admission::deny([b]);
        assert!(open.admits(&[3; 32]) && !open.admits(&b));
        let clone = open.clone();
        clone.revoke(a);
        assert!(!open.admits(&a));
    }
}
