//! Workloads as targets: how many replicas they keep.

use super::{Acting, Actuator, Asked, put_asked};
use crate::workloads::Workloads;
use skerry_scaling::target::{Observed, TargetRef};

/// Scales workloads, kind `Workload`.
#[derive(Clone)]
pub struct WorkloadActuator {
    workloads: Workloads,
    asked: Asked,
}

impl WorkloadActuator {
    /// Over these, whose containers may have been given other sizes while they run.
    #[must_use]
    pub const fn new(workloads: Workloads, asked: Asked) -> Self {
        Self { workloads, asked }
    }
}

impl Actuator for WorkloadActuator {
    fn observe<'a>(&'a self, target: &'a TargetRef) -> Acting<'a, Observed> {
        Box::pin(async {
            let mut observed = self.workloads.observe(&target.name)?;
            put_asked(&mut observed, &self.asked);
            Ok(observed)
        })
    }

    fn scale<'a>(&'a self, target: &'a TargetRef, replicas: u32) -> Acting<'a, ()> {
        Box::pin(self.workloads.scale(&target.name, replicas))
    }
}
