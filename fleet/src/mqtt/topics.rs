//! Which topics a node may use: its own and no others.

use mqtt_proto::QoS;
use skerry_model::NodeId;
use skerry_wire::{DownLeaf, Topic, UpLeaf};

/// The leaf that `topic` names, where `node` may publish to it.
pub(super) fn publishable(node: &NodeId, topic: &str) -> Option<UpLeaf> {
    match Topic::parse(topic) {
        Ok(Topic::Up(owner, leaf)) if owner == *node => Some(leaf),
        _ => None,
    }
}

/// What a filter asks for below a node's own `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// `down/+` or `down/#`.
    Every,
    One(DownLeaf),
}

impl Wanted {
    fn parse(node: &NodeId, filter: &str) -> Option<Self> {
        let rest = filter.strip_prefix("skerry/v1/")?.strip_prefix(node.as_str())?.strip_prefix("/down/")?;
        match rest {
            "+" | "#" => Some(Self::Every),
            leaf => DownLeaf::ALL.into_iter().find(|known| known.as_str() == leaf).map(Self::One),
        }
    }
}

/// A session's subscriptions: at most one per filter that is allowed, so the list is short.
#[derive(Debug, Default)]
pub(super) struct Subscriptions(Vec<(Wanted, QoS)>);

impl Subscriptions {
    /// Takes a subscription, with at most QoS 1; `None` where it is not allowed.
    pub(super) fn add(&mut self, node: &NodeId, filter: &str, asked: QoS) -> Option<QoS> {
        let wanted = Wanted::parse(node, filter)?;
        let granted = asked.min(QoS::Level1);
        self.0.retain(|(known, _)| *known != wanted);
        self.0.push((wanted, granted));
        Some(granted)
    }

    /// Gives a subscription up; false where there was none.
    pub(super) fn remove(&mut self, node: &NodeId, filter: &str) -> bool {
        let before = self.0.len();
        let wanted = Wanted::parse(node, filter);
        self.0.retain(|(known, _)| Some(*known) != wanted);
        self.0.len() < before
    }

    /// Whether the node hears anything at all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest QoS that subscriptions to `leaf` were granted; `None` without one.
    pub(super) fn qos(&self, leaf: DownLeaf) -> Option<QoS> {
        self.0
            .iter()
            .filter(|(wanted, _)| matches!(wanted, Wanted::Every) || *wanted == Wanted::One(leaf))
            .map(|(_, qos)| *qos)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeId {
        "pi-4".parse().unwrap()
    }

    #[test]
    fn a_node_publishes_below_its_own_up_alone() {
        assert_eq!(publishable(&node(), "skerry/v1/pi-4/up/metrics"), Some(UpLeaf::Metrics));
        for foreign in [
            "skerry/v1/pi-5/up/metrics",
            "skerry/v1/pi-4/down/ack",
            "skerry/v1/pi-4/up/else",
            "skerry/v1/pi-4/up/metrics/x",
            "skerry/v1/pi-4/up/",
            "$SYS/x",
            "",
        ] {
            assert_eq!(publishable(&node(), foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_node_hears_its_own_down_alone() {
        let mut subscriptions = Subscriptions::default();
        for own in ["skerry/v1/pi-4/down/+", "skerry/v1/pi-4/down/#", "skerry/v1/pi-4/down/ack"] {
            assert_eq!(subscriptions.add(&node(), own, QoS::Level2), Some(QoS::Level1), "{own}");
        }
        for foreign in [
            "#",
            "+",
            "skerry/#",
            "skerry/v1/+/down/+",
            "skerry/v1/pi-4/#",
            "skerry/v1/pi-4/down",
            "skerry/v1/pi-4/+/ack",
            "skerry/v1/pi-4/up/hello",
            "skerry/v1/pi-45/down/+",
            "skerry/v1/pi-4/down/nonsense",
            "$share/g/skerry/v1/pi-4/down/+",
        ] {
            assert_eq!(subscriptions.add(&node(), foreign, QoS::Level1), None, "{foreign}");
        }
    }

    #[test]
    fn the_best_subscription_counts() {
        let mut subscriptions = Subscriptions::default();
        assert_eq!(subscriptions.qos(DownLeaf::Ack), None);
        subscriptions.add(&node(), "skerry/v1/pi-4/down/#", QoS::Level0);
        subscriptions.add(&node(), "skerry/v1/pi-4/down/config", QoS::Level1);
        assert_eq!(subscriptions.qos(DownLeaf::Ack), Some(QoS::Level0));
        assert_eq!(subscriptions.qos(DownLeaf::Config), Some(QoS::Level1));
        assert!(subscriptions.remove(&node(), "skerry/v1/pi-4/down/+"), "the same as #");
        assert!(!subscriptions.remove(&node(), "skerry/v1/pi-4/down/ack"));
        assert_eq!(subscriptions.qos(DownLeaf::Ack), None);
        assert!(!subscriptions.is_empty());
    }
}
