//! `/metrics`: what is counted, what each figure means, and what the process itself takes.
//!
//! Invariants:
//! 1. Every figure that the source counts is in [`FIGURES`], so it has a `# HELP` line and a place in docs/metrics.md.
//! 2. A job that is gone has no figures: the recorder keeps them for good, the page leaves them out.

use std::collections::HashSet;
use std::fmt::Write;

use log_broker::{Broker, GroupPosition};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use streams::{Engine, MemoryUser};

/// Places of consumer groups on a page; beyond them some are left out.
const GROUP_POSITIONS_MAX: usize = 10_000;

/// What a figure does over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

use Kind::{Counter, Gauge, Histogram};

/// Name, kind, unit, meaning.
const FIGURES: &[(&str, Kind, Option<Unit>, &str)] = &[
    (
        "thalweg_build_info",
        Gauge,
        None,
        "Always 1; the label says which version runs",
    ),
    (
        "process_start_time_seconds",
        Gauge,
        Some(Unit::Seconds),
        "When the process began, Unix time",
    ),
    (
        "process_cpu_seconds_total",
        Counter,
        Some(Unit::Seconds),
        "Processor time that the process has used",
    ),
    (
        "process_resident_memory_bytes",
        Gauge,
        Some(Unit::Bytes),
        "Memory that the process holds",
    ),
    (
        "process_open_fds",
        Gauge,
        None,
        "File descriptors that are open",
    ),
    (
        "thalweg_memory_part_bytes",
        Gauge,
        Some(Unit::Bytes),
        "What a user of memory may hold of memory.limit: state, jobs, queries, clients",
    ),
    (
        "thalweg_memory_used_bytes",
        Gauge,
        Some(Unit::Bytes),
        "What state, jobs and queries hold of it, as they count themselves",
    ),
    (
        "thalweg_memory_peak_bytes",
        Gauge,
        Some(Unit::Bytes),
        "The most that they have held since the start",
    ),
    (
        "thalweg_log_connections",
        Gauge,
        None,
        "Connections of Kafka clients",
    ),
    (
        "thalweg_log_authentications_failed_total",
        Counter,
        None,
        "Kafka clients that said wrongly who they are",
    ),
    (
        "thalweg_log_bytes_in_total",
        Counter,
        Some(Unit::Bytes),
        "Bytes received from Kafka clients",
    ),
    (
        "thalweg_log_bytes_out_total",
        Counter,
        Some(Unit::Bytes),
        "Bytes sent to Kafka clients",
    ),
    (
        "thalweg_log_requests_total",
        Counter,
        None,
        "Requests of Kafka clients by API",
    ),
    (
        "thalweg_log_partitions",
        Gauge,
        None,
        "Partitions of the log",
    ),
    (
        "thalweg_log_size_bytes",
        Gauge,
        Some(Unit::Bytes),
        "Size of the log on disk",
    ),
    (
        "thalweg_consumer_group_committed_offset",
        Gauge,
        None,
        "The offset that a consumer group has committed, by topic and partition",
    ),
    (
        "thalweg_consumer_group_lag",
        Gauge,
        None,
        "Records of a partition behind the offset that a consumer group has committed",
    ),
    (
        "thalweg_job_rows_in_total",
        Counter,
        None,
        "Rows that a job has read",
    ),
    (
        "thalweg_job_rows_out_total",
        Counter,
        None,
        "Changes that a job has written",
    ),
    (
        "thalweg_job_late_rows_total",
        Counter,
        None,
        "Rows whose window had closed",
    ),
    (
        "thalweg_job_undecodable_records_total",
        Counter,
        None,
        "Records that do not fit the declared columns",
    ),
    (
        "thalweg_job_failed_rows_total",
        Counter,
        None,
        "Rows that could not be computed",
    ),
    (
        "thalweg_job_lag_records",
        Gauge,
        None,
        "Records that a job has yet to read",
    ),
    (
        "thalweg_job_commit_age_seconds",
        Gauge,
        Some(Unit::Seconds),
        "Time since a job's last commit",
    ),
    (
        "thalweg_job_commits_total",
        Counter,
        None,
        "Commits of a job",
    ),
    (
        "thalweg_job_commit_seconds",
        Histogram,
        Some(Unit::Seconds),
        "How long a job's commits take",
    ),
    (
        "thalweg_job_restarts_total",
        Counter,
        None,
        "Restarts of a job after an error",
    ),
    (
        "thalweg_job_watermark_seconds",
        Gauge,
        Some(Unit::Seconds),
        "Event time that a job has reached, Unix time",
    ),
    (
        "kafka_connect_source_task_metrics_source_record_poll_total",
        Counter,
        None,
        "Records that a source task has read",
    ),
    (
        "kafka_connect_source_task_metrics_source_record_write_total",
        Counter,
        None,
        "Records that a source task has written to the log",
    ),
    (
        "kafka_connect_sink_task_metrics_sink_record_read_total",
        Counter,
        None,
        "Records that a sink task has read from the log",
    ),
    (
        "kafka_connect_sink_task_metrics_sink_record_send_total",
        Counter,
        None,
        "Records that a sink task has delivered",
    ),
    (
        "kafka_connect_task_error_metrics_total_record_failures",
        Counter,
        None,
        "Records that a task could not process",
    ),
    (
        "kafka_connect_task_error_metrics_total_records_skipped",
        Counter,
        None,
        "Records that a task has passed over after an error",
    ),
    (
        "kafka_connect_task_error_metrics_deadletterqueue_produce_requests",
        Counter,
        None,
        "Records written to a dead letter topic",
    ),
    (
        "thalweg_connect_task_figure",
        Gauge,
        None,
        "What a task of Connect tells of itself, by figure: records, rate, lag of the slot",
    ),
    (
        "thalweg_wasm_instances_total",
        Counter,
        None,
        "Instances made of a module",
    ),
    (
        "thalweg_wasm_traps_total",
        Counter,
        None,
        "Calls of a module that trapped, by cause",
    ),
];

/// Installs the recorder of this process; a second call (tests) records nothing and serves an empty page.
pub(crate) fn install_recorder() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::debug!("metrics are recorded elsewhere in this process");
    }
    for &(name, kind, unit, what) in FIGURES {
        match (kind, unit) {
            (Counter, Some(unit)) => describe_counter!(name, unit, what),
            (Counter, None) => describe_counter!(name, what),
            (Gauge, Some(unit)) => describe_gauge!(name, unit, what),
            (Gauge, None) => describe_gauge!(name, what),
            (Histogram, Some(unit)) => describe_histogram!(name, unit, what),
            (Histogram, None) => describe_histogram!(name, what),
        }
    }
    gauge!("thalweg_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    handle
}

/// The page, with what is only known when somebody asks.
pub(crate) fn metrics_page(metrics: &PrometheusHandle, engine: &Engine, broker: &Broker) -> String {
    count_jobs(engine);
    count_memory(engine);
    metrics.run_upkeep();
    let jobs = engine.jobs();
    let living: HashSet<&str> = jobs.iter().map(|job| job.name()).collect();
    let groups = groups(&broker.group_positions(GROUP_POSITIONS_MAX));
    without_gone_jobs(&metrics.render(), &living) + &groups + &process()
}

/// How far the consumer groups are. They are not recorded: a group that is gone is on no page.
fn groups(positions: &[GroupPosition]) -> String {
    let mut page = String::new();
    type Figure = fn(&GroupPosition) -> i64;
    let figures: [(&str, Figure); 2] = [
        ("thalweg_consumer_group_committed_offset", |at| at.committed),
        // What retention has taken may lie between, and a reset may point behind the end.
        ("thalweg_consumer_group_lag", |at| {
            (at.end - at.committed.max(0)).max(0)
        }),
    ];
    for (name, value) in figures {
        if positions.is_empty() {
            continue;
        }
        head(&mut page, name);
        for at in positions {
            // A string takes everything.
            let _ = writeln!(
                page,
                "{name}{{group=\"{}\",topic=\"{}\",partition=\"{}\"}} {}",
                label(&at.group),
                label(&at.partition.topic),
                at.partition.partition,
                value(at)
            );
        }
        page.push('\n');
    }
    page
}

/// The two lines above the values of a figure.
fn head(page: &mut String, name: &str) {
    if let Some((_, kind, _, what)) = FIGURES.iter().find(|(known, ..)| *known == name) {
        let kind = format!("{kind:?}").to_lowercase();
        let _ = write!(page, "# HELP {name} {what}\n# TYPE {name} {kind}\n");
    }
}

/// A text as the value of a label.
fn label(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    escaped.replace('\n', "\\n")
}

/// Who holds how much memory.
fn count_memory(engine: &Engine) {
    let memory = engine.memory();
    for user in MemoryUser::ALL {
        let label = [("user", user.name())];
        gauge!("thalweg_memory_part_bytes", &label).set(memory.share(user) as f64);
        // Requests and answers are counted where they wait, by the log itself.
        if user != MemoryUser::Clients {
            gauge!("thalweg_memory_used_bytes", &label).set(memory.used(user) as f64);
            gauge!("thalweg_memory_peak_bytes", &label).set(memory.peak(user) as f64);
        }
    }
}

/// What the jobs have done.
fn count_jobs(engine: &Engine) {
    for job in engine.jobs() {
        let status = job.status();
        let label = [("job", job.name().to_owned())];
        counter!("thalweg_job_rows_in_total", &label).absolute(status.rows_in);
        counter!("thalweg_job_rows_out_total", &label).absolute(status.rows_out);
        counter!("thalweg_job_late_rows_total", &label).absolute(status.late);
        counter!("thalweg_job_undecodable_records_total", &label).absolute(status.undecodable);
        counter!("thalweg_job_failed_rows_total", &label).absolute(status.failed_rows);
        let behind = status
            .partitions
            .iter()
            .map(|partition| (partition.high_watermark - partition.position).max(0));
        gauge!("thalweg_job_lag_records", &label).set(behind.sum::<i64>() as f64);
        if let Some(age) = status.commit_age {
            gauge!("thalweg_job_commit_age_seconds", &label).set(age.as_secs_f64());
        }
    }
}

/// The page without the lines of jobs that are not among the living.
fn without_gone_jobs(page: &str, living: &HashSet<&str>) -> String {
    let mut out = String::with_capacity(page.len());
    for line in page.lines() {
        let job = line
            .split_once("{")
            .and_then(|(_, labels)| labels.split_once("job=\""))
            .and_then(|(_, rest)| rest.split_once('"'));
        let gone = !line.starts_with('#') && job.is_some_and(|(name, _)| !living.contains(name));
        if !gone {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

/// What the process takes, as other exporters name it; nothing where the system does not tell.
fn process() -> String {
    let mut page = String::new();
    let mut figure = |name: &str, value: Option<f64>| {
        let Some(value) = value else {
            return;
        };
        head(&mut page, name);
        // A string takes everything.
        let _ = write!(page, "{name} {value}\n\n");
    };
    let stat = ProcessStat::read();
    figure(
        "process_start_time_seconds",
        stat.as_ref().and_then(ProcessStat::started),
    );
    figure(
        "process_cpu_seconds_total",
        stat.as_ref().map(|stat| stat.cpu_seconds),
    );
    figure(
        "process_resident_memory_bytes",
        stat.as_ref().map(|stat| stat.resident_bytes),
    );
    let open = std::fs::read_dir("/proc/self/fd").ok();
    // The folder itself is open while it is read.
    figure(
        "process_open_fds",
        open.map(|open| open.count().saturating_sub(1) as f64),
    );
    page
}

/// From `/proc/self/stat` (proc(5)); times there are in ticks.
struct ProcessStat {
    cpu_seconds: f64,
    resident_bytes: f64,
    since_boot_seconds: f64,
}

impl ProcessStat {
    /// Linux tells user programs 100 ticks a second and has memory in pages of 4 KiB on the machines served here.
    const TICKS: f64 = 100.0;
    const PAGE_BYTES: f64 = 4096.0;

    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)
    }

    fn parse(stat: &str) -> Option<Self> {
        // The name in brackets may hold anything, brackets and spaces too.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / Self::TICKS,
            since_boot_seconds: field(22)? / Self::TICKS,
            resident_bytes: field(24)? * Self::PAGE_BYTES,
        })
    }

    fn started(&self) -> Option<f64> {
        let stat = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(boot.trim().parse::<f64>().ok()? + self.since_boot_seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// What our figures begin with.
    const PREFIXES: [&str; 2] = ["thalweg_", "kafka_connect_"];

    /// Names in the source that are given to a counter, gauge or histogram.
    fn counted(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                counted(&path, found);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = std::fs::read_to_string(&path).expect("source");
                for prefix in PREFIXES {
                    for part in text.split(&format!("\"{prefix}")).skip(1) {
                        let lower = |c: &char| c.is_ascii_lowercase() || *c == '_';
                        let name: String = part.chars().take_while(lower).collect();
                        found.insert(format!("{prefix}{name}"));
                    }
                }
            }
        }
    }

    #[test]
    fn every_figure_of_the_source_is_described() {
        let mut found = BTreeSet::new();
        for folder in [
            "src",
            "log/broker/src",
            "streams/src",
            "connect/sandbox/src",
            "connect/runtime/src",
            "sql/src",
        ] {
            counted(&root().join(folder), &mut found);
        }
        for prefix in PREFIXES {
            found.remove(prefix);
        }
        let described: BTreeSet<String> = FIGURES
            .iter()
            .filter(|(name, ..)| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
            .map(|(name, ..)| (*name).to_owned())
            .collect();
        assert_eq!(found, described);
    }

    #[test]
    fn the_guide_lists_the_figures() {
        let mut expected = String::new();
        for (name, kind, _, what) in FIGURES {
            let kind = format!("{kind:?}").to_lowercase();
            expected += &format!("| `{name}` | {kind} | {what} |\n");
        }
        let guide = std::fs::read_to_string(root().join("docs/metrics.md")).expect("the guide");
        assert!(
            guide.contains(&expected),
            "docs/metrics.md should hold\n{expected}"
        );
    }

    #[test]
    fn a_job_that_is_gone_has_no_figures() {
        let page = "# HELP thalweg_job_rows_in_total Rows of job=\"old\"\n\
                    thalweg_job_rows_in_total{job=\"old\"} 3\n\
                    thalweg_job_rows_in_total{job=\"new\"} 4\n\
                    thalweg_job_commit_seconds{job=\"old\",quantile=\"0.5\"} 1\n\
                    thalweg_log_connections 1\n";
        let left = without_gone_jobs(page, &HashSet::from(["new"]));
        assert_eq!(
            left,
            "# HELP thalweg_job_rows_in_total Rows of job=\"old\"\n\
             thalweg_job_rows_in_total{job=\"new\"} 4\n\
             thalweg_log_connections 1\n"
        );
    }

    #[test]
    fn groups_are_told_with_what_they_have_to_read() {
        let at = |group: &str, partition: i32, committed: i64, end: i64| GroupPosition {
            group: group.to_owned(),
            partition: log_api::TopicPartition::new("orders", partition),
            committed,
            end,
        };
        let page = groups(&[at("a \"b\"", 0, 7, 10), at("c", 1, 12, 10)]);
        let lag = "thalweg_consumer_group_lag";
        assert!(page.contains(&format!("# TYPE {lag} gauge\n")), "{page}");
        for line in [
            r#"{group="a \"b\"",topic="orders",partition="0"} 3"#,
            r#"{group="c",topic="orders",partition="1"} 0"#,
        ] {
            assert!(page.contains(&format!("{lag}{line}\n")), "{page}");
        }
        assert_eq!(groups(&[]), "");
    }

    #[test]
    fn the_process_is_measured() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1000 99 25 0";
        let stat = ProcessStat::parse(stat).expect("as in proc(5)");
        assert_eq!(stat.cpu_seconds, 2.0);
        assert_eq!(stat.since_boot_seconds, 10.0);
        assert_eq!(stat.resident_bytes, 102_400.0);
        let page = process();
        assert!(
            page.contains("# TYPE process_open_fds gauge\nprocess_open_fds "),
            "{page}"
        );
    }
}
