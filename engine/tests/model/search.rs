//! Runs the model, looks for a run that goes wrong, and tells it in words.

use crate::steps::{Profile, Start};
use crate::switches::Switches;
use crate::world::{Step, World, Wrong};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

/// Takes the steps until something is wrong.
fn run(switches: &Switches, start: &Start, steps: &[Step]) -> Result<(), Wrong> {
    let mut world = World::new(switches, start.shape, start.settings);
    steps.iter().try_for_each(|&step| world.take(step))
}

/// How many runs are tried: `APIKEY_MODEL_CASES` where it is set.
pub fn cases(default: u32) -> u32 {
    let given = std::env::var("APIKEY_MODEL_CASES").ok().and_then(|cases| cases.parse().ok());
    given.unwrap_or(default)
}

/// What somebody looks for.
pub type Wanted = fn(&Wrong) -> bool;

/// Finds a run of this profile that goes wrong as is wanted with something switched off, and tells it in
/// words. The runs are the same each time.
pub fn search(
    switches: &Switches,
    wanted: Wanted,
    cases: u32,
    profile: &Profile,
) -> Option<String> {
    search_in(switches, wanted, cases, (Just(profile.start), profile.steps()))
}

pub fn search_in(
    switches: &Switches,
    wanted: Wanted,
    cases: u32,
    runs: impl Strategy<Value = (Start, Vec<Step>)>,
) -> Option<String> {
    let config =
        Config { cases, failure_persistence: None, max_shrink_iters: 300, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let is_found = |start: &Start, steps: &[Step]| {
        run(switches, start, steps).is_err_and(|wrong| wanted(&wrong))
    };
    let found = TestRunner::new_with_rng(config, rng).run(&runs, |(start, steps)| {
        prop_assert!(!is_found(&start, &steps));
        Ok(())
    });
    match found {
        Ok(()) => None,
        Err(TestError::Fail(_, (start, steps))) => {
            let steps = shorten(steps, |steps| is_found(&start, steps));
            Some(tell(switches, &start, &steps))
        }
        Err(TestError::Abort(why)) => panic!("{why}"),
    }
}

/// Leaves out steps, one or two at once, as long as it is found without them: what a reader or a writer does
/// is often two steps, of which neither can go alone.
fn shorten(mut steps: Vec<Step>, is_found: impl Fn(&[Step]) -> bool) -> Vec<Step> {
    let shorter = |steps: &[Step]| {
        let pairs = (0..steps.len()).flat_map(|one| (0..=one).map(move |other| [one, other]));
        pairs.map(|pair| without(steps, pair)).find(|less| is_found(less))
    };
    while let Some(less) = shorter(&steps) {
        steps = less;
    }
    steps
}

fn without(steps: &[Step], places: [usize; 2]) -> Vec<Step> {
    let left = steps.iter().enumerate().filter(|(at, _)| !places.contains(at));
    left.map(|(_, &step)| step).collect()
}

fn tell(switches: &Switches, start: &Start, steps: &[Step]) -> String {
    let mut world = World::new(switches, start.shape, start.settings);
    world.tell_story();
    let wrong = steps.iter().find_map(|&step| world.take(step).err());
    let wrong = wrong.map_or_else(String::new, |wrong| format!("{wrong:?}"));
    format!("{start:?}\n  {}\n{wrong}", world.story().join("\n  "))
}
