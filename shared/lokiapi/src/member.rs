//! The labels by which the centre knows a node's records.

use skerry_model::{Labels, NodeId};
use skerry_promql::Matcher;

/// A node as the centre knows it. Its streams bear its name as `node` and the labels that the admins signed for it.
///
/// A label of such a name that a stream has itself is shown as `exported_NAME`. For metrics it wins over a signed one;
/// here the signed one does, because whole nodes are ruled out by it before anything of theirs is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    added: Labels,
}

impl Member {
    /// This node, with these labels signed.
    #[must_use]
    pub fn new(node: &NodeId, signed: &Labels) -> Self {
        let others = signed.iter().filter(|(name, _)| *name != "node");
        // Signed labels are a set of their own bounds; one that is full leaves no room for the name.
        let added = Labels::new(others.chain([("node", node.as_str())])).unwrap_or_else(|_| signed.clone());
        Self { added }
    }

    /// A stream's labels as the centre shows them.
    #[must_use]
    pub fn show(&self, labels: &Labels) -> Labels {
        let is_added = |name: &str| !self.added.value(name).is_empty();
        let own: Vec<_> = labels.iter().filter(|(name, _)| !is_added(name)).collect();
        let moved: Vec<(String, &str)> = labels
            .iter()
            .filter(|(name, _)| is_added(name))
            .map(|(name, value)| (format!("exported_{name}"), value))
            .filter(|(name, _)| labels.value(name).is_empty() && !is_added(name))
            .collect();
        let pairs = || own.iter().copied().chain(self.added.iter());
        let all = pairs().chain(moved.iter().map(|(name, value)| (name.as_str(), *value)));
        // A label set that is full to its bounds loses what was moved, and then its own: whose it is counts most.
        Labels::new(all).or_else(|_| Labels::new(pairs())).unwrap_or_else(|_| self.added.clone())
    }

    /// Whether streams of the node may meet the conditions, as far as that hangs on the node.
    #[must_use]
    pub fn may_meet(&self, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| match self.added.value(matcher.label()) {
            "" => true,
            value => matcher.matches(value),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skerry_promql::MatchOp;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::new(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn the_centres_labels_win_and_a_streams_own_are_not_lost() {
        let member = Member::new(&"pi".parse().unwrap(), &labels(&[("site", "berlin")]));
        let own = labels(&[("source", "app"), ("site", "mine"), ("node", "other")]);
        let shown = labels(&[
            ("source", "app"),
            ("site", "berlin"),
            ("exported_site", "mine"),
            ("node", "pi"),
            ("exported_node", "other"),
        ]);
        assert_eq!(member.show(&own), shown);
        assert_eq!(member.show(&Labels::default()), labels(&[("node", "pi"), ("site", "berlin")]));
    }

    #[test]
    fn a_full_label_set_still_says_whose_it_is() {
        let member = Member::new(&"pi".parse().unwrap(), &Labels::default());
        let full = Labels::new((0..skerry_model::LABELS_MAX).map(|n| (format!("l{n}"), "v"))).unwrap();
        assert_eq!(member.show(&full), labels(&[("node", "pi")]));
    }

    #[test]
    fn a_node_is_ruled_out_by_what_the_centre_knows_of_it_alone() {
        let member = Member::new(&"pi".parse().unwrap(), &labels(&[("site", "berlin")]));
        for (label, op, value, expected) in [
            ("node", MatchOp::Equal, "pi", true),
            ("node", MatchOp::Regex, "a|b", false),
            ("site", MatchOp::NotEqual, "berlin", false),
            ("site", MatchOp::Equal, "munich", false),
            ("source", MatchOp::Equal, "munich", true),
        ] {
            let matcher = Matcher::new(label, op, value).unwrap();
            assert_eq!(member.may_meet(&[matcher]), expected, "{label} {value}");
        }
    }
}
