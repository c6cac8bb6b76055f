//! What is asked at a scrape: which servers there are, and what each says of itself.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::connect::{Access, Way};
use crate::deployment::{Deployment, Node, Place, Said};
use crate::output::note;
use crate::reading::{durations, Durations, Facts, Health};

/// How long a server may take for each answer, and a scrape in all: Prometheus waits 10 s by itself, for all of them.
const STEP: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(9);

/// A server at a scrape.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its address.
    pub node: String,
    /// What it says of itself, where it answers.
    pub facts: Option<Facts>,
    /// The module's figures; none where it has not given all that it was asked for.
    pub figures: Option<Figures>,
}

#[derive(Clone, Debug)]
pub struct Figures {
    pub health: Health,
    pub durations: BTreeMap<String, Durations>,
}

#[derive(Clone, Debug)]
pub struct Scrape {
    /// Whether the servers could be found by who tells of them: the URL's server, a cluster's node, a Sentinel.
    pub is_found: bool,
    pub nodes: Vec<Seen>,
    pub took: Duration,
}

/// The servers of a deployment, or one. Cheap to clone.
#[derive(Clone)]
pub struct Watch(Arc<Inner>);

struct Inner {
    access: Access,
    /// Those that were there before. A primary tells of replicas that it hears alone, so one that is cut off would be
    /// forgotten in place of being away; and who tells of all may be away itself.
    known: Mutex<Vec<Place>>,
    /// Why each of them is away, as it was noted last.
    noted: Mutex<BTreeMap<String, String>>,
}

impl Watch {
    pub fn new(access: Access) -> Self {
        let access = access.within(STEP);
        let known = match access.way() {
            Way::Server { seed, .. } | Way::Cluster { seed } => {
                vec![Place::new(seed.clone(), Said::Nothing)]
            }
            Way::Sentinel { .. } => Vec::new(),
        };
        let noted = Mutex::new(BTreeMap::new());
        Self(Arc::new(Inner { access, known: Mutex::new(known), noted }))
    }

    /// Asks all of them, in time.
    pub fn scrape(&self) -> Scrape {
        let began = Instant::now();
        let (sender, receiver) = mpsc::channel();
        let watch = self.clone();
        // It ends by itself, since all its waits are bounded, if later than is of use here: a name may have to be
        // looked up, and there may be many Sentinels that don't answer.
        thread::spawn(move || sender.send(watch.0.look()).ok());
        let looked = receiver.recv_timeout(SCRAPE);
        let (is_found, nodes) = looked.unwrap_or_else(|_| (false, self.0.all_away()));
        Scrape { is_found, nodes, took: began.elapsed() }
    }
}

impl Inner {
    fn look(&self) -> (bool, Vec<Seen>) {
        let (why, nodes) = match Deployment::look(&self.access) {
            Ok(deployment) => (None, self.with_known(deployment.nodes)),
            Err(why) => (Some(format!("{why:#}")), self.again(self.known())),
        };
        let seen = thread::scope(|scope| {
            let asking: Vec<_> = nodes.iter().map(|node| scope.spawn(|| self.ask(node))).collect();
            asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        let is_found = why.is_none();
        // A server that can't be asked which others there are was told of already.
        let told = |why: &String| lock(&self.noted).values().any(|noted| noted == why);
        self.note("the servers", why.filter(|why| !told(why)));
        (is_found, seen)
    }

    /// These, with those that were there before and that a primary does not tell of now.
    fn with_known(&self, mut nodes: Vec<Node>) -> Vec<Node> {
        if matches!(self.access.way(), Way::Server { .. }) {
            let mut missing = self.known();
            missing.retain(|place| !nodes.iter().any(|node| node.address() == &place.address));
            nodes.extend(self.again(missing));
        }
        *lock(&self.known) = nodes.iter().map(|node| node.place.clone()).collect();
        nodes
    }

    fn known(&self) -> Vec<Place> {
        lock(&self.known).clone()
    }

    fn again(&self, places: Vec<Place>) -> Vec<Node> {
        Deployment::of(&self.access, places).nodes
    }

    fn ask(&self, node: &Node) -> Seen {
        let figures = match node.facts().map(|facts| facts.module) {
            Some(None) => {
                let why = "it has no module redis-apikey: start it with --loadmodule libapikey.so";
                Err(format!("{}: {why}", node.address()))
            }
            _ => read(node).map_err(|why| format!("{why:#}")),
        };
        let name = node.address().to_string();
        self.note(&name, figures.as_ref().err().cloned());
        Seen { node: name, facts: node.facts().cloned(), figures: figures.ok() }
    }

    fn all_away(&self) -> Vec<Seen> {
        let away =
            |place: &Place| Seen { node: place.address.to_string(), facts: None, figures: None };
        self.known().iter().map(away).collect()
    }

    /// Says why something is away once, and once that it is there again.
    fn note(&self, what: &str, why: Option<String>) {
        let mut noted = lock(&self.noted);
        match why {
            Some(why) if noted.get(what) != Some(&why) => {
                note(&why);
                noted.insert(what.into(), why);
            }
            None if noted.remove(what).is_some() => note(&format!("{what}: there again")),
            _ => {}
        }
    }
}

fn read(node: &Node) -> Result<Figures> {
    let mut link = node.connect(0)?;
    let health = Health::read(&mut link)?;
    Ok(Figures { health, durations: durations::read(&mut link)? })
}

/// What is behind these locks is whole at any moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
