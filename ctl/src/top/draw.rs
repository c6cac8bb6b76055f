//! What is seen, as htop has it: meters above, the table of nodes, the commands, what is wrong with the chosen node,
//! keys below. What a small window has no room for is left out, the table last.

use std::time::{SystemTime, UNIX_EPOCH};

use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use ratatui::Frame;

use super::columns::{Column, COLUMNS};
use super::figures::{bytes, duration, percent, short};
use super::keys::HELP;
use super::sample::{Row, Sample, Total, AWAY};
use super::view::View;

/// Below these nothing can be read.
const LEAST: (u16, u16) = (30, 5);

const METERS: usize = 5;
const MOST_COMMANDS: usize = 8;
const MOST_REGIONS: usize = 8;
const MOST_REASONS: usize = 4;

const KEYS: [(&str, &str); 8] = [
    ("F1", "Help"),
    ("F5", "Pause"),
    ("F6", "SortBy"),
    ("I", "Invert"),
    ("F7", "Every -"),
    ("F8", "Every +"),
    ("Space", "Now"),
    ("F10", "Quit"),
];

/// Draws all of it. `of` is whose nodes these are.
pub fn draw(frame: &mut Frame, view: &mut View, of: &str) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        frame.render_widget(Paragraph::new("too small a window"), area);
        return;
    }
    if view.shows_help {
        frame.render_widget(Paragraph::new(help()), area);
        return;
    }
    let Some(sample) = view.sample.clone() else {
        frame.render_widget(Paragraph::new(format!("asking {of} ..")), area);
        return;
    };
    let reasons = reasons(&sample, view);
    let nodes = sample.nodes.len().max(1);
    // The title, the heading and the keys have a line each.
    let mut left = usize::from(area.height).saturating_sub(3);
    let mut take = |wanted: usize, least: usize| {
        let given = if left >= wanted + least { wanted } else { 0 };
        left -= given;
        given
    };
    let few = nodes.min(3);
    let lines = |line: &Line| line.width().div_ceil(usize::from(area.width)).max(1);
    let told = take(reasons.iter().map(lines).sum(), few);
    let meters = take(METERS, few + 1);
    let answers = take(1, few + 1);
    let space = take(1, few + 2);
    let calls = sample.commands.len().min(MOST_COMMANDS);
    // A blank line and the heading as well; what of it has room behind the nodes, if not all.
    let room = left.saturating_sub(nodes.max(few));
    let commands = if calls > 0 && room >= 3 { (calls + 2).min(room) } else { 0 };
    let regions = sample.regions.len().min(MOST_REGIONS);
    let room = room.saturating_sub(commands);
    let regions = if regions > 0 && room >= 3 { (regions + 2).min(room) } else { 0 };
    let heights = [1, meters, answers, space, 1]
        .map(|height| Constraint::Length(u16::try_from(height).unwrap_or(0)));
    let lengths = |height: usize| Constraint::Length(u16::try_from(height).unwrap_or(0));
    let table = left.saturating_sub(commands + regions).min(nodes).max(1);
    let below = [
        lengths(table),
        lengths(regions),
        lengths(commands),
        Constraint::Min(0),
        lengths(told),
        lengths(1),
    ];
    let parts = Layout::vertical(heights.into_iter().chain(below)).split(area);
    let [title, meter, answer, _, heading, table, region, call, _, reason, keys] = parts.as_ref()
    else {
        return;
    };

    frame.render_widget(Paragraph::new(title_line(&sample, view, of)), *title);
    draw_meters(frame, *meter, &sample);
    frame.render_widget(Paragraph::new(answers_line(&sample.total)), *answer);
    draw_nodes(frame, *heading, *table, view);
    frame.render_widget(Paragraph::new(region_lines(&sample, regions)), *region);
    frame.render_widget(Paragraph::new(command_lines(&sample, commands)), *call);
    frame.render_widget(Paragraph::new(reasons).wrap(Wrap { trim: true }), *reason);
    frame.render_widget(Paragraph::new(keys_line()), *keys);
}

fn title_line<'a>(sample: &Sample, view: &View, of: &str) -> Line<'a> {
    let away = sample.nodes.iter().filter(|row| row.is_away()).count();
    let nodes = sample.nodes.len();
    let mut spans = vec![
        "apikeyctl top".bold(),
        format!("  {of}  {nodes} node{}", if nodes == 1 { "" } else { "s" }).into(),
    ];
    if away > 0 {
        spans.push(", ".into());
        spans.push(format!("{away} away").red().bold());
    }
    spans.push(format!(", every {}s, {} UTC", view.every.as_secs_f64(), clock()).into());
    if view.is_paused {
        spans.push("  ".into());
        spans.push(" PAUSED ".yellow().reversed());
    }
    spans.into()
}

fn clock() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", seconds % 60)
}

/// On the left bars and what is there, on the right what happens.
fn draw_meters(frame: &mut Frame, area: Rect, sample: &Sample) {
    let halves = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]);
    let [left, right] = halves.areas(area);
    let total = &sample.total;
    let width = usize::from(left.width).saturating_sub(2);
    let hit_rate = total.hit_rate;
    let hits = hit_rate.map_or_else(|| "no lookups".into(), percent);
    let hits_colour = match hit_rate {
        Some(rate) if rate < 0.5 => Color::Red,
        Some(rate) if rate < 0.8 => Color::Yellow,
        _ => Color::Green,
    };
    let memory = total.memory_share();
    let used = bytes(total.used_memory);
    let memory_text = match total.maxmemory {
        0 => format!("{used}, no limit"),
        most => format!("{used}/{}", bytes(most)),
    };
    let memory_colour = match memory {
        Some(share) if share > 0.9 => Color::Red,
        Some(share) if share > 0.75 => Color::Yellow,
        _ => Color::Green,
    };
    let leased = match total.oldest_lease_ms {
        0 => String::new(),
        ms => format!(" since {}", duration(ms as f64 * 1e3)),
    };
    let on_left = vec![
        bar("Hits", hit_rate, &hits, hits_colour, width),
        bar("Mem ", memory, &memory_text, memory_colour, width),
        named(&[("Entries", short(total.entries as f64)), ("dead", short(total.backlog as f64))]),
        named(&[
            ("Uses pending", short(total.usage_pending as f64)),
            ("leased", short(total.usage_leased as f64) + &leased),
        ]),
        statuses(&sample.nodes),
    ];
    let rate = |of: fn(&super::sample::Rates) -> f64| {
        total.rates.as_ref().map_or_else(|| "-".into(), |rates| short(of(rates)))
    };
    let on_right = vec![
        named(&[
            ("Lookups/s", rate(|rates| rates.lookups)),
            ("misses/s", rate(|rates| rates.lookups - rates.hits)),
        ]),
        named(&[
            ("Fills/s", rate(|rates| rates.fills)),
            ("killed/s", rate(|rates| rates.killed)),
            ("evicted/s", rate(|rates| rates.evicted)),
        ]),
        named(&[
            ("Counted/s", rate(|rates| rates.counted)),
            ("settled/s", rate(|rates| rates.settled)),
        ]),
        named(&[
            ("Admitted/s", rate(|rates| rates.admitted)),
            ("refused/s", rate(|rates| rates.rate_limited + rates.usage_exceeded)),
        ]),
        named(&[
            ("Repeated/s", rate(|rates| rates.repeated_ids)),
            ("ids lost/s", rate(|rates| rates.ids_dropped_early)),
        ]),
    ];
    frame.render_widget(Paragraph::new(on_left), left);
    frame.render_widget(Paragraph::new(on_right), right);
}

/// `Hits[||||||      97.3%]`
fn bar<'a>(name: &'a str, share: Option<f64>, text: &str, colour: Color, width: usize) -> Line<'a> {
    let inner = width.saturating_sub(name.len() + 2);
    let filled = (share.unwrap_or(0.0).clamp(0.0, 1.0) * inner as f64).round() as usize;
    // The text stands on the bar, which is seen as far as it goes all the same.
    let mut letters = vec![' '; inner];
    letters.iter_mut().take(filled).for_each(|letter| *letter = '|');
    let start = inner.saturating_sub(text.chars().count());
    letters.iter_mut().skip(start).zip(text.chars()).for_each(|(letter, with)| *letter = with);
    let split = filled.min(inner);
    let on: String = letters.iter().take(split).collect();
    let off: String = letters.iter().skip(split).collect();
    vec![name.cyan(), "[".bold(), Span::styled(on, colour), off.dim(), "]".bold()].into()
}

fn named<'a>(figures: &[(&'a str, String)]) -> Line<'a> {
    let mut spans = Vec::new();
    for (name, figure) in figures {
        spans.push(Span::from(*name).cyan());
        spans.push(format!(" {figure}  ").bold());
    }
    spans.into()
}

fn statuses<'a>(nodes: &[Row]) -> Line<'a> {
    let mut spans = vec!["Nodes".cyan()];
    for status in ["healthy", "degraded", "unhealthy", AWAY] {
        let count = nodes.iter().filter(|row| row.status == status).count();
        if count > 0 {
            spans.push(Span::styled(format!(" {count} {status} "), colour_of(status)));
        }
    }
    spans.into()
}

fn colour_of(status: &str) -> Style {
    match status {
        "healthy" => Style::new().green(),
        "degraded" => Style::new().yellow(),
        _ => Style::new().red().bold(),
    }
}

fn answers_line<'a>(total: &Total) -> Line<'a> {
    let mut spans = vec!["Answers/s".cyan()];
    let answers = total.rates.iter().flat_map(|rates| &rates.answers);
    let mut given: Vec<_> = answers.filter(|(_, rate)| **rate > 0.0).collect();
    given.sort_by(|a, b| b.1.total_cmp(a.1));
    if given.is_empty() {
        spans.push(" none".dim());
    }
    for (code, rate) in given {
        let code = format!(" {code} ");
        spans.push(if code == " VALID " { code.green() } else { code.yellow() });
        spans.push(short(*rate).bold());
    }
    spans.into()
}

/// The columns that there is room for, each with its width.
fn columns(rows: &[&Row], width: usize) -> Vec<(Column, usize)> {
    let wide = |column: Column| {
        let cells = rows.iter().map(|row| column.text(row).chars().count());
        // Figures change: the table should not shake.
        let least = if column.is_text() { 0 } else { 6 };
        cells.max().unwrap_or(0).max(column.heading().len()).max(least) + 1
    };
    let mut ranked = COLUMNS;
    ranked.sort_by_key(|column| column.rank());
    let mut left = width;
    let mut shown = Vec::new();
    for column in ranked {
        let wide = wide(column);
        if wide > left && !shown.is_empty() {
            break;
        }
        left = left.saturating_sub(wide);
        shown.push((column, wide));
    }
    shown.sort_by_key(|(column, _)| COLUMNS.iter().position(|known| known == column));
    shown
}

fn draw_nodes(frame: &mut Frame, heading: Rect, table: Rect, view: &mut View) {
    view.page = usize::from(table.height).max(1);
    let (page, place) = (view.page, view.place());
    let rows = view.rows();
    let columns = columns(&rows, usize::from(table.width));
    let pad = |column: Column, text: String, width: usize| match column.is_text() {
        true => format!("{text:<width$}"),
        false => format!("{text:>width$} ", width = width.saturating_sub(1)),
    };
    let fill = |used: usize| " ".repeat(usize::from(table.width).saturating_sub(used));
    let used: usize = columns.iter().map(|(_, width)| width).sum();
    let mut spans: Vec<Span> = columns
        .iter()
        .map(|&(column, width)| {
            let text = Span::from(pad(column, column.heading().into(), width)).reversed();
            if column == view.sort {
                text.cyan().bold()
            } else {
                text.green()
            }
        })
        .collect();
    spans.push(Span::from(fill(used)).green().reversed());
    frame.render_widget(Paragraph::new(Line::from(spans)), heading);

    let first = (place + 1).saturating_sub(page);
    let shown = rows.iter().enumerate().skip(first).take(page);
    let lines: Vec<Line> = shown
        .map(|(at, row)| {
            let mut spans: Vec<Span> = columns
                .iter()
                .map(|&(column, width)| {
                    let text = Span::from(pad(column, column.text(row), width));
                    match column {
                        _ if at == place => text,
                        Column::Status => text.style(colour_of(&row.status)),
                        _ if row.is_away() => text.dim(),
                        _ => text,
                    }
                })
                .collect();
            spans.push(fill(used).into());
            let line = Line::from(spans);
            if at == place {
                line.style(Style::new().cyan().reversed())
            } else {
                line
            }
        })
        .collect();
    frame.render_widget(Paragraph::new(lines), table);
}

/// A blank line, the heading, and as many as there is room for.
fn region_lines<'a>(sample: &Sample, height: usize) -> Vec<Line<'a>> {
    let line = |cells: [&str; 8]| {
        let [name, entries, memory, hits, stale, waits, evicted, refused] = cells;
        format!(
            "{name:<24}{entries:>9}{memory:>8}{hits:>9}{stale:>9}{waits:>8}{evicted:>9}{refused:>10}  "
        )
    };
    let heading =
        line(["REGION", "ENTRIES", "MEM", "HIT% 1m", "STALE/s", "WAIT/s", "EVICT/s", "REFUSED/s"]);
    let regions = sample.regions.iter().take(height.saturating_sub(2)).map(|row| {
        let rates = row.rates.clone().unwrap_or_default();
        Line::from(line([
            &row.title.chars().take(23).collect::<String>(),
            &short(row.entries as f64),
            &bytes(row.bytes),
            &row.hit_rate_1m.map_or_else(|| "-".into(), percent),
            &short(rates.stale),
            &short(rates.waits),
            &short(rates.evicted),
            &short(rates.refused_fills),
        ]))
    });
    let heading = Line::from(heading.green().reversed());
    [Line::default(), heading].into_iter().chain(regions).collect()
}

/// A blank line, the heading, and as many as there is room for.
fn command_lines<'a>(sample: &Sample, height: usize) -> Vec<Line<'a>> {
    let line = |cells: [&str; 5]| {
        let [name, calls, mean, p99, time] = cells;
        format!("{name:<24}{calls:>10}{mean:>10}{p99:>10}{time:>9}  ")
    };
    let heading = line(["SLOWEST COMMANDS", "CALL/s", "MEAN", "P99", "TIME%"]);
    let commands = sample.commands.iter().take(height.saturating_sub(2)).map(|command| {
        let name = command.name.to_uppercase();
        let p99 = command.p99_us.map_or_else(|| "-".into(), |bound| duration(bound as f64));
        Line::from(line([
            &name,
            &short(command.calls_per_second),
            &duration(command.mean_us),
            &p99,
            &format!("{:.1}", command.time_percent),
        ]))
    });
    let heading = Line::from(heading.green().reversed());
    [Line::default(), heading].into_iter().chain(commands).collect()
}

/// What is wrong with the chosen node, and with who tells which there are.
fn reasons<'a>(sample: &Sample, view: &View) -> Vec<Line<'a>> {
    let rows = view.rows();
    let Some(row) = rows.get(view.place()) else { return Vec::new() };
    let mut reasons = row.reasons.clone();
    reasons.extend(sample.lost.clone().filter(|why| !row.reasons.contains(why)));
    let style = colour_of(&row.status);
    let line = |why: &String| {
        Line::from(vec![format!("{}: ", row.node).bold(), Span::styled(why.clone(), style)])
    };
    reasons.iter().take(MOST_REASONS).map(line).collect()
}

fn keys_line<'a>() -> Line<'a> {
    let key = |(key, does): (&'a str, &'a str)| {
        [key.into(), Span::from(does).cyan().reversed(), " ".into()]
    };
    KEYS.into_iter().flat_map(key).collect::<Vec<_>>().into()
}

fn help<'a>() -> Vec<Line<'a>> {
    let line = |(keys, does): &(&'a str, &'a str)| {
        Line::from(vec![format!("{keys:>28}  ").cyan().bold(), (*does).into()])
    };
    let about = [
        "",
        "Rates are a second's, of the time between two looks. Lookups and answers are those of all nodes; at the top",
        "the rest is that of primaries. A node is `away` where it does not answer; its reason stands at the bottom.",
        "HIT% is of the lookups of that time. BACKLOG: dead entries that are still to be removed. OLDEST: since the",
        "oldest batch of uses that is not settled was given out. MEAN, P99 and TIME% of commands: of that time, in the",
        "servers' main threads. Admitted and refused: by limits. Repeated: not counted again, by their ids; ids lost:",
        "those that went before their time, since a counter had too many.",
        "",
        "Any key goes back.",
    ];
    let title = [Line::from("apikeyctl top".bold()), Line::default()];
    let lines = title.into_iter().chain(HELP.iter().map(line));
    lines.chain(about.into_iter().map(Line::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::backend::TestBackend;
    use ratatui::Terminal;
    use std::time::Duration;

    /// What a window of this size shows.
    fn shown(width: u16, height: u16, view: &mut View) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        terminal.draw(|frame| draw(frame, view, "of")).expect("drawn");
        let buffer = terminal.backend().buffer();
        let letters: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        letters
            .chunks(usize::from(width))
            .map(|line| line.concat().trim_end().to_string())
            .collect()
    }

    fn view(nodes: usize) -> View {
        let row = |n: usize| Row {
            node: format!("10.0.0.{n}:6379"),
            role: "primary",
            status: if n == 1 { AWAY.into() } else { "healthy".into() },
            reasons: if n == 1 { vec!["it has gone".into()] } else { Vec::new() },
            ..Row::default()
        };
        let nodes = (0..nodes).map(row).collect();
        let sample = Sample {
            at: 0,
            lost: None,
            nodes,
            total: Total::default(),
            commands: Vec::new(),
            regions: Vec::new(),
        };
        View { sample: Some(sample), ..View::new(Duration::from_secs(2)) }
    }

    #[test]
    fn every_size_of_window_shows_what_it_can() {
        for nodes in [0, 1, 3, 100] {
            for width in [1, 29, 30, 50, 80, 200] {
                for height in [1, 4, 5, 6, 8, 10, 24, 60] {
                    let mut view = view(nodes);
                    view.choose(usize::MAX);
                    let lines = shown(width, height, &mut view);
                    let has_room = width >= 30 && height >= 5 && nodes > 0;
                    let chosen = format!("10.0.0.{}:6379", nodes.saturating_sub(1));
                    let is_seen = lines.iter().any(|line| line.starts_with(&chosen));
                    assert_eq!(is_seen, has_room, "{nodes} {width} {height}: {lines:#?}");
                }
            }
        }
    }

    #[test]
    fn the_chosen_node_says_why_it_is_away() {
        let mut view = view(3);
        let says = |view: &mut View| {
            shown(80, 24, view).iter().any(|line| line == "10.0.0.1:6379: it has gone")
        };
        assert!(!says(&mut view));
        view.choose(1);
        assert!(says(&mut view));
        view.shows_help = true;
        assert!(shown(80, 24, &mut view).iter().any(|line| line.contains("F10 q Ctrl-C  quit")));
    }
}
