//! How many nodes do for a number of replicas: the largest first, each onto the first node with room.
//!
//! That is never more than 11/9 of what the best packing needs for one resource (first fit decreasing), and good enough to
//! order hardware by.

use super::{NodeCapacity, Resources};
use std::cmp::Reverse;

/// Most nodes that are counted as needed.
const NODES_MAX: u32 = 10_000;

/// Replicas of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) policy: &'a str,
    pub(super) request: Resources,
    pub(super) count: u32,
    /// The node that they found no room on.
    pub(super) not_on: Option<usize>,
}

/// Takes items into what is free of nodes; those for which there is no room, the largest first. Sizes are compared as parts
/// of `whole`.
pub(super) fn pack<'a>(items: &mut [Item<'a>], free: &mut [Resources], whole: Resources) -> Vec<Item<'a>> {
    items.sort_by_key(|item| Reverse(part(item.request, whole)));
    let mut left = Vec::new();
    for item in items {
        for (_, free) in free.iter_mut().enumerate().filter(|(at, _)| item.not_on != Some(*at)) {
            if item.count == 0 {
                break;
            }
            let taken = fits(item.request, *free).min(item.count);
            *free = free.minus(item.request.times(taken));
            item.count -= taken;
        }
        if item.count > 0 {
            left.push(*item);
        }
    }
    left
}

/// How many new nodes of this size hold the items, each of which fits onto one.
pub(super) fn new_nodes(mut items: Vec<Item<'_>>, size: Resources) -> u32 {
    let mut nodes = 0;
    while !items.is_empty() && nodes < NODES_MAX {
        // What is left fits onto none of the nodes before.
        items = pack(&mut items, &mut [size], size);
        nodes += 1;
    }
    nodes
}

/// How many of the nodes, those with workloads first and then the largest, hold the items; `None` where all together do
/// not. Nodes with workloads of their own stay in any case.
pub(super) fn would_do_with(items: Vec<Item<'_>>, nodes: &[&NodeCapacity], whole: Resources) -> Option<u32> {
    let mut nodes = nodes.to_vec();
    nodes.sort_by_key(|node| Reverse((node.has_workloads, part(node.size(), whole))));
    let staying = nodes.iter().take_while(|node| node.has_workloads).count();
    let sizes: Vec<Resources> = nodes.iter().map(|node| node.size()).collect();
    let do_for = |count: usize| pack(&mut items.clone(), &mut sizes[..count].to_vec(), whole).is_empty();
    if !do_for(sizes.len()) {
        return None;
    }
    let (mut too_few, mut enough) = (staying, sizes.len());
    if do_for(staying) {
        return u32::try_from(staying).ok();
    }
    while enough - too_few > 1 {
        let middle = too_few.midpoint(enough);
        if do_for(middle) {
            enough = middle;
        } else {
            too_few = middle;
        }
    }
    u32::try_from(enough).ok()
}

/// How many of a request fit into what is free.
fn fits(request: Resources, free: Resources) -> u32 {
    let fits = |each: u64, free: u64| free.checked_div(each).map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
    fits(request.cpu_milli, free.cpu_milli).min(fits(request.memory_bytes, free.memory_bytes))
}

/// The larger of the parts of memory and of cores, in millionths.
fn part(request: Resources, whole: Resources) -> u128 {
    let part = |of: u64, whole: u64| u128::from(of) * 1_000_000 / u128::from(whole.max(1));
    part(request.cpu_milli, whole.cpu_milli).max(part(request.memory_bytes, whole.memory_bytes))
}
