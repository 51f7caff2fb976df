//! Room that is taken for a moment: nothing of it is written down, since nothing of it stays.

use super::{Load, Meter, Writing};
use floe_types::{ByteCount, Fault, ObjectPath};

impl Meter {
    /// Sets bytes aside for what is over when `work` is.
    ///
    /// # Errors
    /// `Quota`; what `work` says.
    pub(in crate::grant) fn lend<T>(
        &self,
        bytes: ByteCount,
        path: &ObjectPath,
        work: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let load = Load { bytes, ..Load::NONE };
        self.find_room(|book| book.reserve(load)).map_err(|short| short.fault(Writing(path)))?;
        let _lent = Lent { meter: self, load };
        work()
    }
}

/// Given back however the work ends.
struct Lent<'a> {
    meter: &'a Meter,
    load: Load,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.meter.lock().account.release(self.load);
    }
}
