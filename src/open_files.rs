//! How many files a process may have open at once: a server takes as many as the system gives it.
//!
//! A shell gives 1,024 to what it starts, because programs of old counted on small numbers, and lets it ask for more. Each
//! partition and view takes some, so that a hundred views would come to that end.

use rustix::process::{Resource, getrlimit, setrlimit};

/// More than this nobody needs, and where there is no limit some systems take none.
const OPEN_FILES_MAX: u64 = 1 << 20;

/// How many a server may have open; `None`: the system sets no limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Asks for all of them. What the system refuses is left as it is.
pub(crate) fn take() {
    let mut files = getrlimit(Resource::Nofile);
    let most = files.maximum.unwrap_or(OPEN_FILES_MAX).min(OPEN_FILES_MAX);
    if files.current.is_none_or(|current| current >= most) {
        return;
    }
    files.current = Some(most);
    if let Err(error) = setrlimit(Resource::Nofile, files) {
        tracing::warn!(%error, most, "the limit of open files stays as it is");
    }
}
