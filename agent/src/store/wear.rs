//! How much this thread has written, by the kernel's account.

/// Bytes that the calling thread has handed to `write` since it began: SQLite's frames and checkpoints exactly, since
/// one thread does all the writing. What the file system adds for its own journal is not in it. `None` where the
/// kernel keeps no such account (`CONFIG_TASK_IO_ACCOUNTING`).
pub(super) fn written_by_thread() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    text.lines().find_map(|line| line.strip_prefix("wchar: "))?.trim().parse().ok()
}

/// What a commit of `bytes` costs where the kernel does not say: each byte goes to the write-ahead log and from there
/// to its place, and so do about five pages around it.
pub(super) const fn estimate(bytes: u64) -> u64 {
    2 * bytes + 2 * 5 * super::schema::PAGE_BYTES
}
