//! The attributes of files on a file system: read, and made so.
//!
//! A descriptor that was opened only as a place (`O_PATH`), as those of links
//! and pipes are, has attributes by its name in `/proc/self/fd` alone. That
//! name leads to the file itself, whatever stands at its path by then.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{self, XattrFlags};
use rustix::io::Errno;

use super::acl::{Acl, UnknownOwner};
use super::{Attributes, Bytes, MAX_LIST, MAX_VALUE, check_xattrs, is_captured};
use crate::entry::Kind;
use crate::owner::Owners;

const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";
const CAPABILITY: &CStr = c"security.capability";

/// The attributes of an open file that a backup holds; `None` if it has none,
/// or its file system has none at all.
///
/// # Errors
/// Of the system; of `FileTooLarge` if they are more than an entry may hold; of
/// `InvalidData` if a list is none.
pub(crate) fn read(
    fd: impl AsFd,
    kind: Kind,
    owners: &Owners,
) -> io::Result<Option<Box<Attributes>>> {
    let file = Open::new(fd.as_fd(), kind);
    let mut attributes = Attributes::default();
    for (name, value) in file.all()? {
        if name.as_c_str() == ACCESS {
            let acl = list(&name, &value, owners)?;
            attributes.acl = acl.is_extended().then(|| acl.to_string());
        } else if name.as_c_str() == DEFAULT {
            attributes.default_acl = Some(list(&name, &value, owners)?.to_string());
        } else {
            let name = Bytes(name.into_bytes());
            attributes.xattrs.insert(name, Bytes(value));
        }
    }
    if let Some(why) = attributes.contradiction(kind) {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok((!attributes.is_empty()).then(|| Box::new(attributes)))
}

fn list(name: &CStr, value: &[u8], owners: &Owners) -> io::Result<Acl> {
    let bad = || named(name, io::ErrorKind::InvalidData.into());
    Acl::from_kernel(value, owners).ok_or_else(bad)
}

/// Gives an open file just these attributes, of those that a backup holds:
/// sets them, and removes others.
///
/// To be called when the file has its content and its owner, which both take
/// capabilities away, and before it has its mode: a list narrows what the mode
/// would open. Capabilities are set if `capabilities` says so, which it must
/// not for an owner who is unknown here, and are removed if not.
///
/// Gives the owners in lists that are unknown here.
///
/// # Errors
/// Of the system, with the name of the attribute; some may be set by then.
pub(crate) fn apply(
    fd: impl AsFd,
    kind: Kind,
    attributes: Option<&Attributes>,
    owners: &Owners,
    capabilities: bool,
) -> io::Result<Vec<UnknownOwner>> {
    let file = Open::new(fd.as_fd(), kind);
    let none = Attributes::default();
    let attributes = attributes.unwrap_or(&none);
    let mut unknown = Vec::new();
    let wanted = in_kernel_form(attributes, owners, capabilities, &mut unknown)?;
    let found = file.all()?;
    for name in found.keys().filter(|name| !wanted.contains_key(*name)) {
        file.remove(name).map_err(|e| named(name, e.into()))?;
    }
    for (name, value) in &wanted {
        if found.get(name) != Some(value) {
            file.set(name, value).map_err(|e| named(name, e.into()))?;
        }
    }
    Ok(unknown)
}

/// Does an open file have just these attributes, as [`apply`] would give them?
///
/// # Errors
/// Of the system.
pub(crate) fn has(
    fd: impl AsFd,
    kind: Kind,
    attributes: Option<&Attributes>,
    owners: &Owners,
    capabilities: bool,
) -> io::Result<bool> {
    let none = Attributes::default();
    let attributes = attributes.unwrap_or(&none);
    let wanted = in_kernel_form(attributes, owners, capabilities, &mut Vec::new())?;
    Ok(Open::new(fd.as_fd(), kind).all()? == wanted)
}

fn in_kernel_form(
    attributes: &Attributes,
    owners: &Owners,
    capabilities: bool,
    unknown: &mut Vec<UnknownOwner>,
) -> io::Result<BTreeMap<CString, Vec<u8>>> {
    let mut wanted = BTreeMap::new();
    let lists = [
        (ACCESS, &attributes.acl),
        (DEFAULT, &attributes.default_acl),
    ];
    for (name, text) in lists {
        if let Some(text) = text {
            let bad = || named(name, io::ErrorKind::InvalidInput.into());
            let acl = Acl::parse(text).ok_or_else(bad)?;
            wanted.insert(name.to_owned(), acl.to_kernel(owners, unknown));
        }
    }
    check_xattrs(&attributes.xattrs)
        .map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
    for (name, value) in &attributes.xattrs {
        let name = CString::new(name.0.clone())?;
        if capabilities || name.as_c_str() != CAPABILITY {
            wanted.insert(name, value.0.clone());
        }
    }
    Ok(wanted)
}

fn named(name: &CStr, error: io::Error) -> io::Error {
    let what = format!("attribute {}: {error}", Bytes(name.to_bytes().to_vec()));
    io::Error::new(error.kind(), what)
}

/// A file by its descriptor, or by the name of that.
enum Open<'f> {
    Fd(BorrowedFd<'f>),
    Name(String),
}

impl<'f> Open<'f> {
    fn new(fd: BorrowedFd<'f>, kind: Kind) -> Self {
        match kind {
            Kind::File | Kind::Dir | Kind::Hardlink => Self::Fd(fd),
            Kind::Symlink | Kind::Fifo => Self::Name(format!("/proc/self/fd/{}", fd.as_raw_fd())),
        }
    }

    /// Those that a backup holds, lists among them, with their values.
    fn all(&self) -> io::Result<BTreeMap<CString, Vec<u8>>> {
        let mut all = BTreeMap::new();
        for name in self.names()? {
            if name.as_c_str() != ACCESS
                && name.as_c_str() != DEFAULT
                && !is_captured(name.as_bytes())
            {
                continue;
            }
            let mut value = Vec::with_capacity(MAX_VALUE);
            let space = rustix::buffer::spare_capacity(&mut value);
            let read = match self {
                Self::Fd(fd) => fs::fgetxattr(fd, &name, space),
                Self::Name(path) => fs::getxattr(path, &name, space),
            };
            match read {
                Ok(_) => all.insert(name, value),
                // Removed since it was listed.
                Err(Errno::NODATA) => None,
                Err(e) => return Err(named(&name, e.into())),
            };
        }
        Ok(all)
    }

    fn names(&self) -> io::Result<Vec<CString>> {
        // Most files have none, and few have many.
        for room in [1 << 10, MAX_LIST] {
            let mut names = Vec::with_capacity(room);
            let space = rustix::buffer::spare_capacity(&mut names);
            let read = match self {
                Self::Fd(fd) => fs::flistxattr(fd, space),
                Self::Name(path) => fs::listxattr(path, space),
            };
            match read {
                Ok(_) => {
                    let names = names.split(|b| *b == 0).filter(|name| !name.is_empty());
                    return names.map(|name| Ok(CString::new(name)?)).collect();
                }
                Err(Errno::NOTSUP) => return Ok(Vec::new()),
                Err(Errno::RANGE) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Err(Errno::TOOBIG.into())
    }

    fn set(&self, name: &CStr, value: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Fd(fd) => fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Name(path) => fs::setxattr(path, name, value, XattrFlags::empty()),
        }
    }

    fn remove(&self, name: &CStr) -> rustix::io::Result<()> {
        let removed = match self {
            Self::Fd(fd) => fs::fremovexattr(fd, name),
            Self::Name(path) => fs::removexattr(path, name),
        };
        match removed {
            Err(Errno::NODATA) => Ok(()),
            other => other,
        }
    }
}
