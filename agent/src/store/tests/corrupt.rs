//! Damaged files and blocks, and paths that cannot be used.

use super::*;
use std::error::Error;

const PAGE: usize = schema::PAGE_BYTES as usize;

fn damage(rig: &Rig, sql: &str) {
    let db = rusqlite::Connection::open(rig.path()).unwrap();
    assert!(db.execute(sql, []).unwrap() > 0);
}

#[test]
fn a_damaged_block_is_booked_and_the_rest_goes_on() {
    let mut rig = Rig::new();
    rig.scrapes(12, 2);
    rig.log(&["a"], "1");
    rig.flush();
    rig.log(&["b"], "2");
    rig.flush();
    damage(&rig, "UPDATE block SET body = randomblob(length(body)) WHERE kind = 1 AND first = 5");
    damage(&rig, "UPDATE block SET body = x'00' WHERE kind = 2 AND first = 1");
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    let gone: Vec<u64> =
        fleet.content.iter().filter(|(_, c)| **c == Content::Gone(LossReason::Corrupt)).map(|(k, _)| k.2.0).collect();
    assert_eq!(gone, [5, 6, 7, 8, 1]);
    assert_eq!(fleet.lines(), ["b"]);
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 12);
    assert_eq!(rig.losses(StreamKind::Metrics, LossReason::Corrupt).unwrap().count, Some(8));
    assert_eq!(rig.losses(StreamKind::Logs, LossReason::Corrupt).unwrap().count, Some(1));
    let now = rig.now;
    assert_eq!(rig.w().stats(now).corrupt_blocks, 2);
    rig.restart();
    fleet.sync(&mut rig);
    assert!(rig.w().tips().iter().all(|tip| tip.waiting == 0));
}

#[test]
fn a_file_that_is_no_database_is_set_aside() {
    let mut rig = Rig::new();
    rig.scrapes(4, 2);
    rig.close();
    std::fs::write(rig.path(), vec![b'x'; 10_000]).unwrap();
    rig.open();
    let restored = rig.restored.as_ref().unwrap();
    assert!(!restored.clean);
    let aside = restored.replaced.clone().unwrap();
    assert_eq!(std::fs::read(&aside).unwrap(), vec![b'x'; 10_000]);
    for stream in StreamKind::ALL {
        assert_eq!(rig.losses(stream, LossReason::DatabaseReplaced).unwrap().count, None);
    }
    rig.scrapes(4, 2);
    let mut fleet = Fleet::default();
    fleet.sync(&mut rig);
    assert_eq!(fleet.of(StreamKind::Metrics).len(), 4);
    assert!(fleet.content.keys().all(|(_, epoch, _)| epoch.0 > 3), "new epochs");
    // Only the newest damaged file is kept.
    rig.close();
    std::fs::write(rig.path(), b"neither is this").unwrap();
    rig.now.wall = UnixMillis(rig.now.wall.0 + 5);
    rig.open();
    assert!(!aside.exists());
    assert!(rig.restored.as_ref().unwrap().replaced.as_ref().unwrap().exists());
}

#[test]
fn damage_inside_is_found_after_a_crash() {
    let mut rig = Rig::new();
    rig.scrapes(40, 50);
    rig.flush();
    rig.crash();
    let db = rusqlite::Connection::open(rig.path()).unwrap();
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let root: u32 =
        db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'block'", [], |row| row.get(0)).unwrap();
    drop(db);
    let mut bytes = std::fs::read(rig.path()).unwrap();
    let page = (root as usize - 1) * PAGE;
    bytes[page..page + PAGE].fill(0xa5);
    std::fs::write(rig.path(), bytes).unwrap();
    rig.open();
    assert!(rig.restored.as_ref().unwrap().replaced.is_some());
    rig.scrapes(4, 2);
}

#[test]
fn an_empty_file_is_a_new_database() {
    let mut rig = Rig::new();
    rig.close();
    std::fs::write(rig.path(), b"").unwrap();
    rig.open();
    let restored = rig.restored.as_ref().unwrap();
    assert!(restored.clean && restored.replaced.is_none());
}

#[test]
fn foreign_and_newer_files_are_left_alone() {
    let mut rig = Rig::new();
    rig.close();
    let db = rusqlite::Connection::open(rig.path()).unwrap();
    db.execute_batch("PRAGMA user_version = 99").unwrap();
    let error = rig.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, .. }), "{error}");
    db.execute_batch("PRAGMA user_version = 0").unwrap();
    let error = rig.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Foreign { .. }), "{error}");
    db.execute_batch("PRAGMA user_version = 1").unwrap();
    drop(db);
    rig.open();
}

#[test]
fn a_path_that_cannot_be_used_is_named() {
    let rig = Rig::new();
    let file = rig.dir.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Writer::open(&file.join("agent.db"), Config::default(), rig.now, || 1).map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Unwritable { .. }), "{error}");
    assert!(error.to_string().contains("file"), "{error}");
    assert!(error.source().is_some());
    let error = Writer::open(rig.dir.path(), Config::default(), rig.now, || 1).map(drop).unwrap_err();
    assert!(error.to_string().contains(&*rig.dir.path().to_string_lossy()), "{error}");
    let faulty = Config { max_series: 0, ..Config::default() };
    let error = Writer::open(&rig.dir.path().join("x.db"), faulty, rig.now, || 1).map(drop).unwrap_err();
    assert!(error.to_string().contains("store.max_series"), "{error}");
}

#[test]
fn a_commit_that_meets_damage_says_that_a_restart_is_needed() {
    let mut rig = Rig::new();
    rig.scrapes(400, 20);
    rig.flush();
    rig.w().db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(!rig.w().is_broken());
    let root: u32 =
        rig.w().db.query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'block'", [], |row| row.get(0)).unwrap();
    let mut bytes = std::fs::read(rig.path()).unwrap();
    let page = (root as usize - 1) * PAGE;
    bytes[page..page + PAGE].fill(0xa5);
    std::fs::write(rig.path(), bytes).unwrap();
    rig.w().db.release_memory().unwrap();
    rig.scrapes(4, 20);
    let now = rig.now;
    assert!(rig.w().flush(now).is_err() && rig.w().is_broken());
    rig.crash();
    rig.open();
    assert!(rig.restored.as_ref().unwrap().replaced.is_some());
}
