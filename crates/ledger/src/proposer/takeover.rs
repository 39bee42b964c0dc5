//! Takeover: the witnesses' heads are read first, what is found is finished, and only then is the ledger closed.

use super::*;

impl Proposer {
    /// Just before CLOSE is shown to the witnesses, they are asked once more: the convener may have come back meanwhile.
    pub(super) fn may_still_close(&mut self, member: &Member, now: Millis, due: bool, out: &mut Out) -> bool {
        let (Stage::Keeping(keeping), Some(rules)) = (&mut self.stage, member.rules()) else { return false };
        let silent = member.must_be_silent(&member.me).is_some_and(|needed| now.since(member.heard) >= needed);
        let answered = keeping.read.as_ref().is_some_and(|(at, seen)| {
            now.since(*at) <= member.tuning.retry && rules.quorum().is_met_by(seen.iter().map(String::as_str))
        });
        if silent && answered && self.rivals.is_empty() {
            return true;
        }
        if silent && (due || keeping.read.is_none()) {
            keeping.read = Some((now, BTreeSet::new()));
            for key in rules.quorum().keys() {
                let ledger = member.chain.ledger().clone();
                out.push(Effect::Read { witness: key.name().to_owned(), ledger });
            }
            if !self.rivals.is_empty() {
                self.stage = Stage::Reading { since: now, seen: BTreeSet::new() };
                self.retry = Retry::at(now.plus(member.tuning.retry), member);
            }
        }
        false
    }

    /// Reads the witnesses' heads first: finishes what it finds, or goes on with what it signed, or closes.
    pub(super) fn reading(&mut self, member: &Member, now: Millis, due: bool, out: &mut Out) {
        let Stage::Reading { since, seen } = &mut self.stage else { return };
        let Some(rules) = member.rules().cloned() else { return };
        let ledger = member.chain.ledger().clone();
        if now == *since && due {
            for key in rules.quorum().keys() {
                out.push(Effect::Read { witness: key.name().to_owned(), ledger: ledger.clone() });
            }
            return;
        }
        if !due {
            return;
        }
        let enough = rules.quorum().is_met_by(seen.iter().map(String::as_str));
        // The most witnesses first: it is the likeliest to get the others.
        let found = self.rivals.values().max_by_key(|(_, by)| by.len());
        if let Some((head, _)) = found {
            let kept = member.kept.values().find(|kept| kept.head.checkpoint() == head.checkpoint());
            let mine = self.mine.as_ref().filter(|mine| mine.head.checkpoint() == head.checkpoint());
            let entry = kept.map(|kept| kept.entry.clone()).or_else(|| mine.map(|mine| mine.entry.clone()));
            match entry {
                Some(entry) => {
                    let head = head.clone();
                    self.ask(member, entry, head, now, out);
                    return;
                }
                None => Self::want_kept(member, out),
            }
        } else if let (true, Some(mine)) = (enough, &self.mine) {
            // A CLOSE that is no longer due is not shown: the convener has come back.
            let (entry, head) = (mine.entry.clone(), mine.head.clone());
            self.stage = Stage::Keeping(Keeping::new(entry, head));
            self.retry = Retry::at(now, member);
            return;
        } else if enough {
            self.stage = Stage::Idle;
            let silent = now.since(member.heard);
            let may = member.must_be_silent(&member.me).filter(|needed| *needed > 0 && silent >= *needed);
            if let (Some(_), false, Some(next)) = (may, self.spent, ledger.next()) {
                let charter = member.newest.clone();
                let draft = Draft { ledger, index: member.chain.size(), charter, body: Body::Close { next } };
                self.sign(member, draft, out);
            }
            return;
        }
        for key in rules.quorum().keys() {
            out.push(Effect::Read { witness: key.name().to_owned(), ledger: ledger.clone() });
        }
    }
}
