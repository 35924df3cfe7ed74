//! Live: each announced page goes out once per scope, to all who follow.

use super::desk::{Desk, Timer};
use super::session::{Phase, Serve, Slab};
use super::shapes::ScopeId;
use super::{Hub, Output, Recipients};
use crate::change::{Page, Relation};
use crate::history::Announcement;
use crate::position::Position;
use crate::session::SessionId;
use crate::time::Timestamp;
use crate::wire::ServerMessage;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Hub {
    /// History grew, or covered did.
    pub(super) fn on_announced(&mut self, announcement: &Announcement, now: Timestamp) {
        if self.desk.head.is_none() {
            // A woken hub reads the head first: this may be older than what it served, or newer than what it will read.
            let furthest = self.desk.announced_early.is_none_or(|early| !early.includes(&announcement.head));
            if furthest {
                self.desk.announced_early = Some(announcement.head);
            }
            return;
        }
        if !self.learn(&announcement.head, now) {
            return;
        }
        let through = announcement.head.position();
        if self.desk.ring.end().is_some_and(|end| end >= through) {
            return; // Nothing new.
        }
        if self.slab.is_empty() {
            return self.desk.ring.restart(Some(through));
        }
        match &announcement.page {
            Some(page) if self.is_present(page) => {
                let sequence = self.desk.ring.push(page, &self.desk.config);
                self.fan_out(page, sequence, now);
            }
            _ => {
                self.desk.ring.restart(Some(through));
                self.let_fall_back(through, now);
            }
        }
    }

    /// Whether a page is of the era and schema that hold now.
    fn is_present(&self, page: &Page) -> bool {
        self.desk.head.is_some_and(|head| (head.era(), head.schema()) == (page.through.era, page.through.schema))
    }

    /// Live sessions that were not sent all through `position` read on.
    pub(super) fn let_fall_back(&mut self, position: Position, now: Timestamp) {
        let behind = |serve: &Serve| matches!(serve, Serve::Live(flow) if flow.sent < position);
        let ids = self.slab.ids_where(|session| session.served().is_some_and(|served| behind(&served.serve)));
        for id in ids {
            self.serve(id, now, |served, desk| served.fall_back(desk, now));
        }
    }

    /// Sends an announced page to every live session that follows it and has room.
    fn fan_out(&mut self, page: &Arc<Page>, sequence: u64, now: Timestamp) {
        let mut fan = Fan::default();
        walk(&mut self.slab, &mut self.desk, page, sequence, &mut fan, now);
        for (_, (relation, to)) in fan.lacking {
            let message = Arc::new(ServerMessage::Schema(relation));
            self.desk.outputs.push_back(Output::Send { to: Recipients::Many(to.into()), message });
        }
        for group in fan.groups {
            let message = group.message;
            let to = match group.to[..] {
                [one] => Recipients::One(one),
                _ => Recipients::Many(group.to.into()),
            };
            self.desk.outputs.push_back(Output::Send { to, message });
            self.desk.arm_scan(now);
        }
        for id in fan.behind {
            self.serve(id, now, |served, desk| served.fall_back(desk, now));
        }
        for id in fan.untold {
            self.serve(id, now, |served, desk| served.check_fresh(desk, now));
        }
    }
}

/// Who gets what of one page.
#[derive(Default)]
struct Fan {
    groups: Vec<Group>,
    by_scope: BTreeMap<ScopeId, usize>,
    lacking: BTreeMap<u32, (Arc<Relation>, Vec<SessionId>)>,
    behind: Vec<SessionId>,
    untold: Vec<SessionId>,
}

/// Sessions of one scope, and what they must know to read the page.
struct Group {
    message: Arc<ServerMessage>,
    bytes: u64,
    shapes: Vec<(u32, Arc<Relation>)>,
    to: Vec<SessionId>,
}

/// One pass over the slab. The only work per session is a comparison, a count and a push.
fn walk(slab: &mut Slab, desk: &mut Desk, page: &Page, sequence: u64, fan: &mut Fan, now: Timestamp) {
    let (after, through) = (page.after, page.through.position);
    let mut last = None;
    for session in slab.iter_mut() {
        let Phase::Served(served) = &mut session.phase else { continue };
        let Serve::Live(flow) = &mut served.serve else { continue };
        if flow.sent >= through {
            continue;
        }
        let follows = flow.sent == after || (flow.sent > after && flow.sent.is_boundary());
        if !follows || !flow.window.has_room(&desk.config) {
            fan.behind.push(session.id);
            continue;
        }
        let scope = served.peer.scope;
        let n = match last {
            Some((known, n)) if known == scope => Some(n),
            _ => fan.group(scope, sequence, desk),
        };
        let Some(n) = n else { continue };
        last = Some((scope, n));
        let group = &mut fan.groups[n];
        for (number, relation) in &group.shapes {
            if served.peer.told.insert(*number) {
                let lacking = fan.lacking.entry(*number).or_insert_with(|| (Arc::clone(relation), Vec::new()));
                lacking.1.push(session.id);
            }
        }
        flow.sent = through;
        flow.window.add(through, group.bytes, now, &desk.config);
        group.to.push(session.id);
        if served.peer.fresh != super::session::Fresh::Told {
            fan.untold.push(session.id);
        }
    }
}

impl Fan {
    /// The group of a scope, made when its first session is met.
    fn group(&mut self, scope: ScopeId, sequence: u64, desk: &mut Desk) -> Option<usize> {
        if let Some(n) = self.by_scope.get(&scope) {
            return Some(*n);
        }
        let parcel = desk.ring.parcel(sequence, scope, &desk.scopes)?;
        let shape = |relation: &Arc<Relation>| (desk.shapes.number(relation.id), Arc::clone(relation));
        let shapes = parcel.relations.iter().map(shape).collect();
        let (message, bytes) = (Arc::clone(&parcel.message), parcel.bytes);
        self.groups.push(Group { message, bytes, shapes, to: Vec::new() });
        self.by_scope.insert(scope, self.groups.len() - 1);
        Some(self.groups.len() - 1)
    }
}

impl Desk {
    /// Looks sessions over for timeouts, a little later.
    pub fn arm_scan(&mut self, now: Timestamp) {
        self.set_after(Timer::Scan, self.config.scan_every, now);
    }
}
