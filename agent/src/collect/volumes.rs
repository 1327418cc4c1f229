//! What file systems tell of themselves in `/sys/fs`: XFS and Btrfs.

use super::sink::{Rows, counter, gauge};
use super::source::{CollectError, Text, entries, file_name, number_at, word_at};
use super::{Collect, Round, Sink};
use skerry_model::MetricMeta;

/// Line, column behind its name, and metric (kernel sources `fs/xfs/xfs_stats.h`).
static XFS: [(&str, usize, MetricMeta); 39] = [
    (
        "abt",
        0,
        counter("node_xfs_allocation_btree_lookups_total", "Number of allocation B-tree lookups for a filesystem."),
    ),
    (
        "abt",
        1,
        counter("node_xfs_allocation_btree_compares_total", "Number of allocation B-tree compares for a filesystem."),
    ),
    (
        "abt",
        2,
        counter(
            "node_xfs_allocation_btree_records_inserted_total",
            "Number of allocation B-tree records inserted for a filesystem.",
        ),
    ),
    (
        "abt",
        3,
        counter(
            "node_xfs_allocation_btree_records_deleted_total",
            "Number of allocation B-tree records deleted for a filesystem.",
        ),
    ),
    (
        "blk_map",
        0,
        counter("node_xfs_block_mapping_reads_total", "Number of block map for read operations for a filesystem."),
    ),
    (
        "blk_map",
        1,
        counter("node_xfs_block_mapping_writes_total", "Number of block map for write operations for a filesystem."),
    ),
    (
        "blk_map",
        2,
        counter("node_xfs_block_mapping_unmaps_total", "Number of block unmaps (deletes) for a filesystem."),
    ),
    (
        "blk_map",
        3,
        counter(
            "node_xfs_block_mapping_extent_list_insertions_total",
            "Number of extent list insertions for a filesystem.",
        ),
    ),
    (
        "blk_map",
        4,
        counter(
            "node_xfs_block_mapping_extent_list_deletions_total",
            "Number of extent list deletions for a filesystem.",
        ),
    ),
    (
        "blk_map",
        5,
        counter("node_xfs_block_mapping_extent_list_lookups_total", "Number of extent list lookups for a filesystem."),
    ),
    (
        "blk_map",
        6,
        counter(
            "node_xfs_block_mapping_extent_list_compares_total",
            "Number of extent list compares for a filesystem.",
        ),
    ),
    (
        "bmbt",
        0,
        counter("node_xfs_block_map_btree_lookups_total", "Number of block map B-tree lookups for a filesystem."),
    ),
    (
        "bmbt",
        1,
        counter("node_xfs_block_map_btree_compares_total", "Number of block map B-tree compares for a filesystem."),
    ),
    (
        "bmbt",
        2,
        counter(
            "node_xfs_block_map_btree_records_inserted_total",
            "Number of block map B-tree records inserted for a filesystem.",
        ),
    ),
    (
        "bmbt",
        3,
        counter(
            "node_xfs_block_map_btree_records_deleted_total",
            "Number of block map B-tree records deleted for a filesystem.",
        ),
    ),
    (
        "dir",
        0,
        counter(
            "node_xfs_directory_operation_lookup_total",
            "Number of file name directory lookups which miss the operating systems directory name lookup cache.",
        ),
    ),
    (
        "dir",
        1,
        counter(
            "node_xfs_directory_operation_create_total",
            "Number of times a new directory entry was created for a filesystem.",
        ),
    ),
    (
        "dir",
        2,
        counter(
            "node_xfs_directory_operation_remove_total",
            "Number of times an existing directory entry was created for a filesystem.",
        ),
    ),
    (
        "dir",
        3,
        counter(
            "node_xfs_directory_operation_getdents_total",
            "Number of times the directory getdents operation was performed for a filesystem.",
        ),
    ),
    (
        "extent_alloc",
        0,
        counter("node_xfs_extent_allocation_extents_allocated_total", "Number of extents allocated for a filesystem."),
    ),
    (
        "extent_alloc",
        1,
        counter("node_xfs_extent_allocation_blocks_allocated_total", "Number of blocks allocated for a filesystem."),
    ),
    (
        "extent_alloc",
        2,
        counter("node_xfs_extent_allocation_extents_freed_total", "Number of extents freed for a filesystem."),
    ),
    (
        "extent_alloc",
        3,
        counter("node_xfs_extent_allocation_blocks_freed_total", "Number of blocks freed for a filesystem."),
    ),
    (
        "ig",
        0,
        counter(
            "node_xfs_inode_operation_attempts_total",
            "Number of times the OS looked for an XFS inode in the inode cache.",
        ),
    ),
    (
        "ig",
        1,
        counter(
            "node_xfs_inode_operation_found_total",
            "Number of times the OS looked for and found an XFS inode in the inode cache.",
        ),
    ),
    (
        "ig",
        2,
        counter(
            "node_xfs_inode_operation_recycled_total",
            "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.",
        ),
    ),
    (
        "ig",
        3,
        counter(
            "node_xfs_inode_operation_missed_total",
            "Number of times the OS looked for an XFS inode in the cache, but did not find it.",
        ),
    ),
    (
        "ig",
        4,
        counter(
            "node_xfs_inode_operation_duplicates_total",
            "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already been added by another process.",
        ),
    ),
    (
        "ig",
        5,
        counter(
            "node_xfs_inode_operation_reclaims_total",
            "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.",
        ),
    ),
    (
        "ig",
        6,
        counter(
            "node_xfs_inode_operation_attribute_changes_total",
            "Number of times the OS explicitly changed the attributes of an XFS inode.",
        ),
    ),
    ("rw", 0, counter("node_xfs_write_calls_total", "Number of write(2) system calls made to files in a filesystem.")),
    ("rw", 1, counter("node_xfs_read_calls_total", "Number of read(2) system calls made to files in a filesystem.")),
    ("vnodes", 0, counter("node_xfs_vnode_active_total", "Number of vnodes not on free lists for a filesystem.")),
    ("vnodes", 1, counter("node_xfs_vnode_allocate_total", "Number of times vn_alloc called for a filesystem.")),
    ("vnodes", 2, counter("node_xfs_vnode_get_total", "Number of times vn_get called for a filesystem.")),
    ("vnodes", 3, counter("node_xfs_vnode_hold_total", "Number of times vn_hold called for a filesystem.")),
    ("vnodes", 4, counter("node_xfs_vnode_release_total", "Number of times vn_rele called for a filesystem.")),
    ("vnodes", 5, counter("node_xfs_vnode_reclaim_total", "Number of times vn_reclaim called for a filesystem.")),
    ("vnodes", 6, counter("node_xfs_vnode_remove_total", "Number of times vn_remove called for a filesystem.")),
];

/// XFS.
pub(super) struct Xfs;

impl Collect for Xfs {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("fs/xfs"))? {
            // Beside the file systems there are a folder with the sum of them and one without counters.
            let file = path.join("stats/stats");
            if !file.is_file() {
                continue;
            }
            let text = Text::read(file)?;
            let device = file_name(&path);
            for line in text.content.lines() {
                let words: Vec<&str> = line.split_ascii_whitespace().collect();
                let Some((name, numbers)) = words.split_first() else { continue };
                for (_, column, meta) in XFS.iter().filter(|(of, ..)| of == name) {
                    let value = text.number(numbers.get(*column).copied(), line, "NAME NUMBER …")?;
                    rows.push(meta, &[("device", &device)], value);
                }
            }
        }
        rows.pour(sink);
        Ok(())
    }
}

/// Sectors of `/sys/block` are of this size whatever the device's own is.
const SECTOR_BYTES: f64 = 512.0;
const GROUPS: [&str; 3] = ["data", "metadata", "system"];

static INFO: MetricMeta = gauge("node_btrfs_info", "Filesystem information");
static GLOBAL: MetricMeta = gauge("node_btrfs_global_rsv_size_bytes", "Size of global reserve.");
static DEVICE: MetricMeta = gauge("node_btrfs_device_size_bytes", "Size of a device that is part of the filesystem.");
static RESERVED: MetricMeta = gauge("node_btrfs_reserved_bytes", "Amount of space reserved for a data type");
static USED: MetricMeta = gauge("node_btrfs_used_bytes", "Amount of used space by a layout/data type");
static SIZE: MetricMeta = gauge("node_btrfs_size_bytes", "Amount of space allocated for a layout/data type");
static RATIO: MetricMeta = gauge("node_btrfs_allocation_ratio", "Data allocation ratio for a layout/data type");

/// Btrfs. Errors and unused space of devices need calls on the mounted file system and are left out.
pub(super) struct Btrfs;

impl Collect for Btrfs {
    fn collect(&mut self, round: &Round, sink: &mut Sink) -> Result<(), CollectError> {
        let mut rows = Rows::default();
        for path in entries(&round.roots.sys.join("fs/btrfs"))? {
            // Beside the file systems there is `features`.
            if !path.join("allocation").is_dir() {
                continue;
            }
            let folder = file_name(&path);
            let uuid = word_at(path.join("metadata_uuid")).unwrap_or(folder);
            let uuid = ("uuid", uuid.as_str());
            rows.push(&INFO, &[("label", &word_at(path.join("label")).unwrap_or_default()), uuid], 1.0);
            if let Some(bytes) = number_at(path.join("allocation/global_rsv_size")) {
                rows.push(&GLOBAL, &[uuid], bytes);
            }
            let mut devices = 0.0;
            for device in entries(&path.join("devices"))? {
                devices += 1.0;
                if let Some(sectors) = number_at(device.join("size")) {
                    rows.push(&DEVICE, &[("device", &file_name(&device)), uuid], sectors * SECTOR_BYTES);
                }
            }
            for group in GROUPS {
                let folder = path.join("allocation").join(group);
                let group = ("block_group_type", group);
                if let Some(bytes) = number_at(folder.join("bytes_reserved")) {
                    rows.push(&RESERVED, &[group, uuid], bytes);
                }
                for layout in entries(&folder)? {
                    let mode = file_name(&layout);
                    let Some(ratio) = copies(&mode, devices) else { continue };
                    let labels = [group, ("mode", mode.as_str()), uuid];
                    for (meta, file) in [(&USED, "used_bytes"), (&SIZE, "total_bytes")] {
                        if let Some(bytes) = number_at(layout.join(file)) {
                            rows.push(meta, &labels, bytes);
                        }
                    }
                    rows.push(&RATIO, &labels, ratio);
                }
            }
        }
        rows.pour(sink);
        Ok(())
    }
}

/// How many bytes a byte takes in a layout over so many devices; `None` where the name is no layout.
fn copies(layout: &str, devices: f64) -> Option<f64> {
    Some(match layout {
        "single" | "raid0" => 1.0,
        "dup" | "raid1" | "raid10" => 2.0,
        "raid1c3" => 3.0,
        "raid1c4" => 4.0,
        "raid5" if devices > 1.0 => devices / (devices - 1.0),
        "raid6" if devices > 2.0 => devices / (devices - 2.0),
        "raid5" | "raid6" => 1.0,
        _ => return None,
    })
}
