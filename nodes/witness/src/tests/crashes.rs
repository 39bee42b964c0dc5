//! Crashes and failures at every step between check, store, signature and reply; clients at once.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering};

use proptest::prelude::*;

use super::*;
use crate::store::{Site, StoreError};

const SITES: [Site; 7] =
    [Site::Create, Site::Write, Site::Sync, Site::Rename, Site::FolderSync, Site::Sign, Site::Reply];

/// Panics where it is told to: nothing after that place is run, as in a process that ended there.
fn crashing_at(at: Site) -> Probe {
    Arc::new(move |site| {
        assert_ne!(site, at, "the power is cut");
        Ok(())
    })
}

fn failing_at(at: Site) -> Probe {
    Arc::new(move |site| if site == at { Err(io::Error::other("the disk fails")) } else { Ok(()) })
}

#[test]
fn a_crash_at_any_step_forgets_nothing_that_was_signed() {
    for site in SITES {
        // A rename that no sync of the folder followed may be there after a power cut, or not.
        for rename_lost in [false, true] {
            let (mut log, mut fork) = (ToyLog::new(ORIGIN, "a"), ToyLog::new(ORIGIN, "b"));
            let bench = Bench::of(&[&log]);
            assert_eq!(submit(&bench.open(), &log.submission(0, 3)).status, 200);
            let before = snapshot(&bench.state());
            let desk = bench.probed(crashing_at(site));
            let body = log.submission(3, 5);
            assert!(catch_unwind(AssertUnwindSafe(|| submit(&desk, &body))).is_err(), "{site:?}");
            drop(desk);
            if rename_lost && site == Site::FolderSync {
                set_back(&bench.state(), &before);
            }
            let signed = bench.notary.signed().iter().map(|(_, size, _)| *size).max().unwrap();
            assert_eq!(signed, if site == Site::Reply { 5 } else { 3 }, "{site:?}");
            let desk = bench.open();
            // What is remembered now is at least what was signed.
            let size = submit(&desk, &log.submission(1, 5));
            assert_eq!(size.status, 409);
            let known: u64 = String::from_utf8(size.body).unwrap().trim().parse().unwrap();
            assert!(known >= signed && (known == 3 || known == 5), "{site:?}: {known}");
            if matches!(site, Site::Sign | Site::Reply) {
                assert_eq!(known, 5, "{site:?}");
            }
            // Neither a fork of it nor one of what would have come next gets through.
            for size in [3, 5, 8] {
                assert!([409, 422].contains(&submit(&desk, &fork.submission(3, size.max(3))).status));
                assert!([409, 422].contains(&submit(&desk, &fork.submission(size, size)).status));
            }
            // The log goes on, and monitors see what was signed.
            assert_eq!(submit(&desk, &log.submission(known, 5)).status, 200);
            assert_eq!(submit(&desk, &log.submission(5, 9)).status, 200);
            assert_eq!(desk.checkpoint(&puente_audit_log::witness::monitoring_name(ORIGIN)).status, 200);
            bench.notary.is_honest();
        }
    }
}

#[test]
fn a_disk_that_fails_is_said_and_nothing_is_signed() {
    for site in SITES {
        let mut log = ToyLog::new(ORIGIN, "a");
        let bench = Bench::of(&[&log]);
        assert_eq!(submit(&bench.open(), &log.submission(0, 3)).status, 200);
        let signed = bench.notary.signed().len();
        let broken = Arc::new(AtomicU8::new(1));
        let (probe, once) = (failing_at(site), broken.clone());
        let desk = bench.probed(Arc::new(move |at| if once.load(Ordering::SeqCst) == 1 { probe(at) } else { Ok(()) }));
        assert_eq!(submit(&desk, &log.submission(3, 5)).status, 500, "{site:?}");
        if site != Site::Reply {
            assert_eq!(bench.notary.signed().len(), signed, "{site:?}");
        }
        broken.store(0, Ordering::SeqCst);
        let again = submit(&desk, &log.submission(3, 5)).status;
        match site {
            // The old record stands: the next attempt is as good as the first.
            Site::Create | Site::Write | Site::Sync | Site::Rename => assert_eq!(again, 200, "{site:?}"),
            // Which one stands is read at the next start; until then nothing is signed.
            Site::FolderSync => {
                assert_eq!(again, 503);
                drop(desk);
                let desk = bench.open();
                assert_eq!(submit(&desk, &log.submission(3, 5)).status, 409);
                assert_eq!(submit(&desk, &log.submission(5, 5)).status, 200);
            }
            Site::Sign | Site::Reply => assert_eq!(again, 409, "{site:?}"),
        }
        bench.notary.is_honest();
    }
}

#[test]
fn of_forks_that_come_at_once_one_is_cosigned() {
    const CLIENTS: usize = 8;
    let stories = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let log = ToyLog::new(ORIGIN, "a");
    let bench = Bench::of(&[&log]);
    let desk = bench.open();
    let mut known = 0;
    for _ in 0..20 {
        // Each goes on in its own way, to sizes of three kinds; after the first round one of them alone has the right tree.
        let forks = stories.iter().map(|story| ToyLog::new(ORIGIN, story)).zip(0_u64..);
        let bodies: Vec<Vec<u8>> = forks.map(|(mut fork, n)| fork.submission(known, known + 1 + n % 3)).collect();
        let barrier = Barrier::new(CLIENTS);
        let statuses: Vec<u16> = std::thread::scope(|scope| {
            let (barrier, desk) = (&barrier, &desk);
            let client = |body| {
                scope.spawn(move || {
                    barrier.wait();
                    submit(desk, body).status
                })
            };
            let clients: Vec<_> = bodies.iter().map(Vec::as_slice).map(client).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| [200, 409, 422].contains(status)), "{statuses:?}");
        known = bench.notary.signed().last().unwrap().1;
    }
    bench.notary.is_honest();
}

#[test]
fn logs_do_not_wait_for_each_other() {
    // The first log's store hangs until the second one's cosignature is there.
    let (mut one, mut other) = (ToyLog::new(ORIGIN, "a"), ToyLog::new("example.org/log2", "a"));
    let bench = Bench::of(&[&one, &other]);
    let (first, second) = (one.submission(0, 3), other.submission(0, 3));
    let (entered, done) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let hanging = std::sync::atomic::AtomicBool::new(true);
    let (at, until) = (entered.clone(), done.clone());
    let desk = bench.probed(Arc::new(move |site| {
        if site == Site::Create && hanging.swap(false, Ordering::SeqCst) {
            at.wait();
            until.wait();
        }
        Ok(())
    }));
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| submit(&desk, &first).status);
        entered.wait();
        assert_eq!(submit(&desk, &second).status, 200);
        done.wait();
        assert_eq!(slow.join().unwrap(), 200);
    });
}

#[test]
fn one_folder_is_for_one_process() {
    let log = ToyLog::new(ORIGIN, "a");
    let bench = Bench::of(&[&log]);
    let desk = bench.open();
    assert!(matches!(bench.try_open(None), Err(OpenError::Store(StoreError::Locked { .. }))));
    drop(desk);
    bench.open();
}

#[derive(Debug, Clone)]
struct Step {
    log: usize,
    forked: bool,
    from_known: bool,
    old: u64,
    grow: u64,
    crash: Option<usize>,
    rename_lost: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3_usize, 0..4_u8, 0..4_u8, 0..30_u64, 0..4_u64, 0..20_usize, any::<bool>());
    let step = step.prop_map(|(log, forked, from_known, old, grow, crash, rename_lost)| Step {
        log,
        forked: forked == 0,
        from_known: from_known > 0,
        old,
        grow,
        crash: (crash < SITES.len()).then_some(crash),
        rename_lost,
    });
    prop::collection::vec(step, 60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn three_logs_and_many_crashes_leave_the_witness_honest(steps in steps()) {
        let origins = ["example.org/a", "example.org/b", "example.org/c"];
        let mut logs: Vec<ToyLog> = origins.iter().map(|origin| ToyLog::new(origin, "a")).collect();
        let mut forks: Vec<ToyLog> = origins.iter().map(|origin| ToyLog::new(origin, "b")).collect();
        let bench = Bench::of(&logs.iter().collect::<Vec<_>>());
        // Where the next crash is to be; none: 255.
        let next = Arc::new(AtomicU8::new(255));
        let probe: Probe = {
            let next = next.clone();
            Arc::new(move |site| {
                let at = SITES.iter().position(|known| *known == site).unwrap();
                assert_ne!(usize::from(next.load(Ordering::SeqCst)), at, "the power is cut");
                Ok(())
            })
        };
        let mut desk = bench.probed(probe.clone());
        let mut known = [0_u64; 3];
        for step in steps {
            let old = if step.from_known { known[step.log] } else { step.old };
            let log = if step.forked { &mut forks[step.log] } else { &mut logs[step.log] };
            let body = log.submission(old, old + step.grow);
            let before = snapshot(&bench.state());
            next.store(step.crash.map_or(255, |at| u8::try_from(at).unwrap()), Ordering::SeqCst);
            let answer = catch_unwind(AssertUnwindSafe(|| submit(&desk, &body)));
            next.store(255, Ordering::SeqCst);
            if answer.is_err() {
                drop(desk);
                if step.rename_lost && step.crash.map(|at| SITES[at]) == Some(Site::FolderSync) {
                    set_back(&bench.state(), &before);
                }
                desk = bench.probed(probe.clone());
            }
            // What a client learns of the size, it learns from the witness.
            let asked = submit(&desk, &logs[step.log].submission(29, 31));
            known[step.log] = match asked.status {
                409 => String::from_utf8(asked.body).unwrap().trim().parse().unwrap(),
                200 => 31,
                _ => known[step.log],
            };
            bench.notary.is_honest();
        }
    }
}
