//! The figures of all nodes, asked again and again: which servers there are, and what each says of itself.

use std::collections::BTreeMap;
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::connect::{Access, Way};
use crate::deployment::{Deployment, Node, Place, Said};
use crate::output::Standing;
use crate::reading::{durations, regions, Durations, Facts, Health, Region};

/// How long a server may take for each answer, and a scrape in all: Prometheus waits 10 s by itself, for all of them.
const STEP: Duration = Duration::from_secs(1);
const SCRAPE: Duration = Duration::from_secs(9);

/// A server at a scrape.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its address.
    pub node: String,
    /// `primary`, `replica` or `unknown`: as it says itself, else as others say.
    pub role: &'static str,
    /// What it says of itself, where it answers.
    pub facts: Option<Facts>,
    /// The module's figures; or why it has not given all that it was asked for.
    pub figures: Result<Figures, String>,
    /// When it had said all that.
    pub at: Instant,
}

#[derive(Clone, Debug)]
pub struct Figures {
    pub health: Health,
    pub durations: BTreeMap<String, Durations>,
    /// None where the user may not ask, or the module has none yet.
    pub regions: Option<Vec<Region>>,
}

#[derive(Clone, Debug)]
pub struct Scrape {
    /// Why the servers could not be found by who tells of them: the URL's server, a cluster's node, a Sentinel.
    pub lost: Option<String>,
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
    /// Why each of them is away, as the standard error has it; none: it is told of in another way.
    noted: Option<Mutex<Standing>>,
}

impl Watch {
    /// Notes who is away.
    pub fn new(access: Access) -> Self {
        Self::with(access, Some(Mutex::default()))
    }

    /// Says nothing by itself.
    pub fn silent(access: Access) -> Self {
        Self::with(access, None)
    }

    fn with(access: Access, noted: Option<Mutex<Standing>>) -> Self {
        let access = access.within(STEP);
        let known = match access.way() {
            Way::Server { seed, .. } | Way::Cluster { seed } => {
                vec![Place::new(seed.clone(), Said::Nothing)]
            }
            Way::Sentinel { .. } => Vec::new(),
        };
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
        let (lost, nodes) = looked.unwrap_or_else(|_| {
            let why = format!("the servers did not answer within {SCRAPE:?}");
            (Some(why.clone()), self.0.all_away(&why))
        });
        Scrape { lost, nodes, took: began.elapsed() }
    }
}

impl Inner {
    fn look(&self) -> (Option<String>, Vec<Seen>) {
        let (why, nodes) = match Deployment::look(&self.access) {
            Ok(deployment) => (None, self.with_known(deployment.nodes)),
            Err(why) => (Some(format!("{why:#}")), self.again(self.known())),
        };
        let seen = thread::scope(|scope| {
            let asking: Vec<_> = nodes.iter().map(|node| scope.spawn(|| self.ask(node))).collect();
            asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        if let Some(mut noted) = self.noted.as_ref().map(lock) {
            // A server that can't be asked which others there are was told of already.
            let why = why.clone().filter(|why| !noted.holds(why));
            noted.note("the servers", why);
        }
        (why, seen)
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
        if let Some(mut noted) = self.noted.as_ref().map(lock) {
            noted.note(&name, figures.as_ref().err().cloned());
        }
        Seen {
            node: name,
            role: node.role(),
            facts: node.facts().cloned(),
            figures,
            at: Instant::now(),
        }
    }

    fn all_away(&self, why: &str) -> Vec<Seen> {
        let away = |place: &Place| Seen {
            node: place.address.to_string(),
            role: "unknown",
            facts: None,
            figures: Err(why.into()),
            at: Instant::now(),
        };
        self.known().iter().map(away).collect()
    }
}

fn read(node: &Node) -> Result<Figures> {
    let mut link = node.connect(0)?;
    let health = Health::read(&mut link)?;
    let durations = durations::read(&mut link)?;
    let databases = node.facts().map(Facts::databases).unwrap_or_default();
    Ok(Figures { health, durations, regions: regions::read(&mut link, &databases)? })
}

/// What is behind these locks is whole at any moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
