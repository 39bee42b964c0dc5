//! One group of which two members are kept.

use std::time::{Duration, Instant};

use puente_group::limits::ADDS_PER_COMMIT_MAX;
use puente_group::{Group, GroupId, Intent, Ordered, Rejoin, commit_hash};
use puente_model::LeafIndex;

use super::people::{Member, People, SUITE};
use crate::Failure;

/// What one commit cost: milliseconds and bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Its maker made it.
    pub stage: f64,
    /// Its maker merged it.
    pub merge: f64,
    /// Another member processed it.
    pub process: f64,
    /// What merging handed out to be written, in bytes.
    pub written: f64,
    /// Bytes of the commit.
    pub commit: f64,
    /// Bytes of the Welcome, if there is one.
    pub welcome: f64,
    /// Whoever was added came in.
    pub join: f64,
}

impl Cost {
    /// All that its maker does.
    pub fn make(&self) -> f64 {
        self.stage + self.merge
    }
}

/// What making a whole group cost its founder.
#[derive(Debug, Clone, Copy)]
pub struct Created {
    /// Milliseconds.
    pub ms: f64,
    /// In so many commits.
    pub commits: f64,
    /// Bytes of all of them.
    pub commits_bytes: f64,
    /// Bytes of the last Welcome.
    pub welcome_bytes: f64,
}

/// How long something took.
pub fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// So many places, evenly spread over all; all of them if they are not more.
fn spread(all: usize, most: usize) -> impl Iterator<Item = usize> {
    let count = all.min(most);
    (0..count).map(move |at| at * all / count)
}

/// What the first who were added came in with.
#[derive(Debug)]
struct Entrance {
    welcome: Vec<u8>,
    commit: Vec<u8>,
    ordered: Ordered,
}

/// One group.
#[derive(Debug)]
pub struct Room<'p> {
    people: &'p People,
    /// Its name.
    pub id: GroupId,
    /// Who makes the commits that are measured.
    pub founder: Member,
    /// Who processes them.
    other: Member,
    entrance: Entrance,
    members: usize,
    /// Commits that were ordered.
    ordered: u64,
}

impl<'p> Room<'p> {
    /// The first of the people makes a group and adds the next ones.
    ///
    /// # Errors
    /// The group refuses somebody.
    pub fn create(people: &'p People, members: usize) -> Result<(Self, Created), Failure> {
        let (id, me) = (GroupId([7; 32]), &people.all[0].identity);
        let adds = people.all[1..members].chunks(ADDS_PER_COMMIT_MAX);
        let adds: Vec<Vec<Vec<u8>>> = adds.map(|some| some.iter().map(|one| one.package.clone()).collect()).collect();
        let began = Instant::now();
        let (group, changes) = Group::create(id, SUITE, b"policy", me, &people.trust, people.now)?;
        let mut took = began.elapsed();
        let mut founder = Member::new(0, group, changes);
        let (mut commits_bytes, mut welcome_bytes, mut ordered) = (0, 0, 0);
        let mut entrance = None;
        let mut looking: Option<Member> = None;
        for add in adds {
            let intent = Intent { add, ..Intent::default() };
            let began = Instant::now();
            let (pending, changes) = founder.group.stage(me, &intent, &people.trust, people.now)?;
            took += began.elapsed();
            founder.keep(changes);
            let order = order(people, id, pending.epoch(), pending.commit(), &mut ordered);
            let began = Instant::now();
            let (merged, changes) = founder.group.merge(&pending, &order)?;
            took += began.elapsed();
            founder.keep(changes);
            let welcome = merged.welcome.ok_or("nobody was welcomed")?;
            commits_bytes += pending.commit().len();
            welcome_bytes = welcome.len();
            if let Some(other) = &mut looking {
                let (_, changes) = other.group.process(pending.commit(), &order, &people.trust)?;
                other.keep(changes);
            } else {
                let first = Entrance { welcome, commit: pending.commit().to_vec(), ordered: order };
                looking = Some(join(people, 1, &first)?);
                entrance = Some(first);
            }
        }
        let created = Created {
            ms: millis(took),
            commits: ordered as f64,
            commits_bytes: commits_bytes as f64,
            welcome_bytes: welcome_bytes as f64,
        };
        let (other, entrance) = looking.zip(entrance).ok_or("a group of one")?;
        Ok((Self { people, id, founder, other, entrance, members, ordered }, created))
    }

    /// Somebody whom the founder's first commit added comes in, into a state of its own.
    ///
    /// # Errors
    /// Its Welcome does not open.
    pub fn join(&self, at: usize) -> Result<Member, Failure> {
        join(self.people, at, &self.entrance)
    }

    /// To add somebody.
    pub fn adding(&self, at: usize) -> Intent {
        Intent { add: vec![self.people.all[at].package.clone()], ..Intent::default() }
    }

    /// To remove somebody.
    pub fn removing(&self, at: usize) -> Intent {
        Intent { remove: vec![self.people.all[at].identity.uri().clone()], ..Intent::default() }
    }

    /// What it would cost to do something; the group stays as it is.
    ///
    /// # Errors
    /// It is refused.
    pub fn cost(&self, intent: &Intent) -> Result<Cost, Failure> {
        let (mut founder, mut other) = (self.founder.copy(self.id)?, self.other.copy(self.id)?);
        let people = self.people;
        let began = Instant::now();
        let (pending, changes) = founder.group.stage(&people.all[0].identity, intent, &people.trust, people.now)?;
        let stage = began.elapsed();
        founder.keep(changes);
        let ordered = order(people, self.id, pending.epoch(), pending.commit(), &mut self.ordered.clone());
        let began = Instant::now();
        let (merged, changes) = founder.group.merge(&pending, &ordered)?;
        let merge = began.elapsed();
        let written = founder.keep(changes);
        let began = Instant::now();
        let (processed, changes) = other.group.process(pending.commit(), &ordered, &people.trust)?;
        let process = began.elapsed();
        other.keep(changes);
        if processed.epoch != merged.epoch || other.group.epoch_hash() != founder.group.epoch_hash() {
            return Err("two members of one group are in different epochs".into());
        }
        let mut join_ms = f64::NAN;
        let welcome = merged.welcome.as_ref().map_or(0, Vec::len);
        if let Some(welcome) = merged.welcome {
            let at = self.members;
            let mut stock = people.all[at].stock()?;
            let me = &people.all[at].identity;
            let began = Instant::now();
            stock.join(me, &welcome, pending.commit(), &ordered, &people.trust, &[], Vec::new())?;
            join_ms = millis(began.elapsed());
        }
        Ok(Cost {
            stage: millis(stage),
            merge: millis(merge),
            process: millis(process),
            written: written as f64,
            commit: pending.commit().len() as f64,
            welcome: welcome as f64,
            join: join_ms,
        })
    }

    /// Adds the next one for good.
    ///
    /// # Errors
    /// It is refused.
    pub fn grow(&mut self, at: usize) -> Result<(), Failure> {
        let adding = self.adding(at);
        self.found(&adding)?;
        self.members += 1;
        Ok(())
    }

    /// The founder commits.
    fn found(&mut self, intent: &Intent) -> Result<(), Failure> {
        let people = self.people;
        commit(people, self.id, &mut self.ordered, &mut self.founder, &mut self.other, intent)
    }

    /// Members commit, evenly spread, at most so many; how many did.
    ///
    /// # Errors
    /// A commit is refused.
    pub fn settle(&mut self, most: usize) -> Result<usize, Failure> {
        let mut committed = 0;
        for at in spread(self.members, most) {
            match at {
                0 => self.found(&Intent::default())?,
                1 => {
                    let (people, intent) = (self.people, Intent::default());
                    commit(people, self.id, &mut self.ordered, &mut self.other, &mut self.founder, &intent)?;
                }
                _ => self.rejoin(at)?,
            }
            committed += 1;
        }
        Ok(committed)
    }

    /// A member whose state is not kept commits: from outside, its leaf in its own place.
    ///
    /// # Errors
    /// It is refused.
    pub fn rejoin(&mut self, at: usize) -> Result<(), Failure> {
        let people = self.people;
        let info = self.founder.group.info(&people.all[0].identity)?;
        let rejoin = Rejoin::start(&info, &people.all[at].identity, &people.trust, people.now)?;
        let order = order(people, self.id, rejoin.epoch(), rejoin.commit(), &mut self.ordered);
        for member in [&mut self.founder, &mut self.other] {
            let (_, changes) = member.group.process(rejoin.commit(), &order, &people.trust)?;
            member.keep(changes);
        }
        Ok(())
    }
}

fn join(people: &People, at: usize, by: &Entrance) -> Result<Member, Failure> {
    let person = &people.all[at];
    let joined =
        person.stock()?.join(&person.identity, &by.welcome, &by.commit, &by.ordered, &people.trust, &[], Vec::new())?;
    Ok(Member::new(at, joined.group, joined.group_changes))
}

/// The next commit is ordered.
fn order(people: &People, id: GroupId, epoch: u64, commit: &[u8], ordered: &mut u64) -> Ordered {
    let order = Ordered::by_ledger(id, epoch, commit_hash(commit), LeafIndex(*ordered), people.now);
    *ordered += 1;
    order
}

/// One of the two who are kept commits for good, and the other processes it.
fn commit(
    people: &People,
    id: GroupId,
    ordered: &mut u64,
    by: &mut Member,
    other: &mut Member,
    intent: &Intent,
) -> Result<(), Failure> {
    let me = &people.all[by.at].identity;
    let (pending, changes) = by.group.stage(me, intent, &people.trust, people.now)?;
    by.keep(changes);
    let order = order(people, id, pending.epoch(), pending.commit(), ordered);
    let (_, changes) = by.group.merge(&pending, &order)?;
    by.keep(changes);
    let (_, changes) = other.group.process(pending.commit(), &order, &people.trust)?;
    other.keep(changes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn committers_are_evenly_spread() {
        let places = |all, most| spread(all, most).collect::<Vec<_>>();
        assert_eq!(places(4, 200), [0, 1, 2, 3]);
        assert_eq!(places(10, 5), [0, 2, 4, 6, 8]);
        assert_eq!(places(7, 3), [0, 2, 4]);
        assert_eq!(places(7, 0), [] as [usize; 0]);
    }
}
