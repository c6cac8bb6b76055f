//! Numbers of bytes, as redis.conf has them and as a person reads them.

/// Reads `4gb` (1024 times 1024 ..), `4g` (1000 times 1000 ..) or a number.
pub fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim().to_ascii_lowercase();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" | "b" => 1,
        "k" => 1_000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        "t" => 1_000_000_000_000,
        "tb" => 1 << 40,
        _ => return Err("must be a number of bytes, like 4gb or 512mb".into()),
    };
    match number.parse::<f64>() {
        Ok(number) if number > 0.0 && number * (factor as f64) < 1e18 => {
            Ok((number * factor as f64) as u64)
        }
        _ => Err("must be a number of bytes above 0, like 4gb or 512mb".into()),
    }
}

/// `1.4 GB`, by 1024, as redis.conf has it: three digits.
pub fn person(bytes: f64) -> String {
    let mut number = bytes;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        if number.abs() < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = larger;
    }
    match number.abs() {
        _ if unit == "B" => format!("{number:.0} B"),
        ..10.0 => format!("{number:.2} {unit}"),
        ..100.0 => format!("{number:.1} {unit}"),
        _ => format!("{number:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_the_server_reads_them() {
        for (text, bytes) in
            [("4gb", 4 << 30), ("1.5GB", 3 << 29), ("2g", 2_000_000_000), ("10", 10)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "0", "-1", "4xb", "gb", "1e9gb", "99999999tb"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_person_reads_three_digits() {
        for (bytes, text) in [
            (0.0, "0 B"),
            (1023.0, "1023 B"),
            (1536.0, "1.50 kB"),
            (4.5e9, "4.19 GB"),
            (4.2e8, "401 MB"),
        ] {
            assert_eq!(person(bytes), text);
        }
    }
}
