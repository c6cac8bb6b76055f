//! The world around the primaries: a row, who reads and who changes it, the slot of its key and who moves it, and the
//! messages that are under way.

use super::node::{Held, Names, Node, Stage, KEY, TAG};
use super::rules::{Awaited, Bus, Check, Rules, Tell};
use crate::names::{key_name, Version};
use apikey_engine::bus::asked::Before;
use apikey_engine::bus::asking::Asking;
use apikey_engine::bus::message::{of_keys, Message, Question};
use apikey_engine::invalidation::fence::Token;
use apikey_engine::usage::id::Id;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How far the slot is on its way from the node that owns it to the other of the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Settled,
    /// The target was told IMPORTING.
    Imported,
    /// .. and the source MIGRATING.
    Open,
    /// Cancelled by STABLE at the source, and not yet at the target.
    SourceStable,
    /// .. at the target, and not yet at the source.
    TargetStable,
    /// The target was told that it is the owner, and the source not yet.
    Given,
}

/// One step of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A reader gets a token, of this node's.
    TakeToken {
        reader: usize,
        of: usize,
    },
    /// .. then reads the row ..
    ReadRow {
        reader: usize,
    },
    /// .. and sends its fill first to this node, which may redirect it.
    Fill {
        reader: usize,
        by_way_of: usize,
    },
    /// The writer changes the row.
    Commit,
    /// .. and tells the cache, by way of this node.
    Say {
        how: Tell,
        by_way_of: usize,
    },
    /// DEL, expiry or eviction.
    Remove {
        at: usize,
    },
    /// SETSLOT IMPORTING at the target.
    Import,
    /// SETSLOT MIGRATING at the source.
    Migrate,
    /// MIGRATE of the key, with REPLACE.
    MoveKey,
    /// SETSLOT NODE at the target, once the source has no key any more.
    Give,
    /// .. and at the source.
    Take,
    StableAtSource,
    StableAtTarget,
    /// A message arrives; what it asks for is done at once or later.
    Deliver {
        message: usize,
        later: bool,
    },
    /// What is still to be answered is asked again.
    AskAgain,
    /// PARTIAL.
    GiveUp,
    /// A node is done with what it was asked.
    Work {
        at: usize,
        ask: usize,
    },
}

/// How a run of the model has gone wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// A client is answered from what an invalidation covered that had replied.
    Stale,
    /// A node has what an invalidation covered that it has done, or was told of.
    Forgotten,
    /// A number was said that is not the number of what was killed, or before all had done it.
    Number,
}

#[derive(Clone)]
enum Reader {
    Idle,
    HasToken(usize, Token),
    HasRow(usize, Token, Version),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Writer {
    Idle,
    HasCommitted,
    Waits,
}

/// A message under way; of keys with the version that was announced, for the model.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Flight {
    from: usize,
    to: usize,
    bytes: Rc<[u8]>,
    version: Version,
}

/// A TAGINVAL.
#[derive(Clone)]
struct Ask {
    by: usize,
    id: Id,
    version: Version,
    /// How many entries it has killed, wherever and whenever.
    killed: u64,
    /// While its client waits.
    asking: Option<Asking<usize>>,
}

#[derive(Clone)]
pub struct World<'r> {
    rules: &'r Rules,
    names: &'r Names,
    began: Instant,
    row: Version,
    owner: usize,
    phase: Phase,
    nodes: Vec<Node>,
    readers: Vec<Reader>,
    writer: Writer,
    bus: Vec<Flight>,
    asks: Vec<Ask>,
    /// The newest version that was announced by key, and has replied.
    announced: Version,
    /// .. by tag, to all primaries.
    announced_to_all: Version,
    wrongs: Vec<Wrong>,
    happened: Vec<&'static str>,
}

/// All of a world that what can happen depends on.
#[derive(PartialEq, Eq, Hash)]
pub struct Key {
    versions: [Version; 3],
    slot: (usize, Phase),
    nodes: Vec<(Held, Version, Vec<Stage>)>,
    /// Who holds a token that a node still takes, of which, and the row.
    readers: Vec<Option<(usize, Option<Version>)>>,
    writer: Writer,
    bus: Vec<Flight>,
    asks: Vec<AskKey>,
}

/// Of a TAGINVAL: its id, its version, what it has killed; and while its client waits, for whom, and the sum by now.
type AskKey = ([u8; 16], Version, u64, Option<(Vec<usize>, u64)>);

impl<'r> World<'r> {
    pub fn new(rules: &'r Rules, names: &'r Names, began: Instant) -> Self {
        let mut nodes: Vec<Node> = (0..rules.nodes as u8).map(Node::new).collect();
        nodes.iter_mut().for_each(|node| node.stages = vec![Stage::Unasked; rules.asks]);
        Self {
            rules,
            names,
            began,
            row: 1,
            owner: 0,
            phase: Phase::Settled,
            nodes,
            readers: vec![Reader::Idle; rules.readers],
            writer: Writer::Idle,
            bus: Vec::new(),
            asks: Vec::new(),
            announced: 0,
            announced_to_all: 0,
            wrongs: Vec::new(),
            happened: Vec::new(),
        }
    }

    pub fn key(&self) -> Key {
        let reader = |reader: &Reader| match *reader {
            Reader::Idle => None,
            Reader::HasToken(of, ref token) => self.takes(of, token).then_some((of, None)),
            Reader::HasRow(of, ref token, row) => self.takes(of, token).then_some((of, Some(row))),
        };
        let mut readers: Vec<_> = self.readers.iter().map(reader).collect();
        readers.sort();
        let mut bus = self.bus.clone();
        bus.sort();
        let ask = |ask: &Ask| {
            let open = ask.asking.as_ref().map(|asking| {
                let mut open: Vec<usize> = asking.open().map(|(node, _)| node).collect();
                open.sort_unstable();
                (open, asking.sum())
            });
            // More can't be killed by a question that is done once, nor said.
            let killed = ask.killed.min(self.nodes.len() as u64 + 1);
            (ask.id.to_bytes(), ask.version, killed, open)
        };
        Key {
            versions: [self.row, self.announced, self.announced_to_all],
            slot: (self.owner, self.phase),
            nodes: self.nodes.iter().map(|n| (n.held, n.told, n.stages.clone())).collect(),
            readers,
            writer: self.writer,
            bus,
            asks: self.asks.iter().map(ask).collect(),
        }
    }

    fn takes(&self, of: usize, token: &Token) -> bool {
        self.nodes[of].accepts(token, self.names)
    }

    /// What went wrong with the last step.
    pub fn wrongs(&self) -> &[Wrong] {
        &self.wrongs
    }

    /// What was notable in the last step.
    pub fn happened(&self) -> &[&'static str] {
        &self.happened
    }

    /// What stands where, for a story.
    pub fn state(&self) -> String {
        let held: Vec<_> = self.nodes.iter().map(|node| node.held).collect();
        let (row, owner, phase) = (self.row, self.owner, self.phase);
        format!("row {row}; held {held:?}; the slot is node {owner}'s: {phase:?}")
    }

    /// What can happen now.
    pub fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        let nodes = 0..self.nodes.len();
        for (reader, state) in self.readers.iter().enumerate() {
            match state {
                Reader::Idle => {
                    let serves = |&of: &usize| {
                        let is_asked = |start| self.server(start) == Some(of);
                        !self.rules.tokens_are_the_servers || nodes.clone().any(is_asked)
                    };
                    // The others never have what the reader asks for.
                    let of = (0..2).filter(serves).map(|of| Step::TakeToken { reader, of });
                    steps.extend(of);
                }
                Reader::HasToken(..) => steps.push(Step::ReadRow { reader }),
                Reader::HasRow(..) => {
                    let ways = self.ways_to_the_key();
                    steps.extend(ways.map(|by_way_of| Step::Fill { reader, by_way_of }));
                }
            }
        }
        match self.writer {
            Writer::Idle if self.row <= self.rules.changes => steps.push(Step::Commit),
            Writer::HasCommitted => {
                for &how in self.rules.tells {
                    match how {
                        Tell::Tag if self.asks.len() < self.rules.asks => {
                            steps.extend(
                                nodes.clone().map(|by_way_of| Step::Say { how, by_way_of }),
                            );
                        }
                        Tell::Tag => {}
                        Tell::Inval | Tell::Store => {
                            let ways = self.ways_to_the_key();
                            steps.extend(ways.map(|by_way_of| Step::Say { how, by_way_of }));
                        }
                    }
                }
            }
            Writer::Waits => steps.push(Step::GiveUp),
            Writer::Idle => {}
        }
        let is_held = |&at: &usize| self.nodes[at].held != Held::Nothing;
        steps.extend(nodes.clone().filter(is_held).map(|at| Step::Remove { at }));
        steps.extend(self.slot_steps());
        steps.extend(self.bus_steps());
        steps
    }

    /// Where a client may begin who has a command with the key: one node for each that serves it in the end.
    fn ways_to_the_key(&self) -> impl Iterator<Item = usize> + '_ {
        let first = self.server(0);
        let others = [1].into_iter().filter(move |&at| self.server(at) != first);
        first.map(|_| 0).into_iter().chain(others.filter(|&at| self.server(at).is_some()))
    }

    fn slot_steps(&self) -> Vec<Step> {
        let Rules { ways, .. } = *self.rules;
        let target = 1 - self.owner;
        let begins = ways.moves && (self.owner == 0 || ways.returns);
        let cancels = |step| ways.is_cancelled.then_some(step);
        let target_may = !self.is_too_early(target) && !self.has_leftovers(target);
        match self.phase {
            Phase::Settled | Phase::SourceStable if begins => {
                let closes = (self.phase == Phase::SourceStable).then_some(Step::StableAtTarget);
                target_may.then_some(Step::Import).into_iter().chain(closes).collect()
            }
            Phase::Settled | Phase::SourceStable => Vec::new(),
            Phase::Imported => {
                let opens = target_may.then_some(Step::Migrate);
                opens.into_iter().chain(cancels(Step::StableAtTarget)).collect()
            }
            Phase::Open => {
                let key = match self.nodes[self.owner].held {
                    Held::Nothing => Step::Give,
                    _ => Step::MoveKey,
                };
                let closes =
                    cancels(Step::StableAtSource).filter(|_| !self.is_too_early(self.owner));
                [Some(key), closes, cancels(Step::StableAtTarget)].into_iter().flatten().collect()
            }
            Phase::TargetStable => {
                let again = target_may.then_some(Step::Import);
                let closes = Some(Step::StableAtSource).filter(|_| !self.is_too_early(self.owner));
                again.into_iter().chain(closes).collect()
            }
            Phase::Given => vec![Step::Take],
        }
    }

    /// Whether there are tokens of a node from before it serves the slot, and who moves it waits for their end.
    fn is_too_early(&self, at: usize) -> bool {
        self.rules.outlives_tokens
            && self.readers.iter().any(|reader| match reader {
                Reader::Idle => false,
                Reader::HasToken(of, token) | Reader::HasRow(of, token, _) => {
                    *of == at && self.takes(*of, token)
                }
            })
    }

    /// The same for what a node took while it imported the slot.
    fn has_leftovers(&self, at: usize) -> bool {
        self.rules.outlives_leftovers && matches!(self.nodes[at].held, Held::Live(_))
    }

    fn bus_steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (message, flight) in self.bus.iter().enumerate() {
            steps.push(Step::Deliver { message, later: false });
            let is_question =
                || matches!(Message::decode(&flight.bytes), Ok(Message::Question { .. }));
            if self.is_slow() && is_question() {
                steps.push(Step::Deliver { message, later: true });
            }
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let is_at_work = |&ask: &usize| node.stages[ask] == Stage::AtWork;
            steps.extend((0..self.asks.len()).filter(is_at_work).map(|ask| Step::Work { at, ask }));
        }
        if self.asks.last().is_some_and(|ask| ask.asking.is_some()) {
            steps.push(Step::AskAgain);
        }
        steps
    }

    fn is_slow(&self) -> bool {
        self.rules.is_slow || !self.rules.on(Check::DoneBeforeAnswered)
    }

    /// Takes a step, and looks whether everything still holds.
    pub fn take(&mut self, step: Step) {
        self.wrongs.clear();
        self.happened.clear();
        match step {
            Step::TakeToken { reader, of } => {
                self.readers[reader] = Reader::HasToken(of, self.nodes[of].token());
            }
            Step::ReadRow { reader } => {
                if let Reader::HasToken(of, token) = self.readers[reader] {
                    self.readers[reader] = Reader::HasRow(of, token, self.row);
                }
            }
            Step::Fill { reader, by_way_of } => self.fill(reader, by_way_of),
            Step::Commit => {
                self.row += 1;
                self.writer = Writer::HasCommitted;
            }
            Step::Say { how: Tell::Tag, by_way_of } => self.ask(by_way_of),
            Step::Say { how, by_way_of } => self.tell_of_key(how, by_way_of),
            Step::Remove { at } => {
                self.nodes[at].remove();
            }
            Step::Import
            | Step::Migrate
            | Step::MoveKey
            | Step::Give
            | Step::Take
            | Step::StableAtSource
            | Step::StableAtTarget => self.move_slot(step),
            Step::Deliver { message, later } => self.arrive(self.bus[message].clone(), later),
            Step::AskAgain => self.send_open(),
            Step::GiveUp => {
                if let Some(ask) = self.asks.last_mut() {
                    ask.asking = None;
                }
                self.writer = Writer::HasCommitted;
                self.happened.push("PARTIAL");
            }
            Step::Work { at, ask } => self.work(at, ask),
        }
        while self.rules.bus == Bus::Prompt && !self.bus.is_empty() {
            let flight = self.bus.remove(0);
            self.arrive(flight, false);
        }
        self.look();
    }

    /// Everything that is to hold after every step.
    fn look(&mut self) {
        // Whoever waits for all has been replied to when all were told.
        let told_to_all = self.nodes.iter().map(|node| node.told).min().unwrap_or(0);
        self.announced = self.announced.max(told_to_all);
        let mut wrongs = Vec::new();
        for node in &self.nodes {
            let Held::Live(version) = node.held else { continue };
            if version < node.told {
                wrongs.push(Wrong::Forgotten);
            }
            if version < self.announced_to_all {
                wrongs.push(Wrong::Stale);
            }
        }
        for at in self.ways_to_the_key().filter_map(|start| self.server(start)) {
            if matches!(self.nodes[at].held, Held::Live(version) if version < self.announced) {
                wrongs.push(Wrong::Stale);
            }
        }
        self.wrongs.extend(wrongs);
    }

    // The slot.

    /// Which node serves a command with the key that is sent to this one: it may say MOVED or ASK, and the client
    /// follows at once. Nobody where each sends it to the other.
    fn server(&self, start: usize) -> Option<usize> {
        let (source, target) = (self.owner, 1 - self.owner);
        let (is_given, is_migrating) = match self.phase {
            Phase::Settled | Phase::Imported | Phase::SourceStable => (false, false),
            Phase::Open | Phase::TargetStable => (false, true),
            Phase::Given => (true, true),
        };
        if is_given && start == target {
            return Some(target);
        }
        if !is_migrating || self.nodes[source].held != Held::Nothing {
            return Some(source);
        }
        (self.phase != Phase::TargetStable).then_some(target)
    }

    fn move_slot(&mut self, step: Step) {
        let (source, target) = (self.owner, 1 - self.owner);
        let (phase, told) = match step {
            Step::Import if self.phase == Phase::TargetStable => (Phase::Open, Some(target)),
            Step::Import => (Phase::Imported, Some(target)),
            Step::Migrate => (Phase::Open, None),
            Step::Give => (Phase::Given, Some(target)),
            Step::Take => (Phase::Settled, Some(source)),
            Step::StableAtSource if self.phase == Phase::TargetStable => {
                (Phase::Settled, Some(source))
            }
            Step::StableAtSource => (Phase::SourceStable, Some(source)),
            Step::StableAtTarget if self.phase == Phase::Open => {
                (Phase::TargetStable, Some(target))
            }
            Step::StableAtTarget => (Phase::Settled, Some(target)),
            _ => {
                let moved = std::mem::replace(&mut self.nodes[source].held, Held::Nothing);
                let is_dead = self.rules.on(Check::RestoredIsDead);
                self.nodes[target].held = if is_dead { Held::Dead } else { moved };
                self.happened.push("moved");
                return;
            }
        };
        if let Some(told) = told.filter(|_| self.rules.slots_fence) {
            self.nodes[told].fence_all();
            if step == Step::Import {
                self.nodes[told].remove();
            }
        }
        if phase == Phase::Settled {
            match step {
                Step::Take if target == 0 => self.happened.push("returned"),
                Step::Take => {}
                _ => self.happened.push("cancelled"),
            }
        }
        self.phase = phase;
        if step == Step::Take {
            self.owner = target;
        }
    }

    // Readers and the writer.

    fn fill(&mut self, reader: usize, by_way_of: usize) {
        let Reader::HasRow(_, token, version) = self.readers[reader] else { return };
        let Some(at) = self.server(by_way_of) else { return };
        self.readers[reader] = Reader::Idle;
        if self.takes(at, &token) {
            self.nodes[at].held = Held::Live(version);
            self.happened.push("filled");
        } else {
            self.happened.push("refused");
        }
    }

    /// INVAL, and SETVAL without a token.
    fn tell_of_key(&mut self, how: Tell, by_way_of: usize) {
        let Some(at) = self.server(by_way_of) else { return };
        let name = key_name(KEY);
        let (row, node) = (self.row, &mut self.nodes[at]);
        node.raise(name.as_bytes());
        node.remove();
        if how == Tell::Store {
            node.held = Held::Live(row);
        }
        node.told = row;
        self.writer = Writer::Idle;
        let waits = match self.rules.awaited {
            Awaited::Never => false,
            Awaited::WhileOpen => self.phase != Phase::Settled,
            Awaited::Always => true,
        };
        if !waits {
            self.announced = row;
        }
        if self.rules.on(Check::KeysAreTold) {
            for message in of_keys(0, &[name.as_bytes()]) {
                for to in (0..self.nodes.len()).filter(|to| *to != at) {
                    self.send(Flight {
                        from: at,
                        to,
                        bytes: message.encode().into(),
                        version: row,
                    });
                }
            }
        }
    }

    // The bus.

    /// What is under way already is not doubled: it may arrive as often as it likes.
    fn send(&mut self, flight: Flight) {
        if !self.bus.contains(&flight) {
            self.bus.push(flight);
        }
    }

    fn arrive(&mut self, flight: Flight, later: bool) {
        let Flight { from, to, ref bytes, version } = flight;
        match Message::decode(bytes).expect("what was encoded") {
            Message::Keys { names, .. } => {
                self.nodes[to].told_of_keys(&names, version, self.rules);
            }
            Message::Question { id, question: Question::TagInval { tags, .. } } => {
                self.asked(to, id, &tags, later);
            }
            Message::Answer { id, count } => self.answered(to, from, id, count),
            Message::AtWork { .. } | Message::Question { .. } => {}
        }
    }

    /// TAGINVAL: this node's part is done, and the others are asked.
    fn ask(&mut self, by: usize) {
        let number = self.asks.len();
        let id = self.nodes[by].new_id();
        let tag = TAG.name();
        let questions = Question::tag_inval(0, &[tag.as_bytes()]).into_iter();
        let parts = questions.map(|question| (id, Message::Question { id, question }.encode()));
        let killed = self.nodes[by].kill(&[tag.as_bytes()]);
        self.nodes[by].stages[number] = Stage::Done(killed);
        let is_asked =
            |&to: &usize| to != by && (self.rules.on(Check::AllAreAsked) || to == self.owner);
        let nodes: Vec<usize> = (0..self.nodes.len()).filter(is_asked).collect();
        let mut asking = Asking::new(parts.collect(), &nodes, self.began, Duration::from_secs(1));
        asking.done_here(killed);
        self.asks.push(Ask { by, id, version: self.row, killed, asking: Some(asking) });
        self.writer = Writer::Waits;
        self.send_open();
        self.finish(number);
    }

    fn send_open(&mut self) {
        let Some(Ask { by, asking: Some(asking), .. }) = self.asks.last() else { return };
        let flight =
            |(to, bytes): (usize, &[u8])| Flight { from: *by, to, bytes: bytes.into(), version: 0 };
        let flights: Vec<Flight> = asking.open().map(flight).collect();
        flights.into_iter().for_each(|flight| self.send(flight));
    }

    /// Which TAGINVAL an id is of.
    fn number_of(&self, id: Id) -> usize {
        self.asks.iter().position(|ask| ask.id == id).expect("an id that was given")
    }

    /// A question has come to a node.
    fn asked(&mut self, at: usize, id: Id, tags: &[&[u8]], later: bool) {
        let ask = self.number_of(id);
        match self.nodes[at].begin(id) {
            Before::New if later => {
                self.nodes[at].stages[ask] = Stage::AtWork;
                if !self.rules.on(Check::DoneBeforeAnswered) {
                    let count = u64::from(matches!(self.nodes[at].held, Held::Live(_)));
                    self.say(at, ask, count);
                }
            }
            Before::New => self.kill(at, ask, tags),
            Before::Done(_) if !self.rules.on(Check::DoneOnce) => self.kill(at, ask, tags),
            Before::Done(Some(count)) => {
                self.say(at, ask, count);
                self.happened.push("answered again");
            }
            // Time alone depends on what it says then.
            Before::AtWork | Before::Done(None) => {}
        }
    }

    fn work(&mut self, at: usize, ask: usize) {
        self.kill(at, ask, &[TAG.name().as_bytes()]);
    }

    fn kill(&mut self, at: usize, ask: usize, tags: &[&[u8]]) {
        let killed = self.nodes[at].kill(tags);
        let id = self.asks[ask].id;
        self.nodes[at].done(id, killed);
        self.nodes[at].stages[ask] = Stage::Done(killed);
        self.asks[ask].killed += killed;
        self.say(at, ask, killed);
    }

    fn say(&mut self, at: usize, ask: usize, count: u64) {
        let Ask { by, id, .. } = self.asks[ask];
        let bytes = Message::Answer { id, count }.encode().into();
        self.send(Flight { from: at, to: by, bytes, version: 0 });
    }

    /// An answer has come.
    fn answered(&mut self, at: usize, from: usize, id: Id, count: u64) {
        let Some(number) = self.asks.len().checked_sub(1) else { return };
        let Ask { by, id: open_id, asking: Some(asking), .. } = &mut self.asks[number] else {
            return self.happened.push("answered late");
        };
        if *by != at {
            return;
        }
        let id = if self.rules.on(Check::AnswerHasItsId) { id } else { *open_id };
        let is_counted = asking.answered(from, id, count);
        if !is_counted && !self.rules.on(Check::AnswerCountsOnce) {
            let other = asking.open().next().map(|(other, _)| other);
            other.map(|other| asking.answered(other, id, count));
        }
        if !is_counted {
            self.happened.push("answered twice");
        }
        self.finish(number);
    }

    /// Says the number, if all have answered.
    fn finish(&mut self, number: usize) {
        let Ask { version, killed, asking, .. } = &mut self.asks[number];
        let is_awaited = self.rules.on(Check::AnswersAreAwaited);
        let said = asking.take_if(|asking| asking.is_answered() || !is_awaited);
        let Some(said) = said else { return };
        self.announced_to_all = *version;
        self.writer = Writer::Idle;
        self.happened.push("a number");
        let is_done = |node: &Node| matches!(node.stages[number], Stage::Done(_));
        if said.sum() != *killed || !self.nodes.iter().all(is_done) {
            self.wrongs.push(Wrong::Number);
        }
    }
}
