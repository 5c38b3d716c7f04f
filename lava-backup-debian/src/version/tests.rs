#![allow(clippy::unwrap_used)]

use std::collections::hash_map::DefaultHasher;

use super::*;

fn version(text: &str) -> PackageVersion {
    text.parse().unwrap()
}

#[test]
fn the_parts_are_split_at_the_first_colon_and_the_last_hyphen() {
    let v = version("2:1.0:a-b-3~bpo8+1");
    assert_eq!(
        (v.epoch(), v.upstream(), v.revision()),
        (2, "1.0:a-b", Some("3~bpo8+1"))
    );
    assert_eq!(version("2023.01+12+bookworm").revision(), None);
}

#[test]
fn what_policy_forbids_is_no_version() {
    for text in [
        "",
        "1.0-",
        ":1.0",
        "a:1",
        "0:",
        "-",
        "~",
        "abc",
        "-1",
        "1 0",
        " 1.0",
        "1.0 ",
        "1.0\n",
        "1_0",
        "é1",
        "1é",
        "1.0-1_2",
        "+1:1",
        "2147483648:1",
        "99999999999999999999:1",
        "0:0-0:0",
        "1:2-3:4",
        "1:-1",
    ] {
        let error = text.parse::<PackageVersion>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Version, "{text:?}");
    }
    assert_eq!(version("2147483647:1").epoch(), 2_147_483_647);
}

#[test]
fn what_is_written_is_kept() {
    assert_eq!(version("00:1.00-01").to_string(), "00:1.00-01");
    assert_eq!(
        serde_json::to_string(&version("1:1.0")).unwrap(),
        r#""1:1.0""#
    );
    assert_eq!(
        serde_json::from_str::<PackageVersion>(r#""00:1""#)
            .unwrap()
            .as_str(),
        "00:1"
    );
    assert!(serde_json::from_str::<PackageVersion>(r#""1.0-""#).is_err());
}

#[test]
fn equal_versions_hash_alike() {
    #[expect(clippy::disallowed_types, reason = "hashing is what is tested")]
    let mut seen = std::collections::HashMap::new();
    for text in ["1.0", "0:1.0-0", "00:01.00", "1.", "1.0-00"] {
        seen.insert(version(text), text);
    }
    assert_eq!(seen.len(), 1, "{seen:?}");
    let hash = |text: &str| {
        let mut hasher = DefaultHasher::new();
        version(text).hash(&mut hasher);
        hasher.finish()
    };
    assert_eq!(hash("1.0a"), hash("1.0a0"));
    assert_ne!(hash("1.0-1"), hash("1.0"));
}

#[test]
fn numbers_of_any_length_are_numbers() {
    let huge = format!("1.{}", "9".repeat(100_000));
    let huger = format!("1.1{}", "0".repeat(100_000));
    assert!(version(&huge) < version(&huger));
    assert!(version("18446744073709551616") > version("18446744073709551615"));
}

#[test]
fn lava_releases_sort_as_lava_made_them() {
    let order = [
        "2014.09.1-1",
        "2015.05-1~bpo8+1",
        "2015.9-1~bpo8+1",
        "2015.9.post1-1",
        "2016.12-2",
        "2018.4-1",
        "2018.5-3~bpo9+1",
        "2018.5.post1-2",
        "2018.11-1",
        "2019.01+stretch",
        "2020.08+10+buster",
        "2020.12-5+deb11u2",
        "2022.01.3-1",
        "2022.05.0003.g1a2b3c4+11+bullseye",
        "2022.05.1",
        "2023.01-2",
        "2023.05.1",
        "2024.05",
        "2024.05.dev0003+12+bookworm",
        "2024.05.1",
        "2026.10-2~bpo13+1",
    ];
    let releases: Vec<LavaVersion> = order.iter().map(|text| text.parse().unwrap()).collect();
    for pair in releases.windows(2) {
        assert!(pair[0] < pair[1], "{} < {}", pair[0], pair[1]);
    }
}

#[test]
fn one_lava_release_has_many_package_versions() {
    let of = |text: &str| text.parse::<LavaVersion>().unwrap();
    for same in [
        "2023.01+12+bookworm",
        "2023.01-2",
        "2023.1-1~bpo11+1+b2",
        "1:2023.01~bpo12+2",
        "2023.01",
    ] {
        assert_eq!(of(same), of("2023.01-1"), "{same}");
        assert_eq!(of(same).to_string(), "2023.01");
    }
    assert_eq!(of("2020.08+9999+unstable"), of("2020.08-1"));
    assert_eq!(of("2018.5.post1-2").to_string(), "2018.05.post1");
    assert_eq!(of("2018.5.post1-2").year_month(), (2018, 5));
    assert!(of("2024.05.dev0003+12+bookworm").is_development());
    assert!(!of("2023.05.1").is_development());
}

#[test]
fn a_lava_release_comes_back_from_its_own_text() {
    for text in [
        "2023.01",
        "2023.05.1",
        "2018.05.post1",
        "2024.05.dev0003",
        "2022.05.dev0003.g1a2b3c4",
    ] {
        let release: LavaVersion = text.parse().unwrap();
        assert_eq!(release.to_string(), text);
        assert_eq!(release.to_string().parse::<LavaVersion>().unwrap(), release);
    }
}

#[test]
fn another_packages_version_is_no_lava_release() {
    for text in [
        "3:3.2.25-0+deb12u3",
        "15.20-0+deb12u1",
        "2023.13-1",
        "2023.00",
        "2023-1",
        "2023.01.x",
        "2023.011",
        "2023.01.1.2.3",
        "2023.01.dev",
        "2023.01.0003.zz",
        "2023.01.0003.gab",
        "2023.01.0003.gzzzz",
        "2023.01~rc1",
    ] {
        assert_eq!(
            text.parse::<LavaVersion>().unwrap_err().kind(),
            ErrorKind::Version,
            "{text}"
        );
    }
}
