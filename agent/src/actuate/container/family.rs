//! The containers of a target: its template and its replicas, by label.

use super::{ActuatorError, Style, invalid};
use crate::docker::{Listed, Status};
use skerry_scaling::target::TargetRef;

/// Names the service that a container belongs to.
pub const SERVICE_LABEL: &str = "skerry.io/service";
/// A clone's number.
pub const REPLICA_LABEL: &str = "skerry.io/replica";
/// Id of the template that a clone was made from.
pub const TEMPLATE_LABEL: &str = "skerry.io/template";

pub(super) const PROJECT_LABEL: &str = "com.docker.compose.project";
pub(super) const COMPOSE_SERVICE_LABEL: &str = "com.docker.compose.service";
pub(super) const NUMBER_LABEL: &str = "com.docker.compose.container-number";
/// Changes with what the compose file says of the service.
const HASH_LABEL: &str = "com.docker.compose.config-hash";
/// `True` for containers of `docker compose run`.
const ONEOFF_LABEL: &str = "com.docker.compose.oneoff";

/// Most replicas of a target that are looked at.
const MEMBERS_MAX: usize = 256;

/// By which labels the runtime lists the target's containers.
pub(super) fn labels(style: Style, target: &TargetRef) -> Result<Vec<(&'static str, &str)>, ActuatorError> {
    let TargetRef { name, scope, .. } = target;
    if name.is_empty() {
        return Err(invalid(target, "scaleTargetRef.name is empty"));
    }
    match style {
        Style::Service => Ok(vec![(SERVICE_LABEL, name)]),
        Style::Compose if scope.is_empty() => {
            Err(invalid(target, "scaleTargetRef.project is missing: the compose project of the service"))
        }
        Style::Compose => Ok(vec![(PROJECT_LABEL, scope), (COMPOSE_SERVICE_LABEL, name)]),
    }
}

/// Whether a clone is called as this one would be.
fn is_named(name: &str, service: &str, number: u32) -> bool {
    name.strip_prefix(service).and_then(|rest| rest.strip_prefix('-')) == Some(number.to_string().as_str())
}

/// A container of a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// 1 for a template that is labelled as a service, the replica's number otherwise.
    pub(super) number: u32,
    pub(super) is_template: bool,
    pub(super) listed: Listed,
}

impl Member {
    /// It runs, is frozen, or is between two runs by its restart policy.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.listed.status, Status::Running | Status::Paused | Status::Restarting | Status::Other)
    }
}

impl Member {
    /// It is being removed, or could not be: Docker lists both alike, and tries it again only when it is told to.
    pub(super) fn is_left(&self) -> bool {
        matches!(self.listed.status, Status::Removing | Status::Dead) && !self.is_template
    }
}

/// A target's containers, by number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Family {
    pub(super) style: Style,
    pub(super) members: Vec<Member>,
}

impl Family {
    /// Sorts out a list by [`labels`]. What is labelled in a way that is not understood is left alone, and so is a replica
    /// by its labels that does not bear the name that goes with them: an image that somebody made of a replica
    /// (`docker commit`) gives its labels to whatever runs from it.
    pub(super) fn new(style: Style, target: &TargetRef, listed: Vec<Listed>) -> Result<Self, ActuatorError> {
        let labels = labels(style, target)?;
        let of_target = listed.into_iter().filter(|entry| {
            // The runtime filtered already; this is what guards other containers.
            // Clones that are going are kept apart from the others: see `is_left`.
            let is_of_others = style == Style::Compose || entry.label(REPLICA_LABEL).is_none();
            labels.iter().all(|(label, value)| entry.label(label) == Some(value))
                && !(entry.status == Status::Removing && is_of_others)
                && entry.label(ONEOFF_LABEL).is_none_or(|oneoff| !oneoff.eq_ignore_ascii_case("true"))
        });
        let member = |listed: Listed| {
            let (number, is_template) = match style {
                Style::Service => match listed.label(REPLICA_LABEL) {
                    Some(number) => {
                        let number = number.parse().ok().filter(|number| *number > 1)?;
                        (is_named(&listed.name, &target.name, number).then_some(number)?, false)
                    }
                    None => (1, true),
                },
                Style::Compose => (listed.label(NUMBER_LABEL)?.parse().ok()?, false),
            };
            Some(Member { number, is_template, listed })
        };
        let mut members: Vec<Member> = of_target.filter_map(member).collect();
        if style == Style::Compose {
            // With a container_name of its own a service has no number in its name, and no second container.
            let is_named = |member: &Member| {
                let stem = member.listed.name.strip_suffix(&member.number.to_string());
                stem.is_some_and(|stem| stem.ends_with(['-', '_']))
            };
            if members.iter().any(is_named) {
                members.retain(is_named);
            }
        }
        members.sort_by(|a, b| (a.number, &a.listed.name).cmp(&(b.number, &b.listed.name)));
        members.truncate(MEMBERS_MAX);
        if style == Style::Compose
            && let Some(first) = members.first_mut()
        {
            first.is_template = true;
        }
        let templates: Vec<&str> =
            members.iter().filter(|member| member.is_template).map(|member| member.listed.name.as_str()).collect();
        if templates.len() > 1 {
            let names = templates.join(", ");
            let problem = format!(
                "{names} are all labelled {SERVICE_LABEL}={}: one container is to be the template of the others",
                target.name
            );
            return Err(invalid(target, problem));
        }
        Ok(Self { style, members })
    }

    pub(super) fn template(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.is_template)
    }

    pub(super) fn active(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_active())
    }

    /// The lowest number from `from` on that no container of the family has.
    pub(super) fn free_number(&self, from: u32) -> u32 {
        self.members
            .iter()
            .filter(|member| member.number >= from)
            .fold(from, |free, member| if member.number == free { free + 1 } else { free })
    }

    /// Whether a replica is as the template would make it now.
    pub(super) fn is_current(&self, member: &Member) -> bool {
        let Some(template) = self.template() else { return true };
        match self.style {
            Style::Service => member.is_template || member.listed.label(TEMPLATE_LABEL) == Some(&template.listed.id),
            Style::Compose => member.listed.label(HASH_LABEL) == template.listed.label(HASH_LABEL),
        }
    }
}
