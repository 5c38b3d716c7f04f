//! Which minor versions of PostgreSQL a dump or a restore should not do without.

/// For each major, the first minor with every fix that matters here:
/// CVE-2024-7348 (code run as who dumps), CVE-2025-8714 and 8715 (code run by
/// who restores), CVE-2026-6477 (large objects and the client's stack). Of those
/// that are not kept up any more, the last there was.
const SAFE: &[(u32, u32)] = &[(13, 23), (14, 23), (15, 18), (16, 14), (17, 10), (18, 4)];

/// Loses the values of sequences without a word (fixed in 18.2).
const BROKEN_PG_DUMP: &[&str] = &["18.1"];

/// What to know of a server's or a program's version that lacks such fixes.
pub(crate) fn lacking(version: &str) -> Option<String> {
    let number = version.split_whitespace().next().unwrap_or_default();
    let (major, minor) = number.split_once('.')?;
    let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    let (_, safe) = SAFE.iter().find(|(of, _)| *of == major)?;
    (minor < *safe).then(|| {
        format!("PostgreSQL {number} lacks fixes that dumping and restoring need; they came with {major}.{safe}")
    })
}

/// The version that a program says it is of, if it may be used as one of a
/// major; else why not.
pub(crate) fn usable(said: &str, major: u32) -> Result<String, String> {
    // `pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`
    let version = said.split_whitespace().nth(2).unwrap_or_default();
    let of = version.split(['.', 'b', 'd', 'r']).next();
    if of != Some(major.to_string().as_str()) {
        return Err(format!("it says that it is {:?}", said.trim()));
    }
    if BROKEN_PG_DUMP.contains(&version) {
        return Err(format!("version {version} loses data"));
    }
    Ok(version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{lacking, usable};

    #[test]
    fn a_minor_before_the_last_fix_that_matters_is_told_of() {
        let lacks = lacking("15.17 (Debian 15.17-0+deb12u1)");
        assert!(lacks.is_some_and(|l| l.contains("15.17") && l.ends_with("15.18")));
        for fine in [
            "15.18 (Debian 15.18-0+deb12u1)",
            "15.20",
            "17.10",
            "19beta1",
            "99.1",
            "",
        ] {
            assert_eq!(lacking(fine), None, "{fine}");
        }
        assert!(lacking("17.9").is_some());
    }

    #[test]
    fn a_program_is_used_for_its_own_major_and_not_if_it_is_known_to_lose_data() {
        let said = "pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n";
        assert_eq!(usable(said, 15), Ok("15.18".into()));
        assert!(usable(said, 1).is_err());
        assert!(usable(said, 17).is_err_and(|e| e.contains("15.18")));
        assert!(usable("pg_dump (PostgreSQL) 18.1", 18).is_err_and(|e| e.contains("loses")));
        for good in ["18.0", "18.2", "18.10", "18beta2", "18rc1", "18devel"] {
            let said = format!("pg_dump (PostgreSQL) {good}");
            assert_eq!(usable(&said, 18), Ok(good.into()));
        }
        assert!(usable("", 15).is_err());
    }
}
