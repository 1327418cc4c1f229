//! Rules that come with the program: ordinary rule files, to be taken as they are or copied and changed.

/// Names of the packs that nodes evaluate over their own series.
pub const PACKS: &[&str] = &["node", "container", "disk", "thermal", "flash"];
/// Names of the packs for the centre.
pub const FLEET_PACKS: &[&str] = &["fleet"];

/// The rule file of a pack, by its name in [`PACKS`] or [`FLEET_PACKS`].
#[must_use]
pub fn pack(name: &str) -> Option<&'static str> {
    match name {
        "node" => Some(include_str!("../../packs/node.yml")),
        "container" => Some(include_str!("../../packs/container.yml")),
        "disk" => Some(include_str!("../../packs/disk.yml")),
        "thermal" => Some(include_str!("../../packs/thermal.yml")),
        "flash" => Some(include_str!("../../packs/flash.yml")),
        "fleet" => Some(include_str!("../../packs/fleet.yml")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, RuleFile};
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Every alert of a place has a name of its own, a severity, and says what is wrong and what to do.
    #[test]
    fn packs_are_sound_and_say_what_to_do() {
        for names in [PACKS, FLEET_PACKS] {
            let (mut alerts, mut groups) = (BTreeSet::new(), BTreeSet::new());
            for name in names {
                let text = pack(name).expect("listed");
                let (file, remarks) = RuleFile::parse(name, text).unwrap_or_else(|faults| panic!("{name}: {faults}"));
                assert!(remarks.is_empty(), "{name}: {remarks:?}");
                for group in &file.groups {
                    assert!(groups.insert(group.name.clone()), "group {} stands twice", group.name);
                }
                for rule in file.groups.iter().flat_map(|group| &group.rules) {
                    let Kind::Alerting { annotations, .. } = &rule.kind else { panic!("{} records", rule.name) };
                    assert!(alerts.insert(rule.name.clone()), "alert {} stands twice", rule.name);
                    let told: Vec<&str> = annotations.iter().map(|(name, _)| name.as_str()).collect();
                    assert_eq!(told, ["summary", "description"], "{}", rule.name);
                    let [(label, severity)] = &rule.labels[..] else { panic!("{}: one label", rule.name) };
                    assert_eq!(label, "severity");
                    assert!(["critical", "warning", "info"].contains(&severity.as_str()), "{severity}");
                }
            }
        }
        assert_eq!(pack("none"), None);
    }

    /// Wear is told by node and centre under one name, so that it is told once: both have to ask for the same.
    #[test]
    fn what_node_and_centre_both_tell_is_the_same_alert() {
        let of = |name: &str| {
            let (file, _) = RuleFile::parse(name, pack(name).expect("listed")).expect("sound");
            let rules = file.groups.into_iter().flat_map(|group| group.rules);
            rules.map(|rule| (rule.name.to_string(), (rule.expr, rule.labels))).collect::<BTreeMap<_, _>>()
        };
        let (node, centre) = (of("flash"), of("fleet"));
        let shared: Vec<_> = centre.iter().filter(|(name, _)| name.starts_with("Flash")).collect();
        assert_eq!(shared.len(), 4);
        assert!(shared.into_iter().all(|(name, rule)| node.get(name) == Some(rule)));
    }
}
