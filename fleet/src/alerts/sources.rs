//! Who says that an alert fires: its node, the fleet's own rules, or both. Routing knows one alert by its labels; it ends
//! when nobody says any more that it fires.
//!
//! A node says it once, and once that it has ended: in between the alert goes on, however long the node is away. So what
//! routing is told of it is said again from time to time.

use skerry_model::{Alert, Fingerprint, Labels, NodeId, UnixMillis};
use std::collections::HashMap;
use std::time::Duration;

/// How long routing takes a node's alert to go on when nothing is said again.
const GOES_ON: Duration = Duration::from_secs(2 * 3600);
/// Alerts of nodes that may be open; further ones are history and not routed.
pub(super) const OPEN_MAX: usize = 200_000;

/// An alert that a node says fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OfNode {
    /// Number of its row.
    pub(super) id: i64,
    /// Which node.
    pub(super) node: NodeId,
    /// The labels that it is routed by.
    pub(super) labels: Labels,
    /// What people are told.
    pub(super) annotations: Labels,
    /// Since when.
    pub(super) starts_at: UnixMillis,
    /// Where it can be looked at.
    pub(super) generator_url: String,
}

impl OfNode {
    fn alert(&self, ends_at: UnixMillis, now: UnixMillis) -> Alert {
        Alert {
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            starts_at: self.starts_at,
            ends_at,
            is_timeout: false,
            generator_url: self.generator_url.clone(),
            updated_at: now,
        }
    }
}

/// Everything that fires, by who says so.
#[derive(Debug, Default)]
pub(super) struct Sources {
    nodes: HashMap<Fingerprint, OfNode>,
    /// Alerts of the fleet's rules, with the moment until which they fire unless that is said again.
    rules: HashMap<Fingerprint, UnixMillis>,
    /// Alerts that found no room.
    pub(super) left_out: u64,
}

impl Sources {
    /// A node says that an alert fires: what routing is to be told. `None` where there is no room for it.
    pub(super) fn begun(&mut self, alert: OfNode, now: UnixMillis) -> Option<Alert> {
        let fingerprint = Fingerprint::of(&alert.labels);
        if self.nodes.len() >= OPEN_MAX && !self.nodes.contains_key(&fingerprint) {
            self.left_out += 1;
            return None;
        }
        let told = alert.alert(now + GOES_ON, now);
        self.nodes.insert(fingerprint, alert);
        Some(told)
    }

    /// A node's alert has ended: what routing is to be told, unless a rule says that it fires on. An end of an episode
    /// that another one has followed means nothing.
    pub(super) fn ended(&mut self, alert: &OfNode, ends_at: UnixMillis, now: UnixMillis) -> Option<Alert> {
        let fingerprint = Fingerprint::of(&alert.labels);
        match self.nodes.get(&fingerprint) {
            Some(held) if held.id != alert.id => return None,
            _ => self.nodes.remove(&fingerprint),
        };
        let goes_on = self.rules.get(&fingerprint).is_some_and(|until| *until > now);
        (!goes_on).then(|| alert.alert(ends_at.max(alert.starts_at).min(now), now))
    }

    /// The fleet's rules speak of an alert: what routing is to be told, unless it has ended there and a node says that
    /// it fires on.
    pub(super) fn ruled(&mut self, alert: Alert, now: UnixMillis) -> Option<Alert> {
        let fingerprint = alert.fingerprint();
        if !alert.is_resolved(now) {
            self.rules.insert(fingerprint, alert.ends_at);
            return Some(alert);
        }
        self.rules.remove(&fingerprint);
        (!self.nodes.contains_key(&fingerprint)).then_some(alert)
    }

    /// All alerts of nodes, to be said again.
    pub(super) fn again(&mut self, now: UnixMillis) -> Vec<Alert> {
        self.rules.retain(|_, until| *until > now);
        self.nodes.values().map(|alert| alert.alert(now + GOES_ON, now)).collect()
    }

    /// Alerts that these nodes told.
    pub(super) fn of_nodes(&self, nodes: &[NodeId]) -> Vec<OfNode> {
        self.nodes.values().filter(|alert| nodes.contains(&alert.node)).cloned().collect()
    }

    /// How many alerts of nodes are open.
    pub(super) fn open(&self) -> usize {
        self.nodes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::fixture::node;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    fn of_node(id: i64, starts: i64) -> OfNode {
        OfNode {
            id,
            node: node("a"),
            labels: Labels::new([("alertname", "Hot"), ("node", "a")]).unwrap(),
            annotations: Labels::default(),
            starts_at: UnixMillis(starts),
            generator_url: String::new(),
        }
    }

    fn of_rule(ends_at: i64) -> Alert {
        of_node(0, 5).alert(UnixMillis(ends_at), NOW)
    }

    fn after(secs: u64) -> UnixMillis {
        NOW + Duration::from_secs(secs)
    }

    #[test]
    fn an_alert_of_a_node_has_no_end_until_the_node_says_so() {
        let mut sources = Sources::default();
        let told = sources.begun(of_node(1, 7), NOW).unwrap();
        assert_eq!((told.starts_at, told.is_resolved(after(3600))), (UnixMillis(7), false));
        // Weeks later it is said again.
        let later = after(30 * 86_400);
        assert!(sources.again(later).iter().all(|alert| !alert.is_resolved(later + Duration::from_secs(3600))));
        let told = sources.ended(&of_node(1, 7), UnixMillis(9), later).unwrap();
        assert_eq!(told.ends_at, UnixMillis(9));
        assert!(sources.again(later).is_empty());
        // An end by a clock that runs ahead is an end all the same; one before its beginning too.
        sources.begun(of_node(2, 7), NOW);
        assert!(sources.ended(&of_node(2, 7), after(99), NOW).unwrap().is_resolved(NOW));
        sources.begun(of_node(3, 7), NOW);
        assert_eq!(sources.ended(&of_node(3, 7), UnixMillis(1), NOW).unwrap().ends_at, UnixMillis(7));
    }

    #[test]
    fn it_ends_when_neither_node_nor_rule_says_that_it_fires() {
        let mut sources = Sources::default();
        let firing = after(60).0;
        // The rule ends first.
        sources.begun(of_node(1, 7), NOW);
        assert!(sources.ruled(of_rule(firing), NOW).is_some());
        assert_eq!(sources.ruled(of_rule(NOW.0), NOW), None);
        assert!(sources.ended(&of_node(1, 7), NOW, NOW).is_some());
        // The node ends first.
        sources.begun(of_node(2, 7), NOW);
        assert!(sources.ruled(of_rule(firing), NOW).is_some());
        assert_eq!(sources.ended(&of_node(2, 7), NOW, NOW), None);
        assert!(sources.ruled(of_rule(NOW.0), NOW).is_some());
        // A rule that is evaluated no more does not keep it firing.
        sources.begun(of_node(3, 7), NOW);
        sources.ruled(of_rule(firing), NOW);
        assert!(sources.ended(&of_node(3, 7), after(61), after(61)).is_some());
    }

    #[test]
    fn an_end_that_comes_late_does_not_end_the_next_episode() {
        let mut sources = Sources::default();
        sources.begun(of_node(1, 7), NOW);
        sources.begun(of_node(2, 9), NOW);
        assert_eq!(sources.ended(&of_node(1, 7), UnixMillis(9), NOW), None);
        assert_eq!(sources.of_nodes(&[node("a")]).len(), 1);
        assert!(sources.of_nodes(&[node("b")]).is_empty());
    }
}
