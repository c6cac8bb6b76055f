//! Figures in few letters: `12.3k`, `1.5G`, `97.3%`.

/// A number that may have a fraction.
pub fn short(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T"])
}

pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0, &["", "K", "M", "G", "T"])
}

fn scaled(number: f64, step: f64, units: &[&str]) -> String {
    let mut number = number.max(0.0);
    let mut unit = units.iter().peekable();
    loop {
        let name = unit.next().copied().unwrap_or_default();
        // As it is rounded below, so that no 1000 is left over.
        if number < step - 0.5 || unit.peek().is_none() {
            let is_whole = number.fract() == 0.0 && name.is_empty();
            return match is_whole || number >= 99.95 {
                true => format!("{number:.0}{name}"),
                false => format!("{number:.1}{name}"),
            };
        }
        number /= step;
    }
}

pub fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// Microseconds, in the unit that suits them.
pub fn duration(microseconds: f64) -> String {
    match microseconds {
        ..1e3 => format!("{microseconds:.0}us"),
        ..1e6 => format!("{:.1}ms", microseconds / 1e3),
        _ => format!("{:.1}s", microseconds / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        for (number, text) in [
            (0.0, "0"),
            (0.5, "0.5"),
            (7.0, "7"),
            (99.96, "100"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (12_345.0, "12.3k"),
            (1_234_567.0, "1.2M"),
            (1e18, "1000000T"),
        ] {
            assert_eq!(short(number), text);
        }
        assert_eq!(
            (bytes(1023), bytes(1024), bytes(1_610_612_736)),
            ("1023".into(), "1.0K".into(), "1.5G".into())
        );
        assert_eq!((percent(0.9734), percent(1.0)), ("97.3%".into(), "100.0%".into()));
        let times = [12.4, 1_500.0, 2e6].map(duration);
        assert_eq!(times, ["12us", "1.5ms", "2.0s"]);
    }
}
