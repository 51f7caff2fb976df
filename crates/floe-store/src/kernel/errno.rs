//! The one table from the system's numbers to codes.

use crate::disk::DiskError;
use floe_types::Code;
use rustix::io::Errno;

impl From<Errno> for DiskError {
    fn from(errno: Errno) -> Self {
        Self::of_system(code_of(errno), errno.raw_os_error())
    }
}

/// The failure that std reported.
pub(super) fn of_io(error: &std::io::Error) -> DiskError {
    Errno::from_io_error(error).map_or(DiskError::new(Code::Io), DiskError::from)
}

/// `LOOP` is what a link in the way of a path gives, where no link may be; `BADF` what a directory
/// gives that may be searched but not read.
const fn code_of(errno: Errno) -> Code {
    match errno {
        Errno::NOENT => Code::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::BADF => Code::PermissionDenied,
        Errno::ROFS => Code::ReadOnly,
        Errno::ISDIR => Code::IsDirectory,
        Errno::NOTDIR | Errno::LOOP => Code::NotDirectory,
        Errno::NXIO | Errno::NODEV => Code::NotRegular,
        Errno::NOTEMPTY => Code::NotEmpty,
        Errno::NOSPC => Code::NoSpace,
        Errno::DQUOT => Code::Quota,
        Errno::EXIST => Code::Exists,
        Errno::NAMETOOLONG => Code::NameTooLong,
        Errno::MFILE | Errno::NFILE | Errno::FBIG | Errno::MLINK | Errno::NOMEM => {
            Code::LimitExceeded
        }
        Errno::IO => Code::Io,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV => Code::Unsupported,
        Errno::ILSEQ => Code::BadPath,
        _ => Code::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_a_person_can_mend_has_its_code() {
        for (errno, code) in [
            (Errno::NOENT, Code::NotFound),
            (Errno::ACCESS, Code::PermissionDenied),
            (Errno::PERM, Code::PermissionDenied),
            (Errno::ROFS, Code::ReadOnly),
            (Errno::NOSPC, Code::NoSpace),
            (Errno::DQUOT, Code::Quota),
            (Errno::NAMETOOLONG, Code::NameTooLong),
            (Errno::ISDIR, Code::IsDirectory),
            (Errno::NOTDIR, Code::NotDirectory),
            (Errno::LOOP, Code::NotDirectory),
            (Errno::EXIST, Code::Exists),
            (Errno::NOTEMPTY, Code::NotEmpty),
            (Errno::MFILE, Code::LimitExceeded),
            (Errno::IO, Code::Io),
            (Errno::OPNOTSUPP, Code::Unsupported),
            (Errno::XDEV, Code::Unsupported),
        ] {
            let error = DiskError::from(errno);
            assert_eq!(error.code(), code, "{errno:?}");
            assert_eq!(error.is_cross_device(), errno == Errno::XDEV);
            assert_eq!(of_io(&std::io::Error::from(errno)), error);
        }
        assert_eq!(of_io(&std::io::ErrorKind::Other.into()).code(), Code::Io);
    }
}
