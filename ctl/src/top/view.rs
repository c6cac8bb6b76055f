//! What the person who looks has chosen: the order, the line, how often.

use std::time::Duration;

use super::columns::{Column, COLUMNS};
use super::sample::{Row, Sample};

pub struct View {
    /// The last one; none until the servers have answered.
    pub sample: Option<Sample>,
    pub sort: Column,
    pub is_reversed: bool,
    /// The node whose line is chosen, which keeps it in whatever order.
    pub chosen: Option<String>,
    pub is_paused: bool,
    pub shows_help: bool,
    pub every: Duration,
    /// Lines of nodes that the window has.
    pub page: usize,
}

const INTERVALS: [u64; 8] = [1, 2, 5, 10, 15, 30, 60, 300];

impl View {
    pub fn new(every: Duration) -> Self {
        Self {
            sample: None,
            sort: Column::Node,
            is_reversed: false,
            chosen: None,
            is_paused: false,
            shows_help: false,
            every,
            page: 1,
        }
    }

    /// The nodes in the order that is chosen; by their names where that says nothing.
    pub fn rows(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.sample.iter().flat_map(|sample| &sample.nodes).collect();
        rows.sort_by(|a, b| {
            let order = self.sort.compare(a, b);
            let order = if self.is_reversed { order.reverse() } else { order };
            order.then_with(|| a.node.cmp(&b.node))
        });
        rows
    }

    /// The place of the line that is chosen: the first, where it has gone.
    pub fn place(&self) -> usize {
        let is_chosen = |row: &&Row| Some(&row.node) == self.chosen.as_ref();
        self.rows().iter().position(is_chosen).unwrap_or(0)
    }

    pub fn choose(&mut self, place: usize) {
        let rows = self.rows();
        let last = rows.len().saturating_sub(1);
        self.chosen = rows.get(place.min(last)).map(|row| row.node.clone());
    }

    /// Sorts by the column beside the one that it is sorted by.
    pub fn sort_by_next(&mut self, is_left: bool) {
        let at = COLUMNS.iter().position(|column| *column == self.sort).unwrap_or(0);
        let step = if is_left { COLUMNS.len() - 1 } else { 1 };
        if let Some(next) = COLUMNS.get((at + step) % COLUMNS.len()) {
            self.sort = *next;
        }
    }

    /// The next longer or shorter interval.
    pub fn change_interval(&mut self, is_longer: bool) {
        let mut steps = INTERVALS.iter().map(|&seconds| Duration::from_secs(seconds));
        let next = match is_longer {
            true => steps.find(|step| *step > self.every),
            false => steps.rev().find(|step| *step < self.every),
        };
        self.every = next.unwrap_or(self.every);
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Rates;
    use super::*;

    fn view() -> View {
        let row = |node: &str, lookups: Option<f64>, entries: u64| Row {
            node: node.into(),
            rates: lookups.map(|lookups| Rates { lookups, ..Rates::default() }),
            entries,
            ..Row::default()
        };
        let nodes = vec![row("b", Some(5.0), 1), row("a", None, 3), row("c", Some(7.0), 2)];
        let sample = Sample {
            at: 0,
            lost: None,
            nodes,
            total: Default::default(),
            commands: Vec::new(),
            regions: Vec::new(),
        };
        View { sample: Some(sample), ..View::new(Duration::from_secs(2)) }
    }

    fn names(view: &View) -> String {
        view.rows().iter().map(|row| row.node.as_str()).collect()
    }

    #[test]
    fn a_line_stays_chosen_in_any_order() {
        let mut view = view();
        assert_eq!(names(&view), "abc");
        view.choose(1);
        view.sort = Column::Lookups;
        assert_eq!((names(&view).as_str(), view.place()), ("cba", 1));
        view.sort = Column::Entries;
        assert_eq!((names(&view).as_str(), view.place()), ("acb", 2));
        view.is_reversed = true;
        assert_eq!((names(&view).as_str(), view.place()), ("bca", 0));
        view.choose(99);
        assert_eq!(view.chosen.as_deref(), Some("a"));
        view.chosen = Some("gone".into());
        assert_eq!(view.place(), 0);
    }

    #[test]
    fn columns_go_round_and_intervals_end() {
        let mut view = view();
        view.sort_by_next(true);
        assert_eq!(view.sort, Column::OldestLease);
        view.sort_by_next(false);
        assert_eq!(view.sort, Column::Node);
        for (is_longer, seconds) in [(false, 1), (false, 1), (true, 2), (true, 5)] {
            view.change_interval(is_longer);
            assert_eq!(view.every, Duration::from_secs(seconds));
        }
    }
}
