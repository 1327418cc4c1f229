//! Recommendations of sizes through the real agent: learnt from a cgroup tree, shown, and not forgotten over an orderly end
//! and a kill. The tree is written here as a 6.1 kernel writes it; a sample takes a minute, so this test takes more.

use anyhow::{Context, ensure};
use skerry_tests::alone::Alone;
use skerry_tests::lab::wait_for;
use skerry_tests::web::web;
use std::path::Path;
use std::time::{Duration, Instant};

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Cores that the container uses, and bytes.
const CORES: f64 = 0.5;
const MEMORY: u64 = 400 << 20;

/// The container's cgroup, when it has run for so long.
fn write(root: &Path, ran: Duration) -> anyhow::Result<()> {
    let tree = root.join("sys/fs/cgroup");
    let group = tree.join(format!("system.slice/docker-{ID}.scope"));
    std::fs::create_dir_all(&group)?;
    let used = (ran.as_secs_f64() * CORES * 1e6).round();
    for (path, text) in [
        (tree.join("cgroup.controllers"), "cpu memory\n".to_owned()),
        (group.join("cpu.stat"), format!("usage_usec {used}\nuser_usec {used}\nsystem_usec 0\n")),
        (group.join("memory.current"), format!("{MEMORY}\n")),
        (group.join("memory.stat"), "anon 4096\ninactive_file 0\n".to_owned()),
        (group.join("memory.events"), "oom 0\noom_kill 0\n".to_owned()),
    ] {
        // In one piece, as the kernel gives it.
        let whole = path.with_extension("part");
        std::fs::write(&whole, text)?;
        std::fs::rename(whole, path)?;
    }
    Ok(())
}

fn recommended(agent: &Alone, resource: &str, unit: &str) -> anyhow::Result<f64> {
    let name = &ID[..12];
    agent.metric(&format!(
        "kube_verticalpodautoscaler_status_recommendation_containerrecommendations_target{{container=\"{name}\",resource=\"{resource}\",target_kind=\"Container\",target_name=\"{name}\",unit=\"{unit}\",verticalpodautoscaler=\"{name}\"}}"
    ))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what a real process measures grows by the real clock")]
fn sizes_are_learnt_shown_and_kept() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sys = folder.path().join("sys");
    let sections = format!("containers:\n  enabled: false\nroots:\n  sys: {}\n", sys.display());
    let mut agent = Alone::new(folder.path(), &sections)?;
    let began = Instant::now();
    write(folder.path(), Duration::ZERO)?;
    agent.start()?;
    let look = |agent: &Alone| {
        write(folder.path(), began.elapsed())?;
        recommended(agent, "cpu", "core")
    };
    // Nobody says the container's name, so it gets a number after a minute.
    let _ = wait_for("the first minute", || look(&agent));
    let cores = wait_for("a recommendation", || look(&agent)).with_context(|| agent.log())?;
    // What was used, up to the end of its bucket, and 15 %.
    ensure!((CORES * 1.10..CORES * 1.30).contains(&cores), "{cores} cores");
    let bytes = recommended(&agent, "memory", "byte")?;
    ensure!((MEMORY as f64 * 1.15..MEMORY as f64 * 1.30).contains(&bytes), "{bytes} bytes");
    let mut answer = web().get(format!("{}/api/v1/scaling/recommend", agent.url())).call()?;
    let shown: serde_json::Value = serde_json::from_str(&answer.body_mut().read_to_string()?)?;
    let one = &shown["data"][0];
    ensure!(one["memory"]["target"].as_f64() == Some(bytes) && one["mode"] == "Off", "{shown}");

    agent.stop()?;
    for end in ["an orderly end", "a kill"] {
        agent.start()?;
        let after = wait_for(end, || look(&agent)).with_context(|| agent.log())?;
        ensure!((after - cores).abs() < 0.1, "{cores} cores before {end}, {after} after");
        ensure!(recommended(&agent, "memory", "byte")?.to_bits() == bytes.to_bits(), "memory after {end}");
        agent.kill();
    }
    Ok(())
}
