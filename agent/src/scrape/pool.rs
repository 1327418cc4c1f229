//! A job, ready to scrape with.

use super::config::{BODY_BYTES_DEFAULT, DockerSd, FileSd, Global, JobConfig, Jobs, SAMPLES_DEFAULT, StaticGroup};
use crate::http::{Authorization, Client, HttpError, Request, SystemRoots};
use skerry_scrape::relabel;
use skerry_scrape::rounds::Settings;
use skerry_scrape::target::Job;
use std::sync::Arc;
use std::time::Duration;

/// What targets answer best with; Prometheus's own wish without protobuf.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
/// Redirects that are followed, as Go's client does.
const REDIRECTS_MAX: usize = 10;

/// A job.
pub(super) struct Pool {
    pub(super) job: Job,
    pub(super) settings: Arc<Settings>,
    pub(super) static_configs: Vec<StaticGroup>,
    pub(super) file_sd: Vec<FileSd>,
    pub(super) docker_sd: Vec<DockerSd>,
    /// Most targets; `None`: no limit of its own.
    pub(super) targets_max: Option<usize>,
    /// What it was made from, to see whether it has changed.
    made_from: (Global, JobConfig),
    body_bytes_max: usize,
    client: Client,
}

impl Pool {
    /// The jobs of a config, those of `old` that have not changed among them. Rules were checked with the config; a
    /// faulty one would be left out.
    pub(super) fn of(jobs: Jobs<'_>, old: &[Arc<Self>], system: &SystemRoots) -> Vec<Arc<Self>> {
        let pool = |config: &JobConfig| {
            let same = old.iter().find(|pool| pool.made_from.0 == *jobs.global && pool.made_from.1 == *config);
            same.cloned().unwrap_or_else(|| Arc::new(Self::new(config, jobs.global, system)))
        };
        jobs.jobs.iter().map(pool).collect()
    }

    pub(super) fn new(config: &JobConfig, global: &Global, system: &SystemRoots) -> Self {
        let (interval, timeout) = config.times(global);
        let limit = |own: usize, all: usize| [own, all].into_iter().find(|limit| *limit > 0);
        let bytes = limit(clamped(config.body_size_limit.0), clamped(global.body_size_limit.0));
        let settings = Settings {
            honor_labels: config.honor_labels,
            honor_timestamps: config.honor_timestamps,
            track_timestamps_staleness: config.track_timestamps_staleness,
            rules: relabel::rules(&config.metric_relabel_configs).unwrap_or_default(),
            samples_max: limit(config.sample_limit, global.sample_limit).unwrap_or(SAMPLES_DEFAULT),
            labels_max: limit(config.label_limit, global.label_limit),
            label_name_bytes_max: limit(config.label_name_length_limit, global.label_name_length_limit),
            label_value_bytes_max: limit(config.label_value_length_limit, global.label_value_length_limit),
        };
        let job = Job {
            name: config.job_name.clone(),
            scheme: config.scheme.clone(),
            path: config.metrics_path.clone(),
            params: config.params.clone(),
            interval: interval.0,
            timeout: timeout.0,
            rules: relabel::rules(&config.relabel_configs).unwrap_or_default(),
        };
        Self {
            job,
            settings: Arc::new(settings),
            static_configs: config.static_configs.clone(),
            file_sd: config.file_sd_configs.clone(),
            docker_sd: config.docker_sd_configs.clone(),
            targets_max: limit(config.target_limit, global.target_limit),
            made_from: (global.clone(), config.clone()),
            body_bytes_max: bytes.unwrap_or(clamped(BODY_BYTES_DEFAULT)),
            client: Client::new(&config.tls_config, system),
        }
    }

    /// Its HTTP client.
    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    /// Longest body.
    pub(super) const fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// The request for a target; files with secrets are read here.
    pub(super) fn request(&self, url: &str, timeout: Duration) -> Result<Request, HttpError> {
        let config = &self.made_from.1;
        let request = Request {
            deadline: timeout,
            bytes_max: self.body_bytes_max,
            redirects_max: if config.follow_redirects { REDIRECTS_MAX } else { 0 },
            ..Request::get(url)
        };
        let request = request
            .header("accept", ACCEPT)?
            .header("x-prometheus-scrape-timeout-seconds", &timeout.as_secs_f64().to_string())?;
        if let Some(auth) = &config.basic_auth {
            return Ok(request.authorized(auth.header()?));
        }
        let bearer = Authorization {
            credentials: config.bearer_token.clone(),
            credentials_file: config.bearer_token_file.clone(),
            ..Authorization::default()
        };
        let has_bearer = config.bearer_token.is_some() || config.bearer_token_file.is_some();
        match config.authorization.as_ref().or(has_bearer.then_some(&bearer)) {
            Some(auth) => Ok(request.authorized(auth.header()?)),
            None => Ok(request),
        }
    }
}

fn clamped(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
