//! The two clocks of the shell: the wall's for what is written, a steady one for what runs out.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Ms since 1970 UTC, as the system tells it; it may jump.
pub(crate) fn wall_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        })
}

/// Ms since 1970 UTC as of the first call, and from there on evenly: a clock that is set does not end anyone's session.
pub(crate) fn steady_ms() -> i64 {
    static START: OnceLock<(i64, Instant)> = OnceLock::new();
    let (wall, instant) = START.get_or_init(|| (wall_ms(), Instant::now()));
    wall + i64::try_from(instant.elapsed().as_millis()).unwrap_or(i64::MAX)
}
