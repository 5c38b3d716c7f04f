//! `Release` and `InRelease` of an archive: any bytes are read or refused, and what stands outside
//! the signed text is never read as if it were signed.
#![no_main]

use lava_backup_debian::Release;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let plain = Release::parse(data, "release");
    if let Ok(release) = &plain {
        let held: usize = release.lists.keys().map(String::len).sum();
        assert!(held <= data.len());
    }
    // Lines that a clear-signed text holds as they are.
    let signable = !data
        .split(|b| *b == b'\n')
        .any(|line| line.starts_with(b"-"));
    if !signable || data.contains(&b'\r') {
        return;
    }
    let mut signed = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n".to_vec();
    signed.extend_from_slice(data);
    signed
        .extend_from_slice(b"\n-----BEGIN PGP SIGNATURE-----\n\nAA\n-----END PGP SIGNATURE-----\n");
    let of_signed = Release::parse(&signed, "release");
    if let (Ok(plain), Ok(of_signed)) = (&plain, &of_signed) {
        assert_eq!(plain, of_signed);
    }
    // The same with something before or after it.
    let mut after = signed.clone();
    after.extend_from_slice(b"Origin: x\n");
    assert!(Release::parse(&after, "release").is_err());
    let mut before = b"Origin: x\n\n".to_vec();
    before.extend_from_slice(&signed);
    assert!(Release::parse(&before, "release").is_err());
});
