//! The sizes at which a row is measured that shows how cost grows, and how they are written.

/// Where the rows that grow begin.
pub const SMALLEST: u64 = 1_000;

/// Powers of ten from [`SMALLEST`] up to `most`, and `most`.
pub fn up_to(most: u64) -> Vec<u64> {
    let tens = std::iter::successors(Some(SMALLEST), |size| size.checked_mul(10));
    tens.take_while(|&size| size < most).chain([most]).collect()
}

/// As in "10k" and "5M".
pub fn short(count: u64) -> String {
    match count {
        n if n >= 1_000_000 && n % 1_000_000 == 0 => format!("{}M", n / 1_000_000),
        n if n >= 1_000 && n % 1_000 == 0 => format!("{}k", n / 1_000),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_powers_of_ten_up_to_the_largest() {
        assert_eq!(up_to(5_000_000), [1_000, 10_000, 100_000, 1_000_000, 5_000_000]);
        assert_eq!(up_to(1_000), [1_000]);
        assert_eq!(up_to(25_000), [1_000, 10_000, 25_000]);
    }

    #[test]
    fn counts_are_named_shortly() {
        assert_eq!([0, 1_000, 1_500, 2_000_000].map(short), ["0", "1k", "1500", "2M"]);
    }
}
