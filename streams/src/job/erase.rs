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
    view_topic: Option<&str>,
    folder: &Path,
) -> Result<(), EngineError> {
    let own = [&*names.changelog, &names.errors, &names.late];
    for topic in own.into_iter().chain(view_topic) {
        match admin.delete_topic(topic).await {
            Ok(()) | Err(AdminError::UnknownTopic(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    admin.delete_group(&names.group).await?;
    Ok(crate::state::RocksStore::remove(folder)?)
}
