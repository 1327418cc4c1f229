//! What is to be done for so many replicas. Decided from the list and the template's description alone.

use super::family::{Family, Member, REPLICA_LABEL, SERVICE_LABEL};
use super::{ActuatorError, clone, invalid};
use crate::docker::{Container, Status};
use skerry_scaling::target::TargetRef;

/// Most replicas of a target.
pub(super) const REPLICAS_MAX: u32 = 256;

/// What is done with a container that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It stays, stopped: the template.
    Keep,
    /// It goes, with its anonymous volumes.
    Remove,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// Remove a clone that does not run and is not needed, or is not as the template is now.
    Discard(&'a Member),
    /// End a replica.
    End(&'a Member, Then),
    /// Start a replica that is there.
    Start(&'a Member),
    /// Make a clone and start it.
    Make,
}

impl Step<'_> {
    /// Whether one more replica runs after it.
    pub(super) const fn makes(&self) -> bool {
        matches!(self, Self::Start(_) | Self::Make)
    }
}

/// Steps in their order: what goes, highest number first, then what comes, lowest first. `ending` were told to end before
/// and count as gone.
pub(super) fn steps<'a>(
    target: &TargetRef,
    family: &'a Family,
    template: Option<&Container>,
    replicas: u32,
    ending: &[String],
) -> Result<Vec<Step<'a>>, ActuatorError> {
    if replicas > REPLICAS_MAX {
        return Err(invalid(target, format!("{replicas} replicas are too many: at most {REPLICAS_MAX} are made")));
    }
    let stays = |member: &&Member| !ending.contains(&member.listed.id);
    // The template first, as it is never removed; then by number.
    let mut active: Vec<&Member> = family.active().filter(stays).collect();
    active.sort_by_key(|member| (!member.is_template, member.number));
    let surplus = active.split_off(active.len().min(replicas as usize));
    let mut missing = replicas as usize - active.len();

    let mut stopped: Vec<&Member> = family.members.iter().filter(stays).filter(|member| !member.is_active()).collect();
    stopped.sort_by_key(|member| (!member.is_template, member.number));
    let (mut steps, mut starts) = (Vec::new(), Vec::new());
    for member in stopped {
        let is_half =
            member.listed.status == Status::Created && !member.is_template && template.is_some_and(has_networks);
        let can_start = matches!(member.listed.status, Status::Exited | Status::Created) && !is_half;
        if missing > 0 && can_start && family.is_current(member) {
            missing -= 1;
            starts.push(Step::Start(member));
        } else if !member.is_template {
            steps.push(Step::Discard(member));
        }
    }
    for member in surplus.into_iter().rev() {
        let then = if member.is_template { Then::Keep } else { Then::Remove };
        if then == Then::Keep && template.is_some_and(removes_itself) {
            let name = &member.listed.name;
            let problem =
                format!("{name} was made with --rm, so its end would be for ever: minReplicas has to be 1 at least");
            return Err(invalid(target, problem));
        }
        steps.push(Step::End(member, then));
    }
    if missing > 0 {
        let template = template.ok_or_else(|| no_template(target))?;
        // Whatever keeps it from being cloned is said before anything is done.
        clone::recipe(family.style, target, template, 2)?;
    }
    steps.append(&mut starts);
    steps.extend(std::iter::repeat_n(Step::Make, missing));
    Ok(steps)
}

/// Whether a clone is put into further networks after it was made: one that never ran may be in some of them alone.
fn has_networks(template: &Container) -> bool {
    template.raw()["NetworkSettings"]["Networks"].as_object().is_some_and(|networks| networks.len() > 1)
}

fn removes_itself(template: &Container) -> bool {
    template.raw()["HostConfig"]["AutoRemove"] == true
}

fn no_template(target: &TargetRef) -> ActuatorError {
    let name = &target.name;
    let message = format!(
        "{target}: there are replicas, but none to make more from: start a container with the label {SERVICE_LABEL}={name} and without {REPLICA_LABEL}"
    );
    ActuatorError { reason: "NotFound", message }
}
