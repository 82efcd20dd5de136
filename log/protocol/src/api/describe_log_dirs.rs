//! DescribeLogDirs: what the folders of a broker hold (key 35, versions 1–5, flexible from 2).
//!
//! - 3: an error of the whole. - 4: sizes of the disk (KIP-827). - 5: whether new partitions stay away (KIP-1066).

use crate::error_code::ErrorCode;

message! {
    /// Asks for partitions.
    pub struct DescribeLogDirsRequest: versions 1..=5, flexible 2 {
        /// Which; null is all.
        topics: Option<Vec<DescribableLogDirTopic>>,
    }

    /// An element of `DescribeLogDirsRequest.topics`.
    pub struct DescribableLogDirTopic {
        /// The topic.
        topic: String,
        /// Its partitions.
        partitions: Vec<i32>,
    }

    /// The folders.
    pub struct DescribeLogDirsResponse: versions 1..=5, flexible 2 {
        /// Ms for which a quota held the request back.
        throttle_time_ms: i32,
        /// What went wrong, if anything did.
        error_code: ErrorCode [3..],
        /// One a folder.
        results: Vec<DescribedLogDir>,
    }

    /// An element of `DescribeLogDirsResponse.results`.
    pub struct DescribedLogDir {
        /// What went wrong, if anything did.
        error_code: ErrorCode,
        /// Its path.
        log_dir: String,
        /// What it holds.
        topics: Vec<LogDirTopic>,
        /// Size of its disk; -1 unknown.
        total_bytes: i64 [4..] = -1,
        /// What of it is free; -1 unknown.
        usable_bytes: i64 [4..] = -1,
        /// Whether no partition is placed there any more.
        is_cordoned: bool [5..],
    }

    /// An element of `DescribedLogDir.topics`.
    pub struct LogDirTopic {
        /// The topic.
        name: String,
        /// Its partitions.
        partitions: Vec<LogDirPartition>,
    }

    /// An element of `LogDirTopic.partitions`.
    pub struct LogDirPartition {
        /// The partition.
        partition_index: i32,
        /// Bytes of its segments.
        partition_size: i64,
        /// How far it is behind the high watermark.
        offset_lag: i64,
        /// Whether it is to replace another.
        is_future_key: bool,
    }
}
