//! Programs that never answer, and one that does, through a real agent: the healthy one waits for none of them longer than
//! the agent says.

use anyhow::ensure;
use skerry_agent::clock::Clock;
use skerry_tests::alone::Alone;
use skerry_tests::lab::wait_for;
use skerry_tests::web::web;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// Six times as many as are asked at once, which took 60 s of each round when each held its turn until its end.
const HUNG: usize = 96;
/// 2 s for every 16 of them, once; the rest is for a machine with other work.
const FIRST_MAX: Duration = Duration::from_secs(12 + 20);
const LATER_MAX: Duration = Duration::from_secs(15);

const HANGS: &str = "#!/bin/sh\nexec sleep 1000000\n";
const WELL: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit 1
case $1 in
get) printf '{"replicas": %s}\n' "$(cat replicas 2>/dev/null || echo 1)" ;;
set) echo "$2" >replicas ;;
esac
"#;

fn policy(name: &str, program: &Path) -> String {
    format!(
        "---\napiVersion: skerry.io/v1\nkind: ScalingPolicy\nmetadata: {{name: {name}}}\nspec:\n  scaleTargetRef: {{kind: Exec, \
         name: {}}}\n  minReplicas: 1\n  maxReplicas: 8\n  metrics:\n  - type: External\n    external:\n      metric: {{name: \
         site_queue}}\n      target: {{type: AverageValue, averageValue: 10}}\n  behavior:\n    scaleUp: {{policies: \
         [{{type: Pods, value: 20, periodSeconds: 15}}]}}\n    scaleDown: {{stabilizationWindowSeconds: 0}}\n",
        program.display()
    )
}

#[test]
fn programs_that_hang_keep_a_healthy_one_from_nothing() -> anyhow::Result<()> {
    let held = tempfile::tempdir()?;
    let folder = held.path();
    std::fs::create_dir(folder.join("values"))?;
    let program = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
        anyhow::Ok(path)
    };
    let hung: Vec<_> = (0..HUNG).map(|n| program(&format!("hangs{n}.sh"), HANGS)).collect::<Result<_, _>>()?;
    let well = program("well.sh", WELL)?;
    let mut policies: Vec<String> = hung.iter().enumerate().map(|(n, path)| policy(&format!("a{n}"), path)).collect();
    // The last one of all.
    policies.push(policy("well", &well));
    for (at, part) in policies.chunks(32).enumerate() {
        std::fs::write(folder.join(format!("policies-{at}.yaml")), part.concat())?;
    }
    let allowed: Vec<String> = hung.iter().chain([&well]).map(|path| format!("'{}'", path.display())).collect();
    let shown = folder.display();
    let sections = format!(
        "  textfile_directory: '{shown}/values'\nexec_allow: [{}]\nscaling:\n  sync_period: 1s\n  guard: {{enabled: false}}\n  files: \
         ['{shown}/policies-*.yaml']\n",
        allowed.join(", ")
    );
    let queue = |length: u32| {
        std::fs::write(folder.join("new"), format!("site_queue {length}\n"))?;
        std::fs::rename(folder.join("new"), folder.join("values/site.prom"))
    };
    queue(30)?;
    let mut agent = Alone::new(folder, &sections)?;
    let clock = Clock::system();
    let begun = clock.mono();
    agent.start()?;
    let wait = |agent: &Alone, replicas: &str| {
        wait_for("the healthy one", || {
            let held = std::fs::read_to_string(folder.join("replicas")).unwrap_or_default();
            ensure!(held.trim() == replicas, "{held:?}: {}", agent.log());
            Ok(())
        })
    };
    wait(&agent, "3")?;
    let took = clock.mono().since(begun);
    assert!(took < FIRST_MAX, "{took:?}");
    for (length, replicas) in [(50, "5"), (20, "2"), (70, "7")] {
        let begun = clock.mono();
        queue(length)?;
        wait(&agent, replicas)?;
        let took = clock.mono().since(begun);
        assert!(took < LATER_MAX, "{length}: {took:?}");
    }
    // All of them are told of.
    wait_for("the problems", || {
        let metrics = web().get(format!("{}/metrics", agent.url())).call()?.body_mut().read_to_string()?;
        let failing = |line: &&str| {
            line.starts_with("kube_horizontalpodautoscaler_status_condition{condition=\"AbleToScale\"")
                && line.ends_with("status=\"false\"} 1")
        };
        let count = metrics.lines().filter(failing).count();
        ensure!(count == HUNG, "{count} are told of");
        Ok(())
    })?;
    agent.stop().map(drop)
}
