//! Removing what a job owns.

use std::path::Path;

use log_api::{Admin, AdminError};

use crate::task::{EngineError, Names};

/// Removes what a job that does not run owns: its topics, its group, its local state. What is gone already is fine.
///
/// # Errors
/// From log and disk; it can be called again.
pub(crate) async fn erase(
    admin: &dyn Admin,
    names: &Names,
    sink_topic: &str,
    folder: &Path,
) -> Result<(), EngineError> {
    for topic in [&*names.changelog, sink_topic, &names.errors, &names.late] {
        match admin.delete_topic(topic).await {
            Ok(()) | Err(AdminError::UnknownTopic(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    admin.delete_group(&names.group).await?;
    Ok(crate::state::RocksStore::remove(folder)?)
}
