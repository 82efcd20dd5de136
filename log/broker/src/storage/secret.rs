//! The data folder's secret: random bytes, by which what is told of users that do not exist stays the same from start to start.
//!
//! ```text
//! secret   32 bytes
//! ```

use std::path::Path;
use std::sync::Arc;

use tracing::warn;
use uuid::Uuid;

use super::{OpenError, replace_file};

/// Bytes of the folder's secret.
const SECRET_BYTES: usize = 32;

/// What the answers for users that do not exist are made of: random, made with the data folder, and kept in its file `secret`, so that these
/// answers are the same after a restart, too.
///
/// # Errors
/// If it is there and cannot be read.
pub(crate) fn secret(folder: &Path) -> Result<Arc<[u8]>, OpenError> {
    let path = folder.join("secret");
    match std::fs::read(&path) {
        Ok(secret) if secret.len() == SECRET_BYTES => return Ok(secret.into()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(OpenError::io("read", &path)(error));
        }
        // One that was cut off protects nothing.
        _ => {}
    }
    let halves = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()];
    let secret = halves.concat();
    if let Err(error) = replace_file(&path, &secret) {
        // No reason not to serve: a disk that is full serves readers.
        warn!(path = %path.display(), %error, "cannot keep the secret: salts of users are others after the next start");
    }
    Ok(secret.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_anew_where_it_was_cut_off() {
        let folder = tempfile::tempdir().expect("a folder");
        let read = || secret(folder.path()).expect("readable");
        let first = read();
        assert_eq!((first.len(), &read()), (SECRET_BYTES, &first));
        std::fs::write(folder.path().join("secret"), &first[..7]).expect("written");
        let second = read();
        assert_ne!(second, first);
        assert_eq!(read(), second);
    }
}
