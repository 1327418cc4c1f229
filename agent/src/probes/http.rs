//! Prober `http`.

use super::check::{CheckedHttp, HeaderRule};
use super::findings::Findings;
use super::target::look_up;
use crate::http::{Address, Cause, Client, Head, Request, SystemRoots, Trace};
use hyper::header::{CONTENT_LENGTH, HeaderMap, LAST_MODIFIED};
use std::time::Duration;

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;

/// What asks one target.
#[derive(Debug, Clone)]
pub(super) struct HttpProber {
    settings: std::sync::Arc<CheckedHttp>,
    client: Client,
    url: String,
    host: String,
}

impl HttpProber {
    pub(super) fn new(settings: std::sync::Arc<CheckedHttp>, url: String, host: String, roots: &SystemRoots) -> Self {
        // A Host header names the site that is meant, so the certificate has to be that site's.
        let mut tls = settings.tls.clone();
        if tls.server_name.is_none() {
            let named = settings.headers.get(hyper::header::HOST).and_then(|host| host.to_str().ok());
            tls.server_name = named.map(|host| host.split(':').next().unwrap_or(host).to_owned());
        }
        Self { client: Client::new(&tls, roots), settings, url, host }
    }

    /// Asks, within `timeout`.
    pub(super) async fn run(&self, timeout: Duration, findings: &mut Findings) {
        for name in [
            "probe_http_status_code",
            "probe_http_content_length",
            "probe_http_uncompressed_body_length",
            "probe_http_redirects",
            "probe_http_ssl",
            "probe_http_version",
            "probe_failed_due_to_regex",
        ] {
            findings.set(name, 0.0);
        }
        let begin = tokio::time::Instant::now();
        let ip = look_up(&self.host, self.settings.preference, findings).await;
        let looked_up = begin.elapsed();
        findings.phase("probe_http_duration_seconds", "resolve", looked_up);
        let Some(ip) = ip else { return };
        let request = match self.request(timeout.saturating_sub(looked_up)) {
            Ok(request) => Request { address: Some(ip), ..request },
            Err(error) => return findings.fail(error.to_string()),
        };
        let (mut trace, mut body) = (Trace::default(), Vec::new());
        let keeps = self.settings.looks_at_body();
        let mut sink = |chunk: &[u8]| {
            if keeps {
                body.extend_from_slice(chunk);
            }
            Ok(())
        };
        let outcome = self.client.stream(&request, &mut trace, &mut sink).await;
        let phases = [
            ("resolve", looked_up + trace.resolve),
            ("connect", trace.connect),
            ("tls", trace.tls),
            ("processing", trace.processing),
            ("transfer", trace.transfer),
        ];
        for (phase, span) in phases {
            findings.phase("probe_http_duration_seconds", phase, span);
        }
        findings.set("probe_http_redirects", trace.redirects as f64);
        match outcome {
            Ok(head) => self.judge(&head, &trace, &body, findings),
            Err(error) => {
                if error.cause == Cause::Oversize {
                    findings.set("probe_http_uncompressed_body_length", trace.body_bytes as f64);
                }
                findings.fail(error.to_string());
            }
        }
    }

    fn request(&self, timeout: Duration) -> Result<Request, crate::http::HttpError> {
        let settings = &self.settings;
        let mut request = Request {
            method: settings.method.clone(),
            headers: settings.headers.clone(),
            body: settings.body.clone().into(),
            deadline: timeout,
            bytes_max: settings.body_bytes_max,
            redirects_max: if settings.follow_redirects { REDIRECTS_MAX } else { 0 },
            ..Request::get(&self.url)
        };
        if let Some(auth) = &settings.basic_auth {
            request = request.authorized(auth.header()?);
        }
        if let Some(auth) = &settings.authorization {
            request = request.authorized(auth.header()?);
        }
        Ok(request)
    }

    fn judge(&self, head: &Head, trace: &Trace, body: &[u8], findings: &mut Findings) {
        let settings = &self.settings;
        let status = head.status.as_u16();
        findings.set("probe_http_status_code", f64::from(status));
        findings.set("probe_http_content_length", content_length(&head.headers, trace.body_bytes));
        // A redirect that is not followed is counted, and its body is not looked at.
        let is_redirect = matches!(status, 301 | 302 | 303 | 307 | 308) && head.headers.contains_key("location");
        if is_redirect {
            findings.set("probe_http_redirects", (trace.redirects + 1) as f64);
        } else {
            findings.set("probe_http_uncompressed_body_length", trace.body_bytes as f64);
        }
        let version = match head.version {
            hyper::Version::HTTP_10 => ("HTTP/1.0", 1.0),
            _ => ("HTTP/1.1", 1.1),
        };
        findings.set("probe_http_version", version.1);
        if let Some(seconds) = head.headers.get(LAST_MODIFIED).and_then(|text| http_date(text.to_str().ok()?)) {
            findings.set("probe_http_last_modified_timestamp_seconds", seconds as f64);
        }
        let is_valid = match settings.valid_status_codes.as_slice() {
            [] => (200..300).contains(&status),
            valid => valid.contains(&status),
        };
        if !is_valid {
            findings.fail(format!("status {status} is not among the valid ones"));
        }
        if !settings.valid_http_versions.is_empty() && !settings.valid_http_versions.iter().any(|v| v == version.0) {
            findings.fail(format!("{} is not among the valid versions", version.0));
        }
        match &trace.peer {
            Some(peer) => {
                findings.set("probe_http_ssl", 1.0);
                findings.tls(self.client.tls(), peer);
                if settings.fail_if_ssl {
                    findings.fail("TLS was spoken");
                }
            }
            None if settings.fail_if_not_ssl => findings.fail("no TLS was spoken"),
            None => {}
        }
        if !is_redirect
            && findings.failure.is_none()
            && let Some(why) = self.regex_failure(&head.headers, body)
        {
            findings.set("probe_failed_due_to_regex", 1.0);
            findings.fail(why);
        }
    }

    fn regex_failure(&self, headers: &HeaderMap, body: &[u8]) -> Option<String> {
        let settings = &self.settings;
        let header = |rule: &HeaderRule| {
            let values: Vec<&[u8]> = headers.get_all(&rule.header).iter().map(|value| value.as_bytes()).collect();
            (!values.is_empty()).then(|| values.iter().any(|value| rule.regexp.is_match(value)))
        };
        for rule in &settings.fail_if_header_matches {
            match header(rule) {
                Some(true) => return Some(format!("header {} matches {}", rule.header, rule.regexp)),
                None if !rule.allow_missing => return Some(format!("header {} is missing", rule.header)),
                _ => {}
            }
        }
        for rule in &settings.fail_if_header_not_matches {
            match header(rule) {
                Some(false) => return Some(format!("header {} does not match {}", rule.header, rule.regexp)),
                None if !rule.allow_missing => return Some(format!("header {} is missing", rule.header)),
                _ => {}
            }
        }
        if let Some(regexp) = settings.fail_if_body_matches.iter().find(|regexp| regexp.is_match(body)) {
            return Some(format!("the body matches {regexp}"));
        }
        let missing = settings.fail_if_body_not_matches.iter().find(|regexp| !regexp.is_match(body));
        missing.map(|regexp| format!("the body does not match {regexp}"))
    }
}

/// As Go's client tells it: -1 where the answer does not say, 0 where it has no body.
fn content_length(headers: &HeaderMap, body_bytes: usize) -> f64 {
    let told = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse::<f64>().ok());
    told.unwrap_or(if body_bytes == 0 && !headers.contains_key("transfer-encoding") { 0.0 } else { -1.0 })
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, in seconds since 1970.
fn http_date(text: &str) -> Option<i64> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second())
}

/// Where a target is: blackbox_exporter puts `http://` before what has no scheme.
pub(super) fn address(target: &str) -> Result<(String, String), String> {
    let url = if target.starts_with("http://") || target.starts_with("https://") {
        target.to_owned()
    } else {
        format!("http://{target}")
    };
    let address = Address::parse(&url).map_err(|error| error.to_string())?;
    Ok((url, address.host))
}
