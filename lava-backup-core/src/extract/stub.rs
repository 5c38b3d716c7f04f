//! Extended attributes without lists, until `crate::attributes` reads and
//! applies both.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;

use crate::attributes::{Attributes, Bytes};
use crate::entry::Kind;
use crate::owner::Owners;

pub(super) fn read(
    fd: impl AsFd,
    _kind: Kind,
    _owners: &Owners,
) -> io::Result<Option<Box<Attributes>>> {
    let mut names = vec![0; 1 << 16];
    let length = match fs::flistxattr(&fd, &mut names[..]) {
        Err(Errno::OPNOTSUPP) => return Ok(None),
        other => other?,
    };
    let mut found = Attributes::default();
    for name in names[..length].split(|b| *b == 0) {
        if name.starts_with(b"user.")
            || name.starts_with(b"trusted.")
            || name == b"security.capability"
        {
            let mut value = vec![0; 1 << 16];
            let length = fs::fgetxattr(&fd, OsStr::from_bytes(name), &mut value[..])?;
            value.truncate(length);
            found.xattrs.insert(Bytes(name.to_vec()), Bytes(value));
        }
    }
    Ok((!found.is_empty()).then(|| Box::new(found)))
}

pub(super) fn apply(
    fd: impl AsFd,
    kind: Kind,
    wanted: Option<&Attributes>,
    owners: &Owners,
) -> io::Result<()> {
    let found = read(&fd, kind, owners)?.unwrap_or_default();
    let none = Attributes::default();
    let wanted = wanted.unwrap_or(&none);
    for (name, _) in &found.xattrs {
        if !wanted.xattrs.contains_key(name) {
            fs::fremovexattr(&fd, OsStr::from_bytes(&name.0))?;
        }
    }
    for (name, value) in &wanted.xattrs {
        if found.xattrs.get(name) != Some(value) {
            let name = OsStr::from_bytes(&name.0);
            fs::fsetxattr(&fd, name, &value.0, XattrFlags::empty())?;
        }
    }
    Ok(())
}
