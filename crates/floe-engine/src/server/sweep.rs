//! Stages that nobody came back for are removed, now and then.

use super::Hall;
use crate::clock::timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How often they are looked for.
const SWEEP: Duration = Duration::from_secs(6 * 3600);

/// Looks for them, for ever.
pub(super) async fn sweep(hall: Arc<Hall>) {
    loop {
        let store = Arc::clone(&hall.store);
        let sweeping = Arc::clone(&hall.sweeping).acquire_owned().await;
        hall.threads.names.submit(Box::new(move || {
            let _sweeping = sweeping;
            match store.sweep(timestamp()) {
                Ok(0) => {}
                Ok(files) => tracing::info!(files, "old stages removed"),
                Err(fault) => tracing::warn!(%fault, "old stages were not removed"),
            }
        }));
        tokio::time::sleep(SWEEP).await;
    }
}
