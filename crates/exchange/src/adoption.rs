//! Newer charter parts and rules: offered by an operator or fetched from a peer that is ahead, verified on top of what
//! is in force, kept, recorded, and only then judged by.
//!
//! One change at a time. From the moment in which its entry is on its way to the disk until it is there, no input is
//! taken in: nothing is recorded under old rules behind the entry, and nothing is judged by new ones before it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use prost::Message as _;
use puente_audit_log::VerifierKey;
use puente_charter::{Charter, CharterError, ClaimedPart, Conviction, Offer, Part, PartBytes, PartId};
use puente_model::{CharterVector, Digest, EventKind, Jurisdiction, Label, Millis, NodeUri, digest, limits};
use puente_policy::Judge;
use puente_wire::{fault::FaultCode, proto};

use crate::api::{Alarm, Conclusion, ConnectionId, Effect, Rules, Store, StreamId, Ticket, Unasked};
use crate::control::{Problem, plain_event};
use crate::engine::{Engine, Route, Then, Timer};
use crate::ledger::Intent;
use crate::peer::{PARKED_BYTES_MAX, PARKED_MAX, Peer};
use crate::persist::{self, StoredStop};
use crate::seeds::Seeds;

/// How long a peer that is ahead has to show its charter parts, and the disk to keep them.
const CATCH_UP_MILLIS: u64 = 10_000;
/// How long a peer whose parts were not adopted is not asked again.
const CATCH_AGAIN_MILLIS: u64 = 5_000;

/// Charter parts that are being fetched from a peer, and what waits for them.
#[derive(Debug, Default)]
pub(crate) struct Catching {
    wanted: BTreeSet<PartId>,
    got: Vec<ClaimedPart>,
    /// All are there: they are offered, once it is their turn.
    offered: bool,
    frames: Vec<(ConnectionId, StreamId, Vec<u8>)>,
    bytes: usize,
    until: Millis,
    /// Where the peer was asked for them.
    line: Option<ConnectionId>,
}

impl Catching {
    /// The frame is judged once the parts are there.
    fn wait(&mut self, route: Route, frame: &[u8]) -> Result<(), FaultCode> {
        if self.frames.len() >= PARKED_MAX || self.bytes + frame.len() > PARKED_BYTES_MAX {
            return Err(FaultCode::Overloaded);
        }
        self.bytes += frame.len();
        self.frames.push((route.connection, route.stream, frame.to_vec()));
        Ok(())
    }
}

/// Who offers parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Offerer {
    Operator(Ticket),
    Peer(NodeUri),
}

/// Changes of charter and rules under way.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Whose parts the driver is keeping.
    keeping: Option<Offerer>,
    /// Operators' offers that wait for their turn.
    waiting: Vec<(Ticket, Vec<ClaimedPart>)>,
    /// Nations whose newer annexes are not adopted.
    pub(crate) stopped: BTreeMap<Jurisdiction, StoredStop>,
}

impl Changes {
    pub(crate) fn restore(store: &dyn Store) -> Result<Self, String> {
        let mut stopped = BTreeMap::new();
        for (nation, value) in persist::each_name(store, persist::STOPPED)? {
            let nation = nation.parse().map_err(|e: puente_model::NameError| e.to_string())?;
            stopped.insert(nation, StoredStop::decode(value.as_slice()).map_err(|e| e.to_string())?);
        }
        Ok(Self { stopped, ..Self::default() })
    }

    /// Nobody is served any more: whose wishes are not carried out.
    pub(crate) fn abandon(&mut self) -> Vec<Ticket> {
        let keeping = match self.keeping.take() {
            Some(Offerer::Operator(ticket)) => Some(ticket),
            _ => None,
        };
        keeping.into_iter().chain(self.waiting.drain(..).map(|(ticket, _)| ticket)).collect()
    }

    /// Whether a convicted nation's annex would be newer in `next`, without a common part that settles it.
    fn stops(&self, before: &Charter, next: &Charter) -> Option<CharterError> {
        self.stopped.iter().find_map(|(nation, stop)| {
            let newer = next.vector().annexes.get(nation) > before.vector().annexes.get(nation);
            let settled = next.vector().common > stop.common
                && next.common().jurisdiction(nation).is_some_and(|pinned| pinned.annex.number >= stop.number);
            (newer && !settled).then(|| CharterError::Stopped { jurisdiction: nation.clone(), number: stop.number })
        })
    }
}

/// The names and hashes of the newest parts, as Ready carries them.
pub(crate) fn part_names(charter: &Charter) -> Vec<proto::PartName> {
    let name = |id: PartId| {
        let hash = charter.part_hash(&id).unwrap_or_default();
        proto::PartName { jurisdiction: code(&id), number: id.number, hash: hash.0.to_vec() }
    };
    charter.newest().into_iter().map(name).collect()
}

fn code(id: &PartId) -> String {
    id.nation.as_ref().map(ToString::to_string).unwrap_or_default()
}

fn part_id(jurisdiction: &str, number: u32) -> Option<PartId> {
    let nation = match jurisdiction {
        "" => None,
        code => Some(code.parse().ok()?),
    };
    (number > 0).then_some(PartId { nation, number })
}

/// A part with its signatures, as it travels.
fn to_proto(part: &ClaimedPart) -> proto::CharterPart {
    let bytes = match part.part() {
        Part::Common(part) => proto::charter_part::Part::Common(part.canonical_bytes()),
        Part::Annex(part) => proto::charter_part::Part::Annex(part.canonical_bytes()),
    };
    let signature = |s: &puente_charter::PartSignature| proto::PartSignature {
        key_name: s.key_name.clone(),
        signature: s.signature.to_vec(),
    };
    proto::CharterPart { part: Some(bytes), signatures: part.signatures().iter().map(signature).collect() }
}

fn from_proto(part: &proto::CharterPart) -> Result<ClaimedPart, String> {
    let bytes = match &part.part {
        Some(proto::charter_part::Part::Common(bytes)) => PartBytes::Common(bytes),
        Some(proto::charter_part::Part::Annex(bytes)) => PartBytes::Annex(bytes),
        None => return Err("no part".to_owned()),
    };
    let signatures: Vec<_> = part.signatures.iter().map(|s| (s.key_name.clone(), s.signature.clone())).collect();
    ClaimedPart::from_canonical(bytes, &signatures).map_err(|error| error.to_string())
}

/// What a peer's Ready says of its charter: the vector, and the hash of each newest part.
pub(crate) fn shown_charter(ready: &proto::Ready) -> Option<(CharterVector, Vec<(PartId, Digest)>)> {
    let mut parts = Vec::new();
    let mut vector = CharterVector::default();
    for name in &ready.parts {
        let id = part_id(&name.jurisdiction, name.number)?;
        let hash = Digest::try_from(name.hash.as_slice()).ok()?;
        match &id.nation {
            None if parts.is_empty() => vector.common = id.number,
            Some(nation) if !parts.is_empty() && vector.annexes.keys().next_back() < Some(nation) => {
                vector.annexes.insert(nation.clone(), id.number);
            }
            _ => return None,
        }
        parts.push((id, hash));
    }
    // The hash of the whole follows from the parts: whoever shows others shows nothing.
    let text = vector.to_string();
    let mut covered: Vec<&[u8]> = vec![text.as_bytes()];
    for (id, hash) in &parts {
        covered.extend(id.nation.as_ref().map(|nation| nation.as_str().as_bytes()));
        covered.push(hash.as_bytes());
    }
    let whole = digest(Label("puente/v1/charter"), &covered);
    let said = ready.charter.as_ref() == Some(&(&vector).into());
    (said && ready.charter_hash == whole.0).then_some((vector, parts))
}

/// Why this node cannot live under a charter that verifies.
fn unusable(charter: &Charter, catalogue: Digest) -> Option<CharterError> {
    let other = charter.catalogue() != catalogue;
    other.then(|| CharterError::OtherCatalogue { charter: charter.catalogue(), own: catalogue })
}

impl Engine {
    // ---- what is offered

    pub(crate) fn offer(&mut self, now: Millis, ticket: Ticket, parts: Vec<ClaimedPart>) {
        self.changes.waiting.push((ticket, parts));
        self.next_offer(now);
    }

    /// Judges the next offer, unless the driver is busy with one.
    fn next_offer(&mut self, now: Millis) {
        while self.changes.keeping.is_none() {
            let (offerer, parts) = if self.changes.waiting.is_empty() {
                let ready =
                    |peer: &&mut Peer| peer.catching.as_ref().is_some_and(|c| c.wanted.is_empty() && !c.offered);
                let Some(peer) = self.peers.values_mut().find(ready) else { return };
                let Some(catching) = &mut peer.catching else { return };
                catching.offered = true;
                (Offerer::Peer(peer.uri.clone()), std::mem::take(&mut catching.got))
            } else {
                let (ticket, parts) = self.changes.waiting.remove(0);
                (Offerer::Operator(ticket), parts)
            };
            let offer = self.charter.offer(&parts, now).and_then(|offer| match offer {
                Offer::Next(next, fresh) => {
                    let why = unusable(&next, self.catalogue.digest());
                    match why.or_else(|| self.changes.stops(&self.charter, &next)) {
                        Some(error) => Err(error),
                        None => Ok(Offer::Next(next, fresh)),
                    }
                }
                Offer::Same => Ok(Offer::Same),
            });
            match offer {
                Ok(Offer::Next(next, parts)) => {
                    self.changes.keeping = Some(offerer);
                    self.emit(Effect::Adopt { charter: Arc::new(*next), parts });
                }
                Ok(Offer::Same) => self.offer_done(now, offerer, false),
                Err(error) => {
                    if let CharterError::Convicted(conviction) = &error
                        && let Some((first, second)) = self.charter.both(&parts, conviction)
                    {
                        self.stop_nation(now, conviction.clone(), &first, &second);
                    }
                    self.offer_failed(now, offerer, error);
                }
            }
        }
    }

    fn offer_done(&mut self, now: Millis, offerer: Offerer, changed: bool) {
        match offerer {
            Offerer::Operator(ticket) => {
                self.tell(ticket, Conclusion::InForce { vector: self.vector.clone(), changed });
            }
            Offerer::Peer(peer) => self.caught_up(now, &peer),
        }
    }

    fn offer_failed(&mut self, now: Millis, offerer: Offerer, error: CharterError) {
        match offerer {
            Offerer::Operator(ticket) => self.tell(ticket, Conclusion::NotAdopted(Box::new(error))),
            Offerer::Peer(peer) => {
                let why = format!("{error}; {}", error.mend());
                self.catching_failed(now, &peer, why);
            }
        }
    }

    /// Both parts are kept as evidence; of a nation that signed both, nothing newer is adopted.
    fn stop_nation(&mut self, now: Millis, conviction: Conviction, first: &ClaimedPart, second: &ClaimedPart) {
        let both = proto::TwoParts { v: 1, first: Some(to_proto(first)), second: Some(to_proto(second)) };
        let evidence = both.encode_to_vec();
        let event = self.event(now, plain_event(EventKind::PeerFault, 1, Vec::new()));
        let mut intent = self.event_intent(now, event, evidence.clone(), Then::Nothing);
        if let Conviction::TwoAnnexes { jurisdiction, number, .. } = &conviction {
            let stop = StoredStop { number: *number, common: self.vector.common };
            if self.changes.stopped.contains_key(jurisdiction) {
                return;
            }
            intent.puts.push((persist::name_key(persist::STOPPED, jurisdiction.as_str()), Some(stop.encode_to_vec())));
            self.changes.stopped.insert(jurisdiction.clone(), stop);
        }
        self.enqueue(now, intent);
        self.emit(Effect::Alarm(Alarm::TwoParts { conviction, evidence }));
    }

    // ---- what comes into force

    /// The driver keeps the parts: the change is recorded.
    pub(crate) fn kept(&mut self, now: Millis, rules: Rules) {
        self.change(now, None, rules);
    }

    pub(crate) fn not_kept(&mut self, now: Millis) {
        match self.changes.keeping.take() {
            Some(Offerer::Operator(ticket)) => self.tell(ticket, Conclusion::LogUnavailable),
            Some(Offerer::Peer(peer)) => {
                self.catching_failed(now, &peer, "the parts cannot be kept: mend this node's disk".to_owned());
            }
            None => {}
        }
        self.next_offer(now);
    }

    pub(crate) fn change(&mut self, now: Millis, ticket: Option<Ticket>, mut rules: Rules) {
        // Only what was offered and found good is adopted; a race between two changes must not take one back.
        rules.charter.take_if(|next| next.hash() == self.charter.hash() || !next.vector().covers(&self.vector));
        if rules.events.is_empty() {
            self.in_force(now, ticket, rules);
            return;
        }
        let last = rules.events.len() - 1;
        let events = std::mem::take(&mut rules.events);
        let vector = rules.charter.as_ref().map_or(self.vector.clone(), |next| next.vector());
        let policy = rules.policy.as_ref().map_or(self.policy_hash, |policy| policy.hash());
        let mut puts = match &rules.charter {
            Some(next) => self.kept_out_by(now, &next.clone()),
            None => Vec::new(),
        };
        let mut then = Some(Then::Rule(ticket, Box::new(rules)));
        for (at, local) in events.into_iter().enumerate() {
            let detail = local.detail.clone();
            let mut event = self.event(now, local);
            event.charter = vector.clone();
            event.policy_hash = Some(policy);
            let then = if at == last { then.take().unwrap_or(Then::Nothing) } else { Then::Nothing };
            let mut intent = self.event_intent(now, event, detail, then);
            intent.puts.append(&mut puts);
            self.enqueue(now, intent);
        }
        self.hold_back();
    }

    fn kept_out_by(&mut self, now: Millis, next: &Charter) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        let mut puts = self.kept.admit(now, &self.charter, next);
        let settled: Vec<Jurisdiction> = self
            .changes
            .stopped
            .iter()
            .filter(|(nation, stop)| {
                next.vector().common > stop.common
                    && next.common().jurisdiction(nation).is_some_and(|pinned| pinned.annex.number >= stop.number)
            })
            .map(|(nation, _)| nation.clone())
            .collect();
        for nation in settled {
            self.changes.stopped.remove(&nation);
            puts.push((persist::name_key(persist::STOPPED, nation.as_str()), None));
        }
        puts
    }

    /// The change is in the log: from here on everything is judged by it.
    pub(crate) fn in_force(&mut self, now: Millis, ticket: Option<Ticket>, rules: Rules) {
        let changed = rules.charter.is_some() || rules.policy.is_some();
        if let Some(policy) = rules.policy {
            self.policy_hash = policy.hash();
            self.judge = Judge::new(policy, Judge::CAPACITY);
        }
        let adopted = rules.charter.is_some();
        if let Some(charter) = rules.charter {
            self.take_up(now, Arc::clone(&charter));
            self.tell_groups(now, puente_corridor::Input::Charter(charter));
        }
        if let Some(ticket) = ticket {
            self.tell(ticket, Conclusion::InForce { vector: self.vector.clone(), changed });
        } else if let Some(offerer) = self.changes.keeping.take() {
            self.offer_done(now, offerer, adopted);
        }
        self.next_offer(now);
    }

    fn take_up(&mut self, now: Millis, charter: Arc<Charter>) {
        if charter.common_hash() != self.charter.common_hash() {
            // Seeds that are alive are sealed to auditors who may be none any more.
            self.seeds = Seeds::default();
        }
        self.vector = charter.vector();
        self.charter = charter;
        self.follow_witnesses(now);
        let charter = self.charter.clone();
        let mut succeeded = Vec::new();
        for member in charter.members() {
            let roles: BTreeSet<String> = member.roles.iter().cloned().collect();
            if member.uri == self.node {
                self.own_roles = roles;
                continue;
            }
            let Some(log) = member.open_log().or(member.logs.last()) else { continue };
            // Every key was checked with its part.
            let Ok(key) = log.vkey.parse::<VerifierKey>() else { continue };
            if let Some(known) = self.peers.get_mut(&member.uri) {
                let before = known.log_number;
                let puts = known.follow(roles, log, &member.logs, key).into_iter().collect();
                if known.log_number != before {
                    self.enqueue(now, Intent { entries: Vec::new(), puts, asides: Vec::new(), then: Then::Nothing });
                    succeeded.push(member.uri.clone());
                }
                continue;
            }
            let mut peer = Peer::new(member.uri.clone(), roles, log, key, self.log_number);
            peer.know_closed(&member.logs);
            if let Err(text) = peer.restore(&*self.store) {
                self.emit(Effect::Alarm(Alarm::StoreUnavailable(text)));
                continue;
            }
            peer.index_own();
            self.peers.insert(member.uri.clone(), peer);
            let period = u64::from(charter.period_minutes()) * 60_000;
            self.at(now.plus(period), Timer::Period(member.uri.clone()));
        }
        self.settle_standing(now);
        // Whoever is behind fetches what it lacks.
        let lines: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, line)| self.admits(&line.peer))
            .map(|(id, line)| (*id, line.peer.clone()))
            .collect();
        for (connection, peer) in lines {
            self.send_ready(now, connection, &peer);
        }
        for peer in succeeded {
            self.hand_over(now, &peer);
        }
    }

    // ---- a peer that is ahead

    /// Compares a peer's charter with the one in force, part by part, and fetches what is newer or contradicts it.
    pub(crate) fn compare_charter(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        shown: &[(PartId, Digest)],
    ) -> Result<(), Problem> {
        let mut wanted = BTreeSet::new();
        for (id, hash) in shown {
            match self.charter.part_hash(id) {
                Some(own) if own == *hash => {}
                // A part that this node holds otherwise: one of the two convicts whoever signed both.
                Some(_) => {
                    wanted.insert(id.clone());
                }
                None => self.want_up_to(id, &mut wanted),
            }
        }
        self.fetch(now, peer, connection, wanted, None).map_err(Problem::from)
    }

    fn want_up_to(&self, id: &PartId, wanted: &mut BTreeSet<PartId>) {
        let own = self.charter.newest().into_iter().find(|own| own.nation == id.nation).map_or(0, |own| own.number);
        // One more than may be fetched is enough to know that it is too many.
        let last = id.number.min(own.saturating_add(limits::PARTS_AHEAD_MAX as u32 + 1));
        wanted.extend((own + 1..=last).map(|number| PartId { nation: id.nation.clone(), number }));
    }

    /// A frame under a charter that is ahead waits until its parts are adopted.
    pub(crate) fn wait_for_charter(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        route: Route,
        vector: &CharterVector,
        frame: Option<&[u8]>,
    ) -> Result<(), FaultCode> {
        let mut wanted = BTreeSet::new();
        let common = PartId { nation: None, number: vector.common };
        let annexes = vector.annexes.iter().map(|(nation, n)| PartId { nation: Some(nation.clone()), number: *n });
        for id in std::iter::once(common).chain(annexes) {
            if id.number > 0 && self.charter.part_hash(&id).is_none() {
                self.want_up_to(&id, &mut wanted);
            }
        }
        let frame = frame.map(|bytes| (route, bytes));
        self.fetch(now, peer, route.connection, wanted, frame)
    }

    /// A Ready of this connection waits for charter parts: what comes after it waits behind it. None if none waits.
    pub(crate) fn wait_behind_ready(
        &mut self,
        peer: &NodeUri,
        route: Route,
        frame: &[u8],
    ) -> Option<Result<(), FaultCode>> {
        let catching = self.peers.get_mut(peer)?.catching.as_mut()?;
        // Of the control stream nothing else waits.
        catching.frames.iter().find(|(line, stream, _)| (*line, *stream) == (route.connection, StreamId::CONTROL))?;
        Some(catching.wait(route, frame))
    }

    fn fetch(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        wanted: BTreeSet<PartId>,
        frame: Option<(Route, &[u8])>,
    ) -> Result<(), FaultCode> {
        if wanted.is_empty() && frame.is_none() {
            return Ok(());
        }
        let Some(known) = self.peers.get_mut(peer) else { return Err(FaultCode::NotAMember) };
        let begun = known.catching.is_some();
        if !begun && (wanted.len() > limits::PARTS_AHEAD_MAX || now < known.catch_after) {
            return Err(FaultCode::UnprovenCharter);
        }
        let catching = known.catching.get_or_insert_default();
        if let Some(frame) = frame {
            catching.wait(frame.0, frame.1)?;
        }
        if begun {
            // What is asked for may be enough; what waits is judged again when it is there, and asks for more.
            return Ok(());
        }
        catching.until = now.plus(CATCH_UP_MILLIS);
        catching.wanted.clone_from(&wanted);
        catching.line = Some(connection);
        let until = catching.until;
        self.at(until, Timer::CatchUp(peer.clone()));
        for id in &wanted {
            self.ask_part(connection, id);
        }
        self.next_offer(now);
        Ok(())
    }

    pub(crate) fn ask_part(&mut self, connection: ConnectionId, id: &PartId) {
        let need = proto::NeedPart { jurisdiction: code(id), number: id.number };
        self.send_control(connection, proto::frame::Body::NeedPart(need));
    }

    pub(crate) fn on_need_part(&mut self, connection: ConnectionId, need: &proto::NeedPart) -> Result<(), Problem> {
        let id = part_id(&need.jurisdiction, need.number).ok_or(Problem::from(FaultCode::Malformed))?;
        let Some(part) = self.charter.part(&id).map(to_proto) else { return Err(FaultCode::NoSuchPart.into()) };
        self.send_control(connection, proto::frame::Body::CharterPart(part));
        Ok(())
    }

    pub(crate) fn on_charter_part(
        &mut self,
        now: Millis,
        peer: &NodeUri,
        connection: ConnectionId,
        part: &proto::CharterPart,
    ) -> Result<(), Problem> {
        let asked = |catching: &Catching, id: &PartId| catching.wanted.contains(id);
        let catching = self.peers.get(peer).and_then(|known| known.catching.as_ref());
        let claimed = from_proto(part);
        if let Ok(part) = &claimed
            && !catching.is_some_and(|catching| asked(catching, &part.id()))
            && self.compared_part(now, peer, connection, &part.id())
        {
            return Ok(());
        }
        let catching = self.peers.get(peer).and_then(|known| known.catching.as_ref());
        let Some(catching) = catching.filter(|catching| !catching.wanted.is_empty()) else {
            return Err(FaultCode::OutOfOrder.into());
        };
        let part = match claimed {
            Ok(part) if asked(catching, &part.id()) => part,
            Ok(_) => return Err(FaultCode::OutOfOrder.into()),
            Err(why) => {
                self.catching_failed(now, peer, why);
                return Ok(());
            }
        };
        let id = part.id();
        // A part that does not continue what is in force: the one before it differs too, and is asked for.
        let before = PartId { nation: id.nation.clone(), number: id.number - 1 };
        let previous = match part.part() {
            Part::Common(part) => part.previous,
            Part::Annex(part) => part.previous,
        };
        let differs = self.charter.part_hash(&before).is_some_and(|own| previous != Some(own));
        let Some(catching) = self.peers.get_mut(peer).and_then(|known| known.catching.as_mut()) else { return Ok(()) };
        catching.wanted.remove(&id);
        catching.got.push(part);
        let more = differs && before.number > 0 && catching.got.iter().all(|got| got.id() != before);
        if more && catching.got.len() <= 2 * limits::PARTS_AHEAD_MAX && catching.wanted.insert(before.clone()) {
            self.ask_part(connection, &before);
        }
        self.next_offer(now);
        Ok(())
    }

    /// The peer has no such part, though it named it.
    pub(crate) fn no_such_part(&mut self, now: Millis, peer: &NodeUri) {
        if self.peers.get(peer).is_some_and(|known| known.catching.as_ref().is_some_and(|c| !c.wanted.is_empty())) {
            self.catching_failed(now, peer, "it does not have the parts that it names".to_owned());
        }
    }

    /// The connection on which the peer was asked is gone: it is asked on another; without one, the next Ready begins
    /// anew.
    pub(crate) fn catch_up_elsewhere(&mut self, peer: &NodeUri, gone: ConnectionId) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        let other = known.ready;
        let Some(catching) = known.catching.as_mut().filter(|c| c.line == Some(gone) && !c.wanted.is_empty()) else {
            return;
        };
        catching.frames.retain(|(connection, _, _)| *connection != gone);
        match other {
            Some(connection) => {
                catching.line = Some(connection);
                for id in catching.wanted.clone() {
                    self.ask_part(connection, &id);
                }
            }
            None => drop(self.drop_catching(peer)),
        }
    }

    /// The parts did not come in time.
    pub(crate) fn catch_up_due(&mut self, now: Millis, peer: &NodeUri) {
        let Some(until) = self.peers.get(peer).and_then(|known| known.catching.as_ref()).map(|c| c.until) else {
            return;
        };
        if until > now {
            self.at(until, Timer::CatchUp(peer.clone()));
        } else {
            // A slow line is no misdeed of the peer's.
            self.catching_ended(now, peer, "the parts did not come in time".to_owned(), false);
        }
    }

    /// What waited for the parts is judged again.
    fn caught_up(&mut self, now: Millis, peer: &NodeUri) {
        for (connection, stream, bytes) in self.drop_catching(peer) {
            self.frame(now, connection, stream, &bytes);
        }
        self.compare_on(now);
    }

    fn catching_failed(&mut self, now: Millis, peer: &NodeUri, why: String) {
        self.catching_ended(now, peer, why, true);
    }

    /// What waited is refused by name, and the peer is not asked again for a while; `counts` if that is its fault.
    fn catching_ended(&mut self, now: Millis, peer: &NodeUri, why: String, counts: bool) {
        let frames = self.drop_catching(peer);
        if let Some(known) = self.peers.get_mut(peer) {
            known.catch_after = now.plus(CATCH_AGAIN_MILLIS);
        }
        self.emit(Effect::Alarm(Alarm::CharterRefused { peer: peer.clone(), why }));
        let line = self.peers.get(peer).and_then(|known| known.ready);
        if let (Some(connection), true) = (line, frames.is_empty()) {
            let route = Route { connection, stream: StreamId::CONTROL };
            self.refuse_unproven(now, peer, route, &[], counts);
        }
        for (connection, stream, bytes) in frames {
            self.refuse_unproven(now, peer, Route { connection, stream }, &bytes, counts);
        }
        self.not_compared(now, peer, Unasked::NotAdopted);
    }

    pub(crate) fn drop_catching(&mut self, peer: &NodeUri) -> Vec<(ConnectionId, StreamId, Vec<u8>)> {
        let catching = self.peers.get_mut(peer).and_then(|known| known.catching.take());
        if self.changes.keeping == Some(Offerer::Peer(peer.clone())) {
            // The driver still answers; nobody waits for it any more.
            self.changes.keeping = Some(Offerer::Peer(self.node.clone()));
        }
        catching.map(|catching| catching.frames).unwrap_or_default()
    }

    fn refuse_unproven(&mut self, now: Millis, peer: &NodeUri, route: Route, bytes: &[u8], counts: bool) {
        let exchange = match puente_wire::decode_frame(bytes) {
            Ok(proto::frame::Body::Ask(ask)) => ask
                .query
                .as_ref()
                .and_then(|query| crate::engine::unwrap(query).ok())
                .and_then(|(pair, _)| pair.exchange()),
            _ => None,
        };
        match counts {
            true => self.fault(now, peer, route, FaultCode::UnprovenCharter, exchange),
            false => self.refuse(route, FaultCode::UnprovenCharter, exchange),
        }
    }
}
