//! What is to be scraped now.

use super::files::Files;
use super::pool::Pool;
use skerry_model::{ContainerInfo, Labels};
use skerry_scrape::target::{Built, Target};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Most dropped targets that are shown.
const DROPPED_SHOWN_MAX: usize = 100;

/// A target and its job.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) pool: Arc<Pool>,
    pub(super) target: Target,
    /// Why it may not be scraped although it is one.
    pub(super) refused: Option<String>,
}

/// What discovery found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) wanted: Vec<Wanted>,
    pub(super) dropped: Vec<(String, Labels)>,
    pub(super) dropped_counts: BTreeMap<String, usize>,
    /// Targets that cannot be scraped, as job, address and why.
    pub(super) problems: Vec<String>,
}

/// Everything that the jobs name now; at most `targets_max` targets.
pub(super) fn discover(pools: &[Arc<Pool>], files: &Files, containers: &[ContainerInfo], targets_max: usize) -> Found {
    let mut found = Found::default();
    for pool in pools {
        let begin = found.wanted.len();
        let mut dropped = 0;
        for labels in labels_of(pool, files, containers) {
            let pairs = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            match pool.job.target(pairs) {
                Ok(Built::Active(target)) => {
                    let same = |other: &Wanted| other.target.labels == target.labels && other.target.url == target.url;
                    if !found.wanted[begin..].iter().any(same) {
                        found.wanted.push(Wanted { pool: pool.clone(), target, refused: None });
                    }
                }
                Ok(Built::Dropped(labels)) => {
                    dropped += 1;
                    if found.dropped.len() < DROPPED_SHOWN_MAX {
                        found.dropped.push((pool.job.name.clone(), labels));
                    }
                }
                Err(error) => {
                    let address = labels.iter().find(|(name, _)| name == "__address__");
                    let address = address.map_or("", |(_, value)| value);
                    found.problems.push(format!("job {}: target {address:?}: {error}", pool.job.name));
                }
            }
            if found.wanted.len() > targets_max {
                found.wanted.truncate(targets_max);
                found.problems.push(format!(
                    "target_limit: more than {targets_max} targets; those of job {} and later ones that came last are left out",
                    pool.job.name
                ));
                return found;
            }
        }
        found.dropped_counts.insert(pool.job.name.clone(), dropped);
        let count = found.wanted.len() - begin;
        if let Some(max) = pool.targets_max.filter(|max| count > *max) {
            let text = format!("target_limit: the job has {count} targets, at most {max} are scraped");
            found.wanted[begin..].iter_mut().for_each(|wanted| wanted.refused = Some(text.clone()));
        }
    }
    found
}

fn labels_of(pool: &Pool, files: &Files, containers: &[ContainerInfo]) -> Vec<Vec<(String, String)>> {
    let mut all = Vec::new();
    let mut group = |targets: &[String], labels: &BTreeMap<String, String>, file: Option<String>| {
        for target in targets {
            let mut pairs: Vec<(String, String)> = labels.iter().map(|(n, v)| (n.clone(), v.clone())).collect();
            pairs.extend(file.iter().map(|file| ("__meta_filepath".to_owned(), file.clone())));
            pairs.push(("__address__".to_owned(), target.clone()));
            all.push(pairs);
        }
    };
    for config in &pool.static_configs {
        group(&config.targets, &config.labels, None);
    }
    for sd in &pool.file_sd {
        for (path, config) in files.groups(sd) {
            group(&config.targets, &config.labels, Some(path.display().to_string()));
        }
    }
    for sd in &pool.docker_sd {
        all.extend(super::containers::discover(sd, containers));
    }
    all
}
