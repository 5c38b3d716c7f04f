//! Small pieces of text for people.

use std::time::Duration;

/// Bytes, with three digits that count.
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match (unit, value) {
        (0, _) => format!("{count} B"),
        (_, v) if v < 10.0 => format!("{v:.2} {}", UNITS[unit]),
        (_, v) if v < 100.0 => format!("{v:.1} {}", UNITS[unit]),
        (_, v) => format!("{v:.0} {}", UNITS[unit]),
    }
}

/// A count with its noun.
pub(crate) fn count(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", grouped(number))
}

/// A number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration as documents have it.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A duration in words.
pub(crate) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds as f64 / 1000.0;
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let seconds = milliseconds / 1000;
    format!("{} min {} s", seconds / 60, seconds % 60)
}

/// An age of seconds, in the largest unit of which there are two.
pub(crate) fn age(seconds: u64) -> String {
    match seconds {
        s if s >= 2 * 86_400 => count(s / 86_400, "day"),
        s if s >= 2 * 3_600 => count(s / 3_600, "hour"),
        s if s >= 2 * 60 => count(s / 60, "minute"),
        s => count(s, "second"),
    }
}

/// Text that a terminal shows as it is: what would steer it, or turn the
/// direction of writing, is written `%XX`, as in paths. Lines and tabs stay.
pub(crate) fn printable(text: &str) -> String {
    let steers = |c: char| {
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        turns || (c.is_control() && !matches!(c, '\n' | '\t'))
    };
    if !text.contains(steers) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match steers(c) {
            true => {
                let mut buffer = [0; 4];
                for byte in c.encode_utf8(&mut buffer).bytes() {
                    shown += &format!("%{byte:02X}");
                }
            }
            false => shown.push(c),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.50 KiB");
        assert_eq!(bytes(1 << 30), "1.00 GiB");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(count(1, "file"), "1 file");
        assert_eq!(duration(61_000), "1 min 1 s");
        assert_eq!(age(1), "1 second");
        assert_eq!(age(36 * 3600), "36 hours");
        assert_eq!(age(90 * 86_400), "90 days");
    }

    #[test]
    fn nothing_steers_a_terminal() {
        assert_eq!(printable("a\tb\né"), "a\tb\né");
        assert_eq!(printable("\u{1b}[2Jx\u{202e}\r"), "%1B[2Jx%E2%80%AE%0D");
    }
}
