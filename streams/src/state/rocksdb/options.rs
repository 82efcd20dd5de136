//! What stores are opened with: small buffers, one cache for all of them.

use std::fmt;
use std::path::Path;

use rocksdb::{
    BlockBasedOptions, Cache, DBCompressionType, InfoLogger, LogLevel, Options, WriteBufferManager,
};

/// Memory is taken from the system, and counted, in pieces of this size: a store that holds little takes little. With
/// larger ones a thousand stores would be beyond what write buffers may take, and each commit of each a file.
const ARENA_BLOCK_BYTES: usize = 16 << 10;
/// What is gathered for one write to a file. A store has two files open for writing all the time, with a buffer each; by
/// default they are most of what an idle store takes.
const FILE_BUFFER_BYTES: u64 = 4 << 10;
/// Files that are open are found in so many parts of a table, as a power of two. Few threads read a store at once.
const TABLE_CACHE_SHARD_BITS: i32 = 1;

/// What all stores of a process share.
#[derive(Clone)]
pub struct RocksOptions {
    cache: Cache,
    write_buffers: WriteBufferManager,
    pub(super) write_buffer_bytes: usize,
}

impl fmt::Debug for RocksOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RocksOptions")
            .field("write_buffer_bytes", &self.write_buffer_bytes)
            .finish_non_exhaustive()
    }
}

impl RocksOptions {
    /// A block cache of `cache_bytes` for all stores together, write buffers included, which are of `write_buffer_bytes`; a
    /// store has at most two of them.
    pub fn new(cache_bytes: usize, write_buffer_bytes: usize) -> Self {
        one_arena();
        let cache = Cache::new_lru_cache(cache_bytes);
        // Over its limit RocksDB flushes who writes, and lets nobody wait.
        let write_buffers = WriteBufferManager::new_write_buffer_manager_with_cache(
            (cache_bytes / 2).max(1),
            false,
            cache.clone(),
        );
        Self {
            cache,
            write_buffers,
            write_buffer_bytes,
        }
    }

    /// Whether write buffers take more than they may all together.
    pub(super) fn is_over(&self) -> bool {
        self.write_buffers.get_usage() > self.write_buffers.get_buffer_size()
    }

    /// What cache and write buffers hold now, bytes.
    pub fn used_bytes(&self) -> usize {
        self.cache.get_usage()
    }

    /// Options of the store in `path`.
    pub(super) fn database(&self, path: &Path) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(16 << 10);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&table);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_write_buffer_manager(&self.write_buffers);
        options.set_max_write_buffer_number(2);
        options.set_arena_block_size(ARENA_BLOCK_BYTES);
        // A store has one writer.
        options.set_allow_concurrent_memtable_write(false);
        options.set_target_file_size_base(16 << 20);
        options.set_max_bytes_for_level_base(64 << 20);
        options.set_level_compaction_dynamic_level_bytes(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_writable_file_max_buffer_size(FILE_BUFFER_BYTES);
        options.set_max_open_files(128);
        options.set_table_cache_num_shard_bits(TABLE_CACHE_SHARD_BITS);
        options.set_max_background_jobs(2);
        options.set_log_level(LogLevel::Warn);
        options.set_info_logger(logger(path));
        options.set_stats_dump_period_sec(0);
        options.set_stats_persist_period_sec(0);
        options.set_skip_stats_update_on_db_open(true);
        options.set_max_manifest_file_size(4 << 20);
        // Without it each store takes 4 MiB of disk before the first row: there may be a thousand.
        options.set_manifest_preallocation_size(64 << 10);
        options
    }
}

/// RocksDB takes memory from glibc, which by default has eight arenas a core and gives back of each only what lies at its end:
/// write buffers that one thread fills and another one frees leave all of them full of holes, some 400 MiB on two cores. Its
/// stores have one writer each and take memory in pieces, so that one arena is enough; what is Rust's has an allocator of its
/// own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a setting of the C library has no other way")]
fn one_arena() {
    // SAFETY: `mallopt` takes two numbers and touches nothing but the allocator's settings, under its lock.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
    if set == 0 {
        tracing::debug!("the C library takes no limit of arenas");
    }
}

/// Other C libraries have no arenas.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn one_arena() {}

/// What RocksDB has to say of a store goes where the program's own words go, instead of a file in each store.
fn logger(path: &Path) -> InfoLogger {
    let place = path.display().to_string();
    InfoLogger::new_callback_logger(LogLevel::Warn, move |level, text| match level {
        LogLevel::Error | LogLevel::Fatal => tracing::warn!(%place, text, "state store"),
        LogLevel::Warn => tracing::debug!(%place, text, "state store"),
        // What it is set to, at every start.
        LogLevel::Debug | LogLevel::Info | LogLevel::Header => {}
    })
}
