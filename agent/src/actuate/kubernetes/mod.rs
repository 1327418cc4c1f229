//! Deployments, StatefulSets and ReplicaSets of a Kubernetes API, by their scale subresource.
//!
//! ```text
//! observe: GET …/deployments/NAME/scale ─> replicas, selector ─> GET …/pods?labelSelector=… page by page ─> Observed
//! scale:   GET …/scale ─> PATCH …/scale with the version that was read; read again where it has changed meanwhile
//! usage:   GET …/scale ─> GET metrics.k8s.io …/pods?labelSelector=… ─> Usage
//! ```
//!
//! The account needs `get`, `patch` and `update` of `deployments/scale` (and of the other kinds) in `apps`, `list` of
//! `pods`, and `list` of `pods` in `metrics.k8s.io`. Where a change may only be put (`update`), it is put.
//!
//! A cluster without metrics.k8s.io is no fault: the series of this node's own store have to do then.
//!
//! Invariants:
//! - Names come into paths only as names; a selector that selects everything is refused.
//! - A page is read, used and dropped before the next one comes, and there are at most [`PAGES_MAX`].
//! - Redirects are not followed, so credentials go nowhere else.

mod access;
mod api;
mod names;
mod objects;
mod settings;
#[cfg(test)]
mod tests;

pub use access::Places;
pub use settings::{REFERENCE, Settings};

use super::{Acting, Actuator, ActuatorError, Usage};
use crate::http::SystemRoots;
use api::{Api, invalid};
use hyper::Method;
use objects::Scale;
use serde_json::{Value, json};
use skerry_scaling::target::{Observed, Pod, TargetKind, TargetRef};
use std::collections::BTreeMap;

/// Pods of a page.
const PAGE: usize = 25;
/// Pages of a list; with [`PAGE`] it makes a thousand pods.
const PAGES_MAX: usize = 40;
/// Longest mark of the next page.
const NEXT_BYTES_MAX: usize = 4 << 10;
/// Times a change is tried where others change the object too.
const TRIES_MAX: usize = 4;
/// Time-outs of one request that all requests of one call may take together.
const TIMEOUTS_MAX: u32 = 3;

/// Scales by a Kubernetes API.
pub struct KubernetesActuator {
    api: Api,
}

/// Where an object is.
struct Object {
    namespace: String,
    /// Path of its scale.
    scale: String,
}

impl KubernetesActuator {
    /// That asks the API of these settings. Files are read when the API is first asked, and when they change.
    #[must_use]
    pub fn new(settings: &Settings, system: &SystemRoots) -> Self {
        Self::at(settings, system, Places::default())
    }

    /// The same, for a node that keeps its files elsewhere.
    #[must_use]
    pub fn at(settings: &Settings, system: &SystemRoots, places: Places) -> Self {
        Self { api: Api::new(settings.clone(), places, system.clone()) }
    }

    fn object(&self, target: &TargetRef) -> Result<Object, ActuatorError> {
        let plural = match target.kind {
            TargetKind::Deployment => "deployments",
            TargetKind::StatefulSet => "statefulsets",
            TargetKind::ReplicaSet => "replicasets",
            kind => return Err(invalid(format!("a Kubernetes API has no {}", kind.as_str()))),
        };
        let name = &target.name;
        let namespace =
            if target.scope.is_empty() { self.api.access()?.namespace.clone() } else { target.scope.clone() };
        if !names::is_subdomain(name) || !names::is_label(&namespace) {
            return Err(invalid(format!("{namespace:?} and {name:?} are no names of a namespace and of an object")));
        }
        let scale = format!("/apis/apps/v1/namespaces/{namespace}/{plural}/{name}/scale");
        Ok(Object { namespace, scale })
    }

    async fn read(&self, object: &Object) -> Result<Scale, ActuatorError> {
        let answer = self.api.get(&object.scale).await?;
        objects::scale(answer).map_err(|why| unfit(&object.scale, &why))
    }

    /// The scale, where it selects pods.
    async fn selecting(&self, object: &Object) -> Result<Scale, ActuatorError> {
        let scale = self.read(object).await?;
        if scale.selector.is_empty() {
            let message = format!("{} has no selector, so its pods cannot be told from others", object.scale);
            return Err(ActuatorError { reason: "InvalidSelector", message });
        }
        Ok(scale)
    }

    async fn pods(&self, object: &Object, selector: &str) -> Result<Vec<Pod>, ActuatorError> {
        let namespace = &object.namespace;
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let query = format!("{path}?labelSelector={}&limit={PAGE}", names::escaped(selector));
        let (mut pods, mut next) = (BTreeMap::new(), None::<String>);
        for _ in 0..PAGES_MAX {
            let page = match &next {
                None => self.api.get(&query).await?,
                Some(next) => self.api.get(&format!("{query}&continue={}", names::escaped(next))).await?,
            };
            let (found, after) = objects::pods(&page, namespace).map_err(|why| unfit(&path, &why))?;
            if pods.len() + found.len() > PAGE * PAGES_MAX {
                break;
            }
            pods.extend(found.into_iter().map(|pod| (pod.name.clone(), pod)));
            match after {
                None => return Ok(pods.into_values().collect()),
                Some(mark) if mark.len() > NEXT_BYTES_MAX => break,
                Some(mark) => next = Some(mark),
            }
        }
        Err(invalid(format!("{path} does not end: at most {} pods of a target are read", PAGE * PAGES_MAX)))
    }

    async fn change(&self, object: &Object, replicas: u32) -> Result<(), ActuatorError> {
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let scale = self.read(object).await?;
            if scale.spec_replicas == replicas {
                return Ok(());
            }
            let patch = json!({"metadata": {"resourceVersion": scale.version}, "spec": {"replicas": replicas}});
            let path = &object.scale;
            let mut done = self.api.call(Method::PATCH, path, "application/merge-patch+json", Some(&patch)).await;
            if matches!(&done, Err(failed) if matches!(failed.status, 403 | 405 | 415)) {
                let whole = with_replicas(scale.whole, replicas);
                done = self.api.call(Method::PUT, path, "application/json", Some(&whole)).await;
            }
            match done {
                Ok(answer) => {
                    let made = objects::scale(answer).map_err(|why| unfit(path, &why))?.spec_replicas;
                    let message =
                        format!("{path} was told {replicas} and has {made}: something there decides otherwise");
                    return if made == replicas { Ok(()) } else { Err(ActuatorError { reason: "Partial", message }) };
                }
                Err(failed) if failed.status == 409 => last = Some(failed.error),
                Err(failed) => return Err(failed.error),
            }
        }
        Err(last.unwrap_or_else(|| invalid(format!("{} could not be changed", object.scale))))
    }

    async fn used(&self, object: &Object) -> Result<Option<Usage>, ActuatorError> {
        let scale = self.selecting(object).await?;
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods", object.namespace);
        match self.api.get(&format!("{path}?labelSelector={}", names::escaped(&scale.selector))).await {
            Ok(list) => objects::usage(&list).map(Some).map_err(|why| unfit(&path, &why)),
            Err(failed) if failed.status == 404 => Ok(None),
            Err(failed) => Err(failed.error),
        }
    }

    /// Ends what takes too long as a whole.
    async fn bounded<T>(&self, work: impl Future<Output = Result<T, ActuatorError>>) -> Result<T, ActuatorError> {
        let time = self.api.settings.timeout.0 * TIMEOUTS_MAX;
        tokio::time::timeout(time, work).await.unwrap_or_else(|_| {
            let message =
                format!("the Kubernetes API did not answer all that was asked within {} s", time.as_secs_f64());
            Err(ActuatorError { reason: "Timeout", message })
        })
    }
}

impl Actuator for KubernetesActuator {
    fn observe<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Observed> {
        Box::pin(self.bounded(async {
            let object = self.object(target)?;
            let Scale { spec_replicas, status_replicas, selector, .. } = self.selecting(&object).await?;
            Ok(Observed { spec_replicas, status_replicas, pods: self.pods(&object, &selector).await? })
        }))
    }

    fn scale<'a>(&'a self, target: &'a TargetRef, replicas: u32) -> Acting<'a, ()> {
        Box::pin(self.bounded(async move {
            if i32::try_from(replicas).is_err() {
                return Err(invalid(format!("{replicas} replicas are more than an API can be told")));
            }
            self.change(&self.object(target)?, replicas).await
        }))
    }

    /// By metrics.k8s.io; `None` where the cluster has none.
    fn usage<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Option<Usage>> {
        Box::pin(self.bounded(async { self.used(&self.object(target)?).await }))
    }
}

/// A Scale with another number.
fn with_replicas(mut whole: Value, replicas: u32) -> Value {
    if let Some(spec) = whole.as_object_mut().map(|whole| whole.entry("spec").or_insert_with(|| json!({}))) {
        *spec = json!({"replicas": replicas});
    }
    whole
}

fn unfit(path: &str, why: &str) -> ActuatorError {
    invalid(format!("what the API says at {path} cannot be used: {why}"))
}
