//! Goes through all states that can come about, the nearest first, and tells the shortest way to one that is wrong.

use super::node::Names;
use super::rules::Rules;
use super::world::{Step, World, Wrong};
use ahash::AHashSet;
use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

/// More states than a test may take.
const MOST: usize = 1_000_000;

pub struct Explored {
    /// How many were seen: all that there are, where nothing was found.
    pub states: usize,
    pub happened: BTreeSet<&'static str>,
    /// The way to what was looked for, in words.
    pub story: Option<String>,
}

/// What somebody looks for.
pub type Wanted = fn(&Wrong) -> bool;

pub fn explore(rules: &Rules, wanted: Wanted) -> Explored {
    let (names, began) = (Names::new(), Instant::now());
    let start = World::new(rules, &names, began);
    let mut seen = AHashSet::from([start.key()]);
    // The state before, and what led from it to this one.
    let mut ways: Vec<Option<(usize, Step)>> = vec![None];
    let mut next = VecDeque::from([(0, start)]);
    let mut happened = BTreeSet::new();
    while let Some((at, world)) = next.pop_front() {
        for step in world.steps() {
            let mut after = world.clone();
            after.take(step);
            if after.wrongs().iter().any(wanted) {
                let way = way_to(&ways, at, step);
                let story = Some(tell(World::new(rules, &names, began), &way));
                return Explored { states: seen.len(), happened, story };
            }
            happened.extend(after.happened());
            if seen.insert(after.key()) {
                assert!(seen.len() < MOST, "too many states");
                next.push_back((ways.len(), after));
                ways.push(Some((at, step)));
            }
        }
    }
    Explored { states: seen.len(), happened, story: None }
}

fn way_to(ways: &[Option<(usize, Step)>], mut at: usize, last: Step) -> Vec<Step> {
    let mut way = vec![last];
    while let Some((before, step)) = ways[at] {
        way.push(step);
        at = before;
    }
    way.reverse();
    way
}

fn tell(mut world: World, way: &[Step]) -> String {
    let mut story = String::new();
    for &step in way {
        world.take(step);
        story += &format!("  {step:?} {:?}\n    {}\n", world.happened(), world.state());
    }
    format!("{story}{:?}", world.wrongs())
}
