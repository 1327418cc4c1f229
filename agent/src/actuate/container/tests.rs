//! Plans and clones of described containers.

use super::clone::{ask, provide, recipe};
use super::family::{Family, NUMBER_LABEL, PROJECT_LABEL};
use super::plan::{Step, Then, steps};
use super::*;
use crate::docker::{Listed, Status};
use proptest::prelude::*;
use serde_json::{Value, json};
use skerry_model::UnixMillis;
use skerry_scaling::target::TargetKind;
use skerry_scaling::vpa::Amounts;

fn id(number: u32) -> String {
    format!("{number:064x}")
}

fn target(style: Style) -> TargetRef {
    match style {
        Style::Service => TargetRef { kind: TargetKind::Container, name: "web".into(), scope: String::new() },
        Style::Compose => TargetRef { kind: TargetKind::ComposeService, name: "web".into(), scope: "shop".into() },
    }
}

fn listed(number: u32, status: Status, labels: &[(&str, String)]) -> Listed {
    Listed {
        id: id(number),
        name: format!("web-{number}"),
        image: "lines:1".into(),
        image_id: String::new(),
        status,
        told: String::new(),
        labels: labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        created: UnixMillis(0),
    }
}

fn template_json() -> Value {
    json!({
        "Id": id(1), "Name": "/web", "Image": "sha256:00",
        "Config": {"Image": "lines:1", "Hostname": &id(1)[..12], "Labels": {SERVICE_LABEL: "web"}},
        "HostConfig": {"NetworkMode": "none"},
    })
}

/// A family as `T` (template) and digits (clones) in lower case where they do not run, `!` behind one of an older template.
fn family(text: &str) -> Family {
    let mut members = Vec::new();
    for (at, letter) in text.chars().enumerate() {
        let is_old = text.chars().nth(at + 1) == Some('!');
        match letter {
            'T' | 't' => {
                let status = if letter == 'T' { Status::Running } else { Status::Exited };
                members.push(listed(1, status, &[(SERVICE_LABEL, "web".into())]));
            }
            'A'..='Z' | 'a'..='z' => {
                let number = u32::from(letter.to_ascii_uppercase()) - u32::from('A') + 2;
                let status = if letter.is_ascii_uppercase() { Status::Running } else { Status::Exited };
                let labels = [
                    (SERVICE_LABEL, "web".into()),
                    (REPLICA_LABEL, number.to_string()),
                    (TEMPLATE_LABEL, id(u32::from(!is_old))),
                ];
                members.push(listed(number, status, &labels));
            }
            _ => {}
        }
    }
    Family::new(Style::Service, &target(Style::Service), members).unwrap()
}

fn planned(text: &str, replicas: u32, ending: &[u32]) -> Result<String, String> {
    let family = family(text);
    let template = family.template().map(|_| Container::read(template_json()).unwrap());
    let ending: Vec<String> = ending.iter().map(|number| id(*number)).collect();
    let steps = steps(&target(Style::Service), &family, template.as_ref(), replicas, &ending);
    steps.map(|steps| shown(&steps)).map_err(|error| error.reason.to_owned())
}

fn shown(steps: &[Step<'_>]) -> String {
    let shown = steps.iter().map(|step| match step {
        Step::Discard(member) => format!("rm {}", member.number),
        Step::End(member, Then::Keep) => format!("stop {}", member.number),
        Step::End(member, Then::Remove) => format!("end {}", member.number),
        Step::Start(member) => format!("start {}", member.number),
        Step::Make => "make".into(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

#[test]
fn plans() {
    for (what, there, replicas, ending, expected) in [
        ("as it is", "TAB", 3, &[][..], ""),
        ("up", "T", 3, &[], "make, make"),
        ("down: highest first", "TABC", 2, &[], "end 4, end 3"),
        ("none: the template last, and it stays", "TAB", 0, &[], "end 3, end 2, stop 1"),
        ("none, and none is", "t", 0, &[], ""),
        ("from none: the template first", "t", 2, &[], "start 1, make"),
        ("a stopped clone is started before one is made", "Tab", 4, &[], "start 2, start 3, make"),
        ("a stopped clone that is not needed goes", "Tab", 2, &[], "rm 3, start 2"),
        ("one of an older template is not started", "Tab!", 3, &[], "rm 3, start 2, make"),
        ("those that run stay, whatever their number", "tAB", 2, &[], ""),
        ("a stopped template is started before clones are made", "tA", 3, &[], "start 1, make"),
        ("one that is ending counts as gone and is not told again", "TABC", 2, &[4], "end 3"),
        ("and another takes its place", "TAB", 3, &[3], "make"),
        ("clones alone can go", "AB", 1, &[], "end 3"),
        ("and not come", "AB", 3, &[], "NotFound"),
        ("too many", "T", 257, &[], "Invalid"),
    ] {
        let plan = planned(there, replicas, ending).unwrap_or_else(|reason| reason);
        assert_eq!(plan, expected, "{what}: {there} to {replicas}");
    }
}

#[test]
fn a_clone_that_never_ran_may_be_in_some_of_its_networks_alone() {
    for (networks, expected) in [(json!({"a": {}}), "start 2"), (json!({"a": {}, "b": {}}), "rm 2, make")] {
        let mut family = family("Ta");
        family.members[1].listed.status = Status::Created;
        let mut template = template_json();
        template["NetworkSettings"] = json!({ "Networks": networks });
        let template = Container::read(template).unwrap();
        let steps = steps(&target(Style::Service), &family, Some(&template), 2, &[]).unwrap();
        assert_eq!(shown(&steps), expected);
    }
}

/// `docker commit` gives an image the labels of the container that it was made of, and thus to whatever runs from it.
#[test]
fn what_runs_from_an_image_of_a_replica_is_left_alone() {
    let named = |name: &str, listed: Listed| Listed { name: name.into(), ..listed };
    let clone = |number: u32| {
        let labels = [(SERVICE_LABEL, "web".into()), (REPLICA_LABEL, number.to_string()), (TEMPLATE_LABEL, id(1))];
        listed(number, Status::Running, &labels)
    };
    let template = listed(1, Status::Running, &[(SERVICE_LABEL, "web".into())]);
    let copy = Listed { id: id(99), ..named("happy_curie", clone(2)) };
    let far = Listed { id: id(98), ..named("web-0", clone(u32::MAX)) };
    let members = vec![template, clone(2), copy, far];
    let family = Family::new(Style::Service, &target(Style::Service), members).unwrap();
    let names: Vec<&str> = family.members.iter().map(|member| member.listed.name.as_str()).collect();
    assert_eq!(names, ["web-1", "web-2"]);
    // With compose the copy must not become the template of the others either.
    let of_compose = |name: &str, number: u32| {
        let labels = [
            (PROJECT_LABEL, "shop".into()),
            ("com.docker.compose.service", "web".into()),
            (NUMBER_LABEL, number.to_string()),
        ];
        named(name, listed(number, Status::Running, &labels))
    };
    for (names, expected) in [
        (&[("admiring_bell", 1), ("shop-web-1", 1), ("shop-web-2", 2)][..], &["shop-web-1", "shop-web-2"][..]),
        (&[("shop_web_1", 1), ("shop-web-2", 2), ("x", 2)], &["shop_web_1", "shop-web-2"]),
        (&[("own-name", 1)], &["own-name"]),
    ] {
        let members = names.iter().map(|(name, number)| of_compose(name, *number)).collect();
        let family = Family::new(Style::Compose, &target(Style::Compose), members).unwrap();
        let names: Vec<&str> = family.members.iter().map(|member| member.listed.name.as_str()).collect();
        assert_eq!(names, expected);
        assert_eq!(family.template().map(|member| member.listed.name.as_str()), Some(expected[0]));
    }
}

proptest! {
    /// Whatever there is: done once, the plan leads to as many as wanted, and what it leaves is left again.
    #[test]
    fn plans_come_to_their_end(there in "[Tt]?[AaBbCcDd]{0,4}", replicas in 0_u32..8) {
        let unique: std::collections::BTreeSet<char> = there.chars().map(|letter| letter.to_ascii_uppercase()).collect();
        prop_assume!(unique.len() == there.len());
        let Ok(plan) = planned(&there, replicas, &[]) else { return Ok(()) };
        let count = |word: &str| plan.split(", ").filter(|step| step.split(' ').next() == Some(word)).count();
        let running = there.chars().filter(char::is_ascii_uppercase).count();
        let after = running + count("make") + count("start") - count("end") - count("stop");
        prop_assert_eq!(after, replicas as usize);
        prop_assert!(!(plan.contains("end 1") || plan.contains("rm 1")), "the template is never removed");
    }
}

#[test]
fn what_is_not_under_the_labels_is_not_of_the_family() {
    let service = |pairs: &[(&str, &str)]| {
        let labels: Vec<(&str, String)> = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        listed(7, Status::Running, &labels)
    };
    // A runtime that does not filter, and labels of another form.
    for (what, entry) in [
        ("no label", service(&[])),
        ("another service", service(&[(SERVICE_LABEL, "db")])),
        ("no number", service(&[(SERVICE_LABEL, "web"), (REPLICA_LABEL, "two")])),
        ("the template's number", service(&[(SERVICE_LABEL, "web"), (REPLICA_LABEL, "1")])),
    ] {
        let family = Family::new(Style::Service, &target(Style::Service), vec![entry]).unwrap();
        assert!(family.members.is_empty(), "{what}");
    }
    let of_shop = [(PROJECT_LABEL, "shop"), ("com.docker.compose.service", "web"), (NUMBER_LABEL, "3")];
    let compose = Family::new(Style::Compose, &target(Style::Compose), vec![service(&of_shop)]).unwrap();
    assert!(compose.template().is_some_and(|template| template.number == 3), "the lowest there is");
    let going = Listed { status: Status::Removing, ..service(&of_shop) };
    assert!(Family::new(Style::Compose, &target(Style::Compose), vec![going]).unwrap().members.is_empty());
    // Docker lists what it could not remove as what it removes: clones of ours are told from what others remove.
    let mut left = family("TA").members;
    left.iter_mut().for_each(|member| member.listed.status = Status::Removing);
    let left = Family::new(Style::Service, &target(Style::Service), left.into_iter().map(|one| one.listed).collect());
    let left: Vec<(u32, bool, bool)> =
        left.unwrap().members.iter().map(|one| (one.number, one.is_left(), one.is_active())).collect();
    assert_eq!(left, [(2, true, false)]);
    assert_eq!((family("TAC").free_number(2), family("T").free_number(2), family("TAB").free_number(2)), (3, 2, 4));
}

/// What a clone of a template with these changes is like.
fn cloned(style: Style, changes: Value) -> Result<clone::Recipe, ActuatorError> {
    let mut raw = template_json();
    for (pointer, value) in changes.as_object().into_iter().flatten() {
        let mut at = &mut raw;
        for key in pointer.split('.') {
            at = &mut at[key];
        }
        *at = value.clone();
    }
    recipe(style, &target(style), &Container::read(raw).unwrap(), 2)
}

#[test]
fn clones_leave_out_what_is_one_containers_own() {
    let short = id(1)[..12].to_owned();
    for (what, changes, pointer, expected) in [
        ("made-up host name", json!({}), "/Hostname", Value::Null),
        ("given host name", json!({"Config.Hostname": "till"}), "/Hostname", json!("till")),
        (
            "the node's host name",
            json!({"Config.Hostname": "pi", "HostConfig.NetworkMode": "host"}),
            "/Hostname",
            Value::Null,
        ),
        ("Podman's variable", json!({"Config.Env": [format!("HOSTNAME={short}"), "A=b"]}), "/Env", json!(["A=b"])),
        (
            "compose's mark of a replaced container",
            json!({"Config.Env": ["A=b", format!("affinity:container=={}", id(9))]}),
            "/Env",
            json!(["A=b"]),
        ),
        ("a given variable", json!({"Config.Env": ["HOSTNAME=till"]}), "/Env", json!(["HOSTNAME=till"])),
        (
            "compose's labels",
            json!({"Config.Labels": {"com.docker.compose.project": "x", "team": "a"}}),
            "/Labels/com.docker.compose.project",
            Value::Null,
        ),
        (
            "other labels",
            json!({"Config.Labels": {"com.docker.compose.project": "x", "team": "a"}}),
            "/Labels/team",
            json!("a"),
        ),
        (
            "Podman's limits",
            json!({"HostConfig.Ulimits": [{"Name": "RLIMIT_NOFILE", "Soft": 1}]}),
            "/HostConfig/Ulimits/0/Name",
            json!("nofile"),
        ),
        (
            "one form of a limit",
            json!({"HostConfig.NanoCpus": 5, "HostConfig.CpuQuota": 5}),
            "/HostConfig/CpuQuota",
            Value::Null,
        ),
        (
            "the other form",
            json!({"HostConfig.NanoCpus": 0, "HostConfig.CpuQuota": 5}),
            "/HostConfig/CpuQuota",
            json!(5),
        ),
        (
            "links",
            json!({"HostConfig.Links": ["/db:/web/data", "odd"]}),
            "/HostConfig/Links",
            json!(["db:data", "odd"]),
        ),
        (
            "an anonymous volume by name",
            json!({"HostConfig.Binds": [format!("{}:/new:rw,nosuid", id(9)), "data:/data:ro"]}),
            "/Volumes",
            json!({"/new": {}}),
        ),
        (
            "a named volume",
            json!({"HostConfig.Binds": [format!("{}:/new:rw", id(9)), "data:/data:ro"]}),
            "/HostConfig/Binds",
            json!(["data:/data:ro"]),
        ),
        (
            "an anonymous mount",
            json!({"HostConfig.Mounts": [{"Type": "volume", "Source": id(9), "Target": "/a"}]}),
            "/HostConfig/Mounts/0/Source",
            json!(""),
        ),
        (
            "a bound folder",
            json!({"HostConfig.Mounts": [{"Type": "bind", "Source": "/srv", "Target": "/a"}]}),
            "/HostConfig/Mounts/0/Source",
            json!("/srv"),
        ),
        (
            "a range of ports",
            json!({"HostConfig.PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}]}}),
            "/HostConfig/PortBindings/80~1tcp/0/HostPort",
            json!("8000-8010"),
        ),
        (
            "a port that the runtime chooses",
            json!({"HostConfig.PortBindings": {"80/tcp": [{"HostPort": ""}], "81/tcp": null}}),
            "/HostConfig/PortBindings/81~1tcp",
            Value::Null,
        ),
        (
            "fixed ports count for nothing on the node's network",
            json!({"HostConfig.NetworkMode": "host", "HostConfig.PortBindings": {"80/tcp": [{"HostPort": "80"}]}}),
            "/HostConfig/NetworkMode",
            json!("host"),
        ),
        ("--rm", json!({"HostConfig.AutoRemove": true}), "/HostConfig/AutoRemove", json!(true)),
    ] {
        let recipe = cloned(Style::Service, changes).unwrap();
        assert_eq!(recipe.body.pointer(pointer).cloned().unwrap_or_default(), expected, "{what}");
        assert_eq!(recipe.name, "web-2");
    }
    let fixed = json!({"HostConfig.PortBindings": {"80/tcp": [{"HostPort": "8000-8010"}, {"HostPort": "8080"}]}});
    let refused = cloned(Style::Service, fixed).unwrap_err();
    assert!(refused.reason == "Invalid" && refused.message.contains("8080:80/tcp"), "{refused}");
}

#[test]
fn clones_have_the_networks_of_their_template() {
    let networks = json!({
        "HostConfig.NetworkMode": "front",
        "NetworkSettings.Networks": {
            "front": {"Aliases": ["till", "web", &id(1)[..12]], "IPAMConfig": {"IPv4Address": "10.0.0.9"}, "IPAddress": "10.0.0.9", "DriverOpts": {"a": "b"}},
            "back": {"Aliases": null, "MacAddress": "02:42:00:00:00:01"},
        },
    });
    let recipe = cloned(Style::Service, networks).unwrap();
    assert_eq!(
        recipe.body["NetworkingConfig"],
        json!({"EndpointsConfig": {"front": {"Aliases": ["till", "web-2"], "DriverOpts": {"a": "b"}}}})
    );
    assert_eq!(recipe.networks, [("back".to_owned(), json!({"Aliases": ["web-2"]}))]);
    for mode in ["default", "bridge", "none", "host"] {
        let name = if mode == "default" { "bridge" } else { mode };
        let builtin = json!({"HostConfig.NetworkMode": mode, "NetworkSettings.Networks": {name: {"Aliases": null}}});
        let recipe = cloned(Style::Service, builtin).unwrap();
        assert_eq!(
            (&recipe.body["NetworkingConfig"]["EndpointsConfig"], recipe.networks.len()),
            (&json!({}), 0),
            "{mode}"
        );
    }
    let shared =
        json!({"HostConfig.NetworkMode": "container:abc", "Config.Hostname": "x", "NetworkSettings.Networks": {}});
    assert_eq!(cloned(Style::Service, shared).unwrap().body.get("Hostname"), None);
}

#[test]
fn compose_names_are_told_from_fixed_ones() {
    for (name, expected) in
        [("/shop-web-1", Some("shop-web-2")), ("/shop_web_1", Some("shop_web_2")), ("/keeper", None), ("/web1", None)]
    {
        let labels =
            json!({NUMBER_LABEL: "1", "com.docker.compose.replace": "x", "com.docker.compose.config-hash": "h"});
        let recipe = cloned(Style::Compose, json!({"Name": name, "Config.Labels": labels}));
        match expected {
            Some(expected) => {
                let recipe = recipe.unwrap();
                assert_eq!(recipe.name, expected);
                assert_eq!(recipe.body["Labels"], json!({NUMBER_LABEL: "2", "com.docker.compose.config-hash": "h"}));
            }
            None => assert!(recipe.unwrap_err().message.contains("container_name"), "{name}"),
        }
    }
}

#[test]
fn what_is_recommended_moves_limits_along() {
    let new = Given { cpu_milli: Some(300), memory: Some(96 << 20), ..Given::default() };
    let labels = |cpu: &str, memory: &str| json!({CPU_REQUEST_LABEL: cpu, MEMORY_REQUEST_LABEL: memory});
    for (what, mut body, host) in [
        ("nothing set", json!({"HostConfig": {}, "Labels": {}}), json!({})),
        (
            "limits alone: they are what is asked for",
            json!({"HostConfig": {"NanoCpus": 500_000_000, "Memory": 64 << 20, "MemorySwap": 1}, "Labels": {}}),
            json!({"NanoCpus": 300_000_000, "Memory": 96 << 20, "MemorySwap": 0}),
        ),
        (
            "twice what is asked for",
            json!({"HostConfig": {"CpuQuota": 40_000, "Memory": 128 << 20}, "Labels": labels("200m", "64Mi")}),
            json!({"CpuQuota": 60_000, "Memory": 192 << 20, "MemorySwap": 0}),
        ),
        (
            "a reservation",
            json!({"HostConfig": {"Memory": 64 << 20, "MemoryReservation": 32 << 20}, "Labels": {}}),
            json!({"Memory": 192 << 20, "MemorySwap": 0, "MemoryReservation": 96 << 20}),
        ),
    ] {
        provide(&mut body, &new);
        let mut told = labels("300m", "100663296");
        told[SIZED_LABEL] = "1".into();
        assert_eq!((&body["HostConfig"], &body["Labels"]), (&host, &told), "{what}");
    }
    // A template that was given twice as much while it ran has limits of now and labels of then.
    let mut body = json!({"HostConfig": {"NanoCpus": 400_000_000, "Memory": 256 << 20, "CpuShares": 205}, "Labels": labels("100m", "64Mi")});
    ask(&mut body, Amounts { cpu_milli: 200, memory: 128 << 20 });
    assert_eq!(body["Labels"], labels("200m", "134217728"));
    provide(&mut body, &new);
    let host = json!({"NanoCpus": 600_000_000, "Memory": 192 << 20, "MemorySwap": 0, "CpuShares": 308});
    assert_eq!(body["HostConfig"], host, "the limits keep the proportion that they have");
    let before = json!({"HostConfig": {"NanoCpus": 5, "Memory": 64, "MemorySwap": 1}, "Labels": {}});
    let mut body = before.clone();
    provide(&mut body, &Given::default());
    assert_eq!(body, before, "of what no policy controls nothing is given");
}
