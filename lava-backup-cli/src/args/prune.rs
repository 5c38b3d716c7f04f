//! The arguments of `prune`.

use std::time::Duration;

use clap::Args;

use super::StoreArgs;

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,

    /// Remove what no backup has needed for this long: a number with m, h or d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = duration)]
    pub(crate) grace: Duration,

    /// Say what would be removed, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write a number with m, h or d, as 24h");
    let (digits, minutes) = [("m", 1), ("h", 60), ("d", 24 * 60)]
        .into_iter()
        .find_map(|(unit, minutes)| Some((text.strip_suffix(unit)?, minutes)))
        .ok_or_else(wrong)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    let number: u32 = digits.parse().ok().filter(|_| plain).ok_or_else(wrong)?;
    Ok(Duration::from_secs(u64::from(number) * minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_number_with_a_unit() {
        let seconds = |text| duration(text).map(|d| d.as_secs());
        assert_eq!(seconds("0h"), Ok(0));
        assert_eq!(seconds("90m"), Ok(5400));
        assert_eq!(seconds("24h"), Ok(86_400));
        assert_eq!(seconds("30d"), Ok(2_592_000));
        for bad in [
            "",
            "h",
            "24",
            "-1h",
            "+1h",
            "1.5h",
            "1w",
            "1 h",
            "1hh",
            "99999999999d",
        ] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
