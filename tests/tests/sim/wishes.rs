//! What operators and officers of the simulated nodes want.

use super::*;

impl Sim {
    pub fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    pub fn ask(&mut self, from: usize, draft: Draft) -> Ticket {
        let ticket = self.ticket();
        self.note(|| format!("node {from} asks {ticket:?} {draft:?}"));
        self.input(from, Input::Question { ticket, draft: Box::new(draft) });
        ticket
    }

    /// What an officer does with a question that was put earlier.
    pub fn wish(&mut self, node: usize, make: impl FnOnce(Ticket) -> Input) -> Ticket {
        let ticket = self.ticket();
        self.input(node, make(ticket));
        ticket
    }

    pub fn event(&mut self, node: usize, event: LocalEvent) -> Ticket {
        let ticket = self.ticket();
        self.input(node, Input::Event { ticket, event });
        ticket
    }

    /// An operator offers charter parts.
    pub fn offer(&mut self, node: usize, parts: Vec<ClaimedPart>) -> Ticket {
        let ticket = self.ticket();
        self.note(|| format!("node {node} is offered {} part(s)", parts.len()));
        self.input(node, Input::Offer { ticket, parts });
        ticket
    }

    /// An operator blocks a peer, or takes the block away.
    pub fn bar(&mut self, node: usize, peer: usize, reason: Option<&str>) -> Ticket {
        let ticket = self.ticket();
        self.input(node, Input::Bar { ticket, peer: uri(peer), reason: reason.map(str::to_owned) });
        ticket
    }

    /// The charter that a node is under, as text.
    pub fn vector(&self, node: usize) -> String {
        self.nodes[node].charter.as_ref().unwrap_or(&self.world.charter).vector().to_string()
    }

    /// Has a node find out whether a question to itself would succeed.
    pub fn try_out(&mut self, node: usize) -> Ticket {
        let ticket = self.ticket();
        self.input(node, Input::Try { ticket });
        ticket
    }

    pub fn close_periods(&mut self, node: usize) -> Ticket {
        let ticket = self.ticket();
        self.note(|| format!("node {node} closes periods"));
        self.input(node, Input::ClosePeriods { ticket });
        ticket
    }

    pub fn ending(&self, node: usize, ticket: Ticket) -> Option<&Ending> {
        self.nodes[node].endings.get(&ticket)
    }

    /// Asks and waits for the ending.
    pub fn ask_and_wait(&mut self, from: usize, draft: Draft) -> Ending {
        let ticket = self.ask(from, draft);
        self.run_until(3_600_000, |s| s.ending(from, ticket).is_some());
        self.ending(from, ticket).cloned().unwrap_or_else(|| panic!("{ticket:?} has no ending\n{}", self.story()))
    }

    /// Asks; waits until it ended, or its node crashed and forgot the officer who waits.
    pub fn ask_across_crashes(&mut self, from: usize, draft: Draft) -> Option<Ending> {
        let run = self.nodes[from].run;
        let ticket = self.ask(from, draft);
        self.run_until(100_000, |s| s.ending(from, ticket).is_some() || s.nodes[from].run != run);
        self.ending(from, ticket).cloned()
    }

    pub fn cancel(&mut self, node: usize, ticket: Ticket) {
        self.note(|| format!("node {node} cancels {ticket:?}"));
        self.input(node, Input::Cancel { ticket });
    }
}
