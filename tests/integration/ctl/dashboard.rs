//! `deploy/monitoring/dashboard.py`: what it prints is whole, and agrees with the alerts and with these pages. That its
//! queries find something `monitoring` shows, by a real Prometheus.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use super::monitoring::{self, Alert};
use crate::client_libraries::installed;

/// What Grafana is given.
pub struct Dashboard(Json);

/// A panel that is no row.
#[derive(Clone, Copy)]
struct Panel<'a>(&'a Json);

impl Dashboard {
    /// As the program prints it.
    #[track_caller]
    pub fn printed(options: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring/dashboard.py");
        let mut python = Command::new(installed("venv/bin/python"));
        let ran = python.arg("-B").arg(program).args(options).output().expect("python");
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        assert!(ran.stderr.is_empty(), "{}", String::from_utf8_lossy(&ran.stderr));
        Self(serde_json::from_slice(&ran.stdout).expect("JSON"))
    }

    /// All of them, rows too.
    fn all(&self) -> &[Json] {
        self.0["panels"].as_array().expect("panels")
    }

    fn panels(&self) -> impl Iterator<Item = Panel<'_>> {
        self.all().iter().filter(|panel| panel["type"] != "row").map(Panel)
    }

    /// With the title of their panel, as Grafana asks them of all nodes.
    pub fn queries<'a>(&'a self) -> Vec<(&'a str, String)> {
        let asked = |panel: Panel<'a>| panel.targets().iter().map(move |target| (panel, target));
        let query = |target: &Json| chosen(target["expr"].as_str().expect("a query"));
        self.panels().flat_map(asked).map(|(panel, of)| (panel.title(), query(of))).collect()
    }

    fn variables(&self) -> &[Json] {
        self.0["templating"]["list"].as_array().expect("variables")
    }

    /// The series and the label that each variable has its values of: the two of `label_values(series, label)`.
    pub fn labels(&self) -> Vec<(String, String)> {
        let queries = self.variables().iter().filter(|variable| variable["type"] == "query");
        let of = |variable: &Json| {
            let query = variable["query"].as_str().expect("a query");
            let inner = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let (series, label) = inner.and_then(|inner| inner.rsplit_once(", ")).expect(query);
            (chosen(series), label.to_string())
        };
        queries.map(of).collect()
    }
}

impl<'a> Panel<'a> {
    fn title(&self) -> &'a str {
        self.0["title"].as_str().expect("a title")
    }

    fn description(&self) -> &'a str {
        self.0["description"].as_str().unwrap_or_default()
    }

    fn targets(&self) -> &'a [Json] {
        self.0["targets"].as_array().map_or(&[], Vec::as_slice)
    }

    /// Alerts that its description names.
    fn alerts(&self) -> Vec<&'a str> {
        self.description().lines().filter_map(|line| line.strip_prefix("Alert: ")).collect()
    }

    fn page(&self) -> &'a str {
        let page = self.description().lines().find_map(|line| line.strip_prefix("More: "));
        page.unwrap_or_else(|| panic!("{}: no page", self.title()))
    }

    /// The values at which a graph changes its colour.
    fn thresholds(&self) -> Vec<f64> {
        let steps = self.0["fieldConfig"]["defaults"]["thresholds"]["steps"].as_array();
        let steps = steps.filter(|_| self.0["type"] == "timeseries");
        steps.into_iter().flatten().filter_map(|step| step["value"].as_f64()).collect()
    }

    /// Its columns and lines: from, and to.
    fn place(&self) -> [(i64, i64); 2] {
        let of = |at: &str, size: &str| {
            let number = |name: &str| self.0["gridPos"][name].as_i64().expect("a number");
            (number(at), number(at) + number(size))
        };
        [of("x", "w"), of("y", "h")]
    }
}

/// With what Grafana puts in place of variables: the job of prometheus.yml, all nodes, four scrapes of 15 s.
fn chosen(query: &str) -> String {
    let values = [("$__rate_interval", "1m"), ("$job", "apikey"), ("$node", ".+")];
    let with = |query: String, (name, value): (&str, &str)| query.replace(name, value);
    let query = values.into_iter().fold(query.to_string(), with);
    assert!(!query.contains('$'), "a variable that there is not: {query}");
    query
}

/// Metrics of ours that a query names.
pub fn metrics(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| word.starts_with("apikey_"))
}

#[test]
fn each_panel_says_what_it_shows_where_and_in_which_unit() {
    let dashboard = Dashboard::printed(&[]);
    let ids: BTreeSet<_> = dashboard.all().iter().map(|panel| panel["id"].as_i64()).collect();
    assert_eq!((ids.len(), ids.contains(&None)), (dashboard.all().len(), false), "{ids:?}");
    let titles: BTreeSet<_> = dashboard.panels().map(|panel| panel.title()).collect();
    assert_eq!(titles.len(), dashboard.panels().count(), "{titles:?}");
    assert!(titles.len() > 30, "{titles:?}");

    let source = serde_json::json!({"type": "prometheus", "uid": "${source}"});
    for panel in dashboard.panels() {
        let title = panel.title();
        let text = panel.description().split("\n\n").next().unwrap_or_default();
        assert!(!title.is_empty() && text.ends_with('.'), "{title}: no description: {text}");
        let unit = &panel.0["fieldConfig"]["defaults"]["unit"];
        assert!(unit.as_str().is_some_and(|unit| !unit.is_empty()), "{title}: no unit");
        let refs: BTreeSet<_> = panel.targets().iter().map(|of| of["refId"].as_str()).collect();
        assert!(!refs.is_empty() && refs.len() == panel.targets().len(), "{title}: {refs:?}");
        for target in panel.targets() {
            let query = target["expr"].as_str().expect("a query");
            assert!(query.contains("$job") || query.starts_with("ALERTS{"), "{title}: {query}");
            assert_eq!(target["datasource"], source, "{title}");
            let is_table = target["format"] == "table";
            assert_eq!(target["legendFormat"].as_str() == Some(""), is_table, "{title}: no legend");
            // A unit of rates is for rates.
            let is_rate = query.contains("rate(") && !query.contains(" / ");
            let rates = ["ops", "s", "percentunit"].map(Json::from);
            assert!(!is_rate || rates.contains(unit), "{title}: {unit}");
        }
        let [(left, right), (top, bottom)] = panel.place();
        assert!(left >= 0 && right <= 24, "{title}: is out of the 24 columns");
        for other in dashboard.panels().filter(|other| other.title() != title) {
            let [(other_left, other_right), (other_top, other_bottom)] = other.place();
            let is_beside = right <= other_left || other_right <= left;
            let is_above = bottom <= other_top || other_bottom <= top;
            assert!(is_beside || is_above, "{title} and {} overlap", other.title());
        }
    }
}

#[test]
fn each_alert_has_a_panel_with_its_threshold_and_each_panel_its_page() {
    let alerts = monitoring::alerts();
    let dashboard = Dashboard::printed(&[]);
    for panel in dashboard.panels() {
        let title = panel.title();
        monitoring::assert_is_a_section(title, panel.page());
        let of: Vec<&Alert> =
            alerts.iter().filter(|alert| panel.alerts().contains(&&*alert.name)).collect();
        assert_eq!(of.len(), panel.alerts().len(), "{title} names an alert that there is not");
        for threshold in panel.thresholds() {
            let is_there = of.iter().any(|alert| alert.bounds().contains(&threshold));
            assert!(is_there, "{title}: {threshold} is of none of its alerts {:?}", panel.alerts());
        }
    }
    for alert in &alerts {
        let is_shown = dashboard.panels().any(|panel| panel.alerts().contains(&&*alert.name));
        assert!(is_shown, "no panel is of {}", alert.name);
    }
}

#[test]
fn panels_link_to_the_pages_where_one_says_where_they_are() {
    let links = |panel: Panel| panel.0["links"].as_array().map_or(0, Vec::len);
    assert!(Dashboard::printed(&[]).panels().all(|panel| links(panel) == 0));
    for address in ["https://git.test/apikey", "https://git.test/apikey/"] {
        for panel in Dashboard::printed(&["--docs", address]).panels() {
            let url = format!("https://git.test/apikey/{}", panel.page());
            assert_eq!(panel.0["links"][0]["url"], url, "{}", panel.title());
        }
    }
}
