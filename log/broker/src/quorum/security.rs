//! What the metadata keeps of security, and changes to it.

use std::sync::Arc;

use super::image::MetadataRecord;
use super::{TopicError, Topics};
use crate::security::{SecurityImage, SecurityRecord, SecurityView};

impl Topics {
    /// What is kept, as of now.
    pub(crate) fn security(&self) -> Arc<SecurityView> {
        Arc::clone(&self.inner.security.read())
    }

    /// Decides on what is kept, and changes it; durable when it returns. Waits for the disk.
    ///
    /// # Errors
    /// [`TopicError::Offline`]; the changes up to the one that failed are made then.
    pub(crate) fn change_security<T>(
        &self,
        decide: impl FnOnce(&SecurityImage) -> (Vec<SecurityRecord>, T),
    ) -> Result<T, TopicError> {
        let mut metadata = self.inner.metadata.lock();
        let (records, outcome) = decide(&metadata.image.security);
        let changed = records
            .into_iter()
            .try_for_each(|record| self.commit(&mut metadata, MetadataRecord::Security { record }));
        let view = SecurityView::of(metadata.image.security.clone());
        *self.inner.security.write() = Arc::new(view);
        changed.map(|()| outcome)
    }
}
