use super::*;
use proptest::prelude::*;
use skerry_model::LabelsBuilder;

const MIB: u64 = 1 << 20;

fn size(cpu_milli: u64, mib: u64) -> Resources {
    Resources { cpu_milli, memory_bytes: mib * MIB }
}

/// A node of 4 cores with these policies: name, replicas, pending, priority, MiB of one.
fn node(name: &str, site: &str, mib: u64, used: u64, policies: &[(&str, u32, u32, i32, u64)]) -> NodeCapacity {
    let labels = Labels::new([("site", site)]).unwrap();
    let mut node =
        NodeCapacity { allocatable: size(4000, mib), used: size(1000, used), ..NodeCapacity::new(name, labels) };
    for (policy, current, pending, priority, mib) in policies {
        let capacity = PolicyCapacity {
            current: *current,
            pending: *pending,
            priority: *priority,
            request: if *mib == 0 { Resources::default() } else { size(100, *mib) },
            ..PolicyCapacity::default()
        };
        node.policies.insert((*policy).to_owned(), capacity);
    }
    node
}

fn one(nodes: &[NodeCapacity]) -> SiteCapacity {
    let mut sites = summarize(nodes, None);
    assert_eq!(sites.len(), 1);
    sites.remove(0)
}

#[test]
fn series_become_a_node() {
    let mut node = NodeCapacity::new("pi-1", Labels::default());
    let policy = [("horizontalpodautoscaler", "web")];
    let ours = [("policy", "web"), ("target", "Container/web")];
    let series = |name: &str, labels: &[(&str, &str)], value: f64| {
        let labels =
            labels.iter().fold(LabelsBuilder::metric(name), |labels, (name, value)| labels.label(name, *value));
        (labels.build(), value)
    };
    for (labels, value) in [
        series("kube_horizontalpodautoscaler_spec_min_replicas", &policy, 1.0),
        series("kube_horizontalpodautoscaler_spec_max_replicas", &policy, 9.0),
        series("kube_horizontalpodautoscaler_status_current_replicas", &policy, 3.0),
        series("kube_horizontalpodautoscaler_status_desired_replicas", &policy, 5.0),
        series("skerry_scaling_pending_replicas", &ours, 2.0),
        series("skerry_scaling_priority", &ours, -7.0),
        series("skerry_scaling_replica_request_cpu_cores", &ours, 0.25),
        series("skerry_scaling_replica_request_memory_bytes", &ours, 1048576.0),
        series("skerry_scaling_allocatable_cpu_cores", &[], 4.0),
        series("skerry_scaling_allocatable_memory_bytes", &[], 1e9),
        series("skerry_scaling_used_cpu_cores", &[], 1.5),
        series("skerry_scaling_used_memory_bytes", &[], 5e8),
        series("kube_deployment_spec_replicas", &[("deployment", "shop")], 2.0),
        series("kube_deployment_spec_replicas", &[("deployment", "off")], 0.0),
        // Passed over.
        series("node_load1", &[("policy", "load")], 1.0),
        series("skerry_scaling_pending_replicas", &[], 3.0),
        series("skerry_scaling_pending_replicas", &[("policy", "ended")], f64::NAN),
        series("skerry_scaling_allocatable_cpu_cores", &[], f64::INFINITY),
    ] {
        node.note(&labels, value);
    }
    let web = PolicyCapacity {
        target: "Container/web".into(),
        min: 1,
        max: 9,
        current: 3,
        desired: 5,
        pending: 2,
        priority: -7,
        request: Resources { cpu_milli: 250, memory_bytes: MIB },
    };
    assert_eq!(node.policies, BTreeMap::from([("web".to_owned(), web)]));
    assert!(node.has_workloads);
    assert_eq!(node.allocatable, Resources { cpu_milli: 4000, memory_bytes: 1_000_000_000 });
    assert_eq!(node.used, Resources { cpu_milli: 1500, memory_bytes: 500_000_000 });
    assert_eq!(node.requested(), Resources { cpu_milli: 750, memory_bytes: 3 * MIB });
    node.note(&series("skerry_scaling_pending_replicas", &ours, -3.0).0, -3.0);
    assert_eq!(node.policies["web"].pending, 0);
}

#[test]
fn sites_say_what_they_lack() {
    /// Pending, fits elsewhere, nodes needed, nodes that would do.
    type Lack = (u32, u32, u32, Option<u32>);
    let cases: Vec<(&str, Vec<NodeCapacity>, Lack)> = vec![
        ("nothing", vec![node("a", "", 1000, 300, &[("web", 3, 0, 0, 100)])], (0, 0, 0, Some(1))),
        ("one node more", vec![node("a", "", 1000, 950, &[("web", 9, 2, 0, 100)])], (2, 0, 1, None)),
        (
            "another node has room for some",
            vec![node("a", "", 1000, 1000, &[("web", 10, 5, 0, 100)]), node("b", "", 1000, 800, &[])],
            (5, 2, 1, None),
        ),
        (
            "another node has room for all",
            vec![node("a", "", 1000, 1000, &[("web", 10, 2, 0, 100)]), node("b", "", 1000, 100, &[])],
            (2, 2, 0, Some(2)),
        ),
        // A new node has 1,000 - 100 MiB for replicas, as the others have: nine each.
        ("several", vec![node("a", "", 1000, 1000, &[("web", 9, 20, 0, 100)])], (20, 0, 3, None)),
        // Two of 500 on the first, one of 500 and two of 200 on the second.
        (
            "of several sizes",
            vec![node("a", "", 1000, 1000, &[("big", 2, 3, 0, 500), ("small", 0, 2, 0, 200)])],
            (5, 0, 2, None),
        ),
        ("expendable ones need none", vec![node("a", "", 1000, 950, &[("web", 9, 2, -11, 100)])], (0, 0, 0, Some(1))),
        ("cores lack too", vec![node("a", "", 9000, 900, &[("web", 40, 10, 0, 1)])], (10, 0, 1, None)),
        (
            "fewer would do",
            vec![
                node("a", "", 1000, 400, &[("web", 2, 0, 0, 100)]),
                node("b", "", 1000, 400, &[("web", 2, 0, 0, 100)]),
                node("c", "", 1000, 400, &[("web", 2, 0, 0, 100)]),
            ],
            (0, 0, 0, Some(1)),
        ),
        ("none would do for nothing", vec![node("a", "", 1000, 100, &[("web", 0, 0, 0, 100)])], (0, 0, 0, Some(0))),
        (
            "unknown requests fit onto any other node",
            vec![node("a", "", 1000, 1000, &[("web", 1, 3, 0, 0)])],
            (3, 0, 1, Some(1)),
        ),
    ];
    for (case, nodes, expected) in cases {
        let site = one(&nodes);
        let found = (site.pending, site.fits_elsewhere, site.needs_nodes, site.would_do_with);
        assert_eq!(found, expected, "{case}");
        assert!(site.too_large.is_empty(), "{case}");
    }
    let large = one(&[node("a", "", 1000, 1000, &[("huge", 0, 2, 0, 1500), ("web", 1, 1, 0, 100)])]);
    assert_eq!((large.too_large, large.needs_nodes, large.would_do_with), (vec!["huge".to_owned()], 1, None));
}

#[test]
fn sites_are_told_apart_and_idle_nodes_named() {
    let mut quiet = node("quiet", "north", 1000, 100, &[("web", 0, 0, 0, 10)]);
    quiet.used.cpu_milli = 100;
    let mut unknown = node("unknown", "north", 0, 0, &[]);
    unknown.allocatable = Resources::default();
    let nodes = [
        quiet,
        unknown,
        node("busy", "north", 1000, 500, &[("web", 2, 0, 0, 100)]),
        node("far", "south", 1000, 500, &[("web", 2, 0, 0, 100)]),
        node("lost", "", 1000, 500, &[]),
    ];
    let sites = summarize(&nodes, Some("site"));
    let names: Vec<(&str, u32)> = sites.iter().map(|site| (site.site.as_str(), site.nodes)).collect();
    assert_eq!(names, [("", 1), ("north", 3), ("south", 1)]);
    let north = &sites[1];
    assert_eq!(north.idle, ["quiet"]);
    assert_eq!((north.allocatable, north.used), (size(8000, 2000), size(2100, 600)));
    assert_eq!((north.requested, north.free), (size(200, 200), size(7800, 1400)));
    assert_eq!(summarize(&nodes, None).len(), 1);
    assert_eq!(summarize(&[], Some("site")), []);
}

#[test]
fn a_node_with_a_workload_is_neither_idle_nor_given_up() {
    let quiet = |name: &str, mib: u64, policies: &[(&str, u32, u32, i32, u64)]| NodeCapacity {
        used: size(100, 100),
        ..node(name, "", mib, 100, policies)
    };
    let web = &[("web", 2, 0, 0, 100)];
    let mut nodes = [quiet("large", 2000, web), quiet("small", 500, &[]), quiet("other", 500, &[])];
    let site = one(&nodes);
    assert_eq!((site.would_do_with, site.idle), (Some(1), vec!["small".to_owned(), "other".to_owned()]));
    nodes[1].has_workloads = true;
    let site = one(&nodes);
    assert_eq!((site.would_do_with, site.idle), (Some(1), vec!["other".to_owned()]), "web would fit on it too");
    nodes[2].has_workloads = true;
    assert_eq!((one(&nodes).would_do_with, one(&nodes).idle), (Some(2), Vec::new()));
    // Its replicas need more than the nodes that stay.
    nodes[0].policies.get_mut("web").unwrap().current = 12;
    assert_eq!(one(&nodes).would_do_with, Some(3));
}

proptest! {
    #[test]
    fn what_is_packed_is_all_there(
        nodes in proptest::collection::vec((100..4000u64, 0..4000u64, proptest::collection::vec((0..9u32, 0..9u32, -12..3i32, 0..900u64), 0..4)), 1..8),
    ) {
        let nodes: Vec<NodeCapacity> = nodes.iter().enumerate().map(|(at, (mib, used, policies))| {
            let names: Vec<String> = (0..policies.len()).map(|n| format!("p{n}")).collect();
            let policies: Vec<(&str, u32, u32, i32, u64)> =
                policies.iter().zip(&names).map(|(p, name)| (name.as_str(), p.0, p.1, p.2, p.3)).collect();
            node(&at.to_string(), "", *mib, *used, &policies)
        }).collect();
        let site = one(&nodes);
        prop_assert!(site.fits_elsewhere <= site.pending);
        prop_assert!(site.needs_nodes <= site.pending - site.fits_elsewhere);
        let rest = site.pending - site.fits_elsewhere;
        prop_assert!(rest == 0 || site.needs_nodes > 0 || !site.too_large.is_empty());
        prop_assert!(site.would_do_with.is_none_or(|count| count <= site.nodes));
        // With the nodes it needs, and without what no node holds, all is placed: nothing more is needed.
        let mut more = nodes.clone();
        let largest = nodes.iter().max_by_key(|node| (node.size().memory_bytes, node.size().cpu_milli)).unwrap();
        for at in 0..site.needs_nodes {
            let empty = NodeCapacity { allocatable: largest.size(), used: size(0, 0), ..NodeCapacity::new(&format!("new{at}"), Labels::default()) };
            more.push(empty);
        }
        prop_assert_eq!(one(&more).needs_nodes, 0);
    }
}
