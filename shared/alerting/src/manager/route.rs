//! The tree of routes: which receivers an alert goes to, and how it is grouped on its way.
//!
//! A tree is a list in depth-first order, so that a route is a number. Children are asked in order; the first that matches
//! ends the search unless it says `continue`, which is about its siblings alone. A route stands for itself only where no
//! child matched. Receiver, grouping and timers are inherited; matchers, time intervals and `continue` are not.

use super::matcher::{self, Matcher};
use skerry_model::Labels;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `group_wait` where nothing is said.
pub const GROUP_WAIT: Duration = Duration::from_secs(30);
/// `group_interval` where nothing is said.
pub const GROUP_INTERVAL: Duration = Duration::from_secs(300);
/// `repeat_interval` where nothing is said.
pub const REPEAT_INTERVAL: Duration = Duration::from_secs(4 * 3600);

/// What alerts of a route are grouped by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GroupBy {
    /// `['...']`: every alert is a group of its own, whatever `labels` says.
    pub all: bool,
    /// These labels, sorted; none at all makes one group.
    pub labels: Arc<[Box<str>]>,
}

impl GroupBy {
    /// The labels of the group that an alert belongs to. A label that the alert lacks is left out.
    #[must_use]
    pub fn of(&self, alert: &Labels) -> Labels {
        if self.all {
            return alert.clone();
        }
        let pairs = self.labels.iter().map(|name| (&**name, alert.value(name)));
        // Names are unique and the values are an alert's: no bound can be exceeded.
        Labels::new(pairs).unwrap_or_default()
    }
}

/// A route with what it inherited.
#[derive(Debug, Clone)]
pub struct Route {
    /// Name of the receiver.
    pub receiver: Arc<str>,
    /// Grouping.
    pub group_by: GroupBy,
    /// From the first alert of a group to its first notice.
    pub group_wait: Duration,
    /// Between notices of a group; never zero.
    pub group_interval: Duration,
    /// After which a notice is repeated though nothing changed; never zero.
    pub repeat_interval: Duration,
    /// Conditions, sorted.
    pub matchers: Vec<Matcher>,
    /// Whether siblings behind it are asked too.
    pub continues: bool,
    /// Names of the intervals during which it is silent.
    pub mute_times: Vec<Box<str>>,
    /// Names of the intervals outside which it is silent; none of them means always active.
    pub active_times: Vec<Box<str>>,
    /// `labels:` of the route with those inherited: templates for its notices.
    pub labels: BTreeMap<String, String>,
    /// Matchers from the root to here: `{}/{a="b"}`. Two routes may have the same.
    pub key: Arc<str>,
    /// Its place in the tree: that of the parent, a slash, and the place among its siblings. Unique.
    pub id: Arc<str>,
    /// How many routes stand above it.
    pub depth: usize,
    /// The number behind its last descendant.
    pub end: usize,
}

/// The tree.
#[derive(Debug, Clone, Default)]
pub struct Routes(pub(super) Vec<Route>);

impl Routes {
    /// Every route, the root first, depth first.
    #[must_use]
    pub fn all(&self) -> &[Route] {
        &self.0
    }

    /// The route of that number.
    #[must_use]
    pub fn route(&self, index: usize) -> Option<&Route> {
        self.0.get(index)
    }

    /// Numbers of the routes that labels match, in order.
    #[must_use]
    pub fn matching(&self, labels: &Labels) -> Vec<usize> {
        let mut found = Vec::new();
        if !self.0.is_empty() {
            self.search(0, labels, &mut found);
        }
        found
    }

    /// The routes that labels match, in order.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> Vec<&Route> {
        self.matching(labels).into_iter().map(|index| &self.0[index]).collect()
    }

    /// Whether the route or one below it matched; recursion is bounded by the depth that files may have.
    fn search(&self, index: usize, labels: &Labels, found: &mut Vec<usize>) -> bool {
        let route = &self.0[index];
        if !matcher::matches_all(&route.matchers, labels) {
            return false;
        }
        let before = found.len();
        let mut child = index + 1;
        while child < route.end {
            let next = self.0[child].end;
            if self.search(child, labels, found) && !self.0[child].continues {
                break;
            }
            child = next;
        }
        if found.len() == before {
            found.push(index);
        }
        true
    }
}
