//! The log of a data folder: its format, its list of topics, the files of its partitions.

use std::fs;
use std::path::Path;

use log_broker::{InspectedPartition, InspectedTopic, Inspection, inspect};

use super::{Finding, Grade, first_few, size};

/// The newest format that this version reads; `log_broker` refuses what is newer.
const FORMAT: u32 = 1;

/// Which format it has.
pub(super) fn format(log: &Path) -> Finding {
    let finding = |grade, what: String| Finding::new(grade, "format", what);
    if !log.exists() {
        return finding(
            Grade::Note,
            "there is no log yet: nothing was ever started here".into(),
        );
    }
    let text = match fs::read_to_string(log.join("format")) {
        Ok(text) => text,
        Err(error) => {
            return finding(Grade::Bad, format!("the file log/format cannot be read: {error}"))
                .fix("restore the folder from its copy; the file is written at the first start and never changed");
        }
    };
    let number = text.trim_end().strip_prefix("thalweg log format ");
    match number.and_then(|word| word.parse().ok()) {
        Some(number @ 1..=FORMAT) => finding(Grade::Ok, format!("format {number}")),
        Some(0) | None => finding(
            Grade::Bad,
            "log/format does not say a format of Thalweg".into(),
        )
        .fix("name the right folder with --data; if this is the one, restore log/format from a copy of it"),
        Some(number) => finding(Grade::Bad, format!("format {number} is of a newer version"))
            .fix("use a thalweg that is at least as new as the one that wrote it"),
    }
}

/// The topics that there are, if that can be told, and what there is to say of them.
pub(super) fn look(log: &Path, records: bool) -> (Option<Vec<String>>, Vec<Finding>) {
    if !log.join("metadata.log").exists() {
        return without_topics(log);
    }
    if !log.join("partitions").is_dir() {
        let finding = Finding::new(Grade::Bad, "log", "the folder log/partitions is missing")
            .fix("restore it from a copy of the folder before a server starts here: all records are in it");
        return (None, vec![finding]);
    }
    match inspect(log, records) {
        Ok(seen) => {
            let names = seen.topics.iter().map(|topic| topic.name.clone());
            (Some(names.collect()), of(&seen, records))
        }
        Err(error) => {
            let what = format!("the list of topics cannot be read: {error}");
            let finding = Finding::new(Grade::Bad, "topics", what)
                .fix("restore log/metadata.log from a copy of the folder; a server does not start without it and changes nothing");
            (None, vec![finding])
        }
    }
}

/// It is made at the first start, so partitions without it are what is left of something.
fn without_topics(log: &Path) -> (Option<Vec<String>>, Vec<Finding>) {
    let partitions = fs::read_dir(log.join("partitions"));
    let lost = partitions.is_ok_and(|mut folders| folders.next().is_some());
    let finding = lost.then(|| {
        Finding::new(Grade::Bad, "topics", "log/metadata.log is missing, and there are partitions")
            .fix("restore it from a copy of the folder: without it nobody knows which topic they belong to")
    });
    (None, finding.into_iter().collect())
}

fn of(seen: &Inspection, records: bool) -> Vec<Finding> {
    let mut findings = vec![summary(&seen.topics, records)];
    if seen.torn_bytes > 0 {
        let what = format!(
            "the last {} bytes of log/metadata.log are no whole record",
            seen.torn_bytes
        );
        findings.push(
            Finding::new(Grade::Note, "topics", what).fix(
                "none is needed: they were never acted upon, and the next start cuts them off",
            ),
        );
    }
    let damaged = seen.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter().enumerate();
        partitions.filter_map(|(number, partition)| damage(topic, number, partition))
    });
    findings.extend(first_few("log", Grade::Bad, damaged.collect()));
    if let Some(first) = seen.unclaimed.first() {
        let what = format!(
            "{} folders of partitions belong to no topic, such as {}",
            seen.unclaimed.len(),
            first.display()
        );
        findings.push(Finding::new(Grade::Note, "log", what).fix(
            "they were not made here (a part of another copy?); move them away while no server runs",
        ));
    }
    findings
}

fn summary(topics: &[InspectedTopic], records: bool) -> Finding {
    let bytes = |topic: &InspectedTopic| -> u64 {
        let of = topic.partitions.iter().map(|partition| partition.bytes);
        of.sum()
    };
    let partitions: usize = topics.iter().map(|topic| topic.partitions.len()).sum();
    let all: u64 = topics.iter().map(bytes).sum();
    let mut what = format!(
        "{} topics, {partitions} partitions, {}",
        topics.len(),
        size(all)
    );
    if let Some(largest) = topics.iter().max_by_key(|topic| bytes(topic)) {
        what += &format!(
            "; the largest is {}, {}",
            largest.name,
            size(bytes(largest))
        );
    }
    if records {
        what += "; every record was read";
    }
    Finding::new(Grade::Ok, "log", what)
}

fn damage(
    topic: &InspectedTopic,
    number: usize,
    partition: &InspectedPartition,
) -> Option<Finding> {
    let damage = partition.damage.as_deref()?;
    let folder = partition.folder.display();
    let what = format!(
        "partition {number} of topic {}: {damage} ({folder})",
        topic.name
    );
    let fix = if damage.contains("ermission denied") {
        "give the user that runs the server the right to read and write it"
    } else if damage.contains("holds the records of") {
        "give each folder its own name back while no server runs; if the records are to be this partition's, remove the file partition in its folder; until then the partition is offline"
    } else if topic.internal {
        "restore it from a copy of the folder: a server does not start where records of this topic are missing; to go on without them make the file accept-loss in the partition's folder"
    } else {
        "restore it from a copy of the folder, or delete the topic; until then the partition is offline where records are missing, and a read ends with an error where one is damaged; to go on without missing ones make the file accept-loss in the partition's folder"
    };
    Some(Finding::new(Grade::Bad, "log", what).fix(fix))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of topics without a record.
    const NO_TOPICS: &[u8] = b"TWML\0\x01\0\0";

    fn log(metadata: &[u8]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("partitions")).expect("made");
        fs::write(folder.path().join("metadata.log"), metadata).expect("written");
        folder
    }

    fn grades(log: &Path) -> Vec<(Grade, &'static str)> {
        let (_, findings) = look(log, true);
        let graded = findings
            .iter()
            .map(|finding| (finding.grade, finding.about));
        graded.collect()
    }

    #[test]
    fn the_list_of_topics_is_read_as_a_start_reads_it() {
        let folder = log(NO_TOPICS);
        let (topics, findings) = look(folder.path(), false);
        assert_eq!(topics, Some(Vec::new()));
        assert_eq!(findings[0].what, "0 topics, 0 partitions, 0 KiB");
        assert_eq!(
            grades(log(b"garbage here").path()),
            [(Grade::Bad, "topics")]
        );
        let torn = [NO_TOPICS, b"\0\0\0"].concat();
        let torn = log(&torn);
        assert_eq!(
            grades(torn.path()),
            [(Grade::Ok, "log"), (Grade::Note, "topics")]
        );
    }

    #[test]
    fn the_words_of_the_format_are_read_as_a_start_reads_them() {
        let folder = log(NO_TOPICS);
        for (text, expected) in [
            ("thalweg log format 1\n", "format 1"),
            ("thalweg log format 99\n", "format 99 is of a newer version"),
            ("99\n", "log/format does not say a format of Thalweg"),
            (
                "thalweg log format 0\n",
                "log/format does not say a format of Thalweg",
            ),
        ] {
            fs::write(folder.path().join("format"), text).expect("written");
            assert_eq!(format(folder.path()).what, expected, "{text}");
        }
    }

    #[test]
    fn a_missing_folder_of_partitions_is_told_by_its_name() {
        let folder = log(NO_TOPICS);
        fs::remove_dir(folder.path().join("partitions")).expect("removed");
        let (topics, findings) = look(folder.path(), false);
        assert_eq!(topics, None);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].what, "the folder log/partitions is missing");
    }

    #[test]
    fn partitions_without_a_topic_are_told() {
        let folder = log(NO_TOPICS);
        let stranger = folder
            .path()
            .join("partitions/0123456789abcdef0123456789abcdef-0");
        fs::create_dir(&stranger).expect("made");
        assert_eq!(
            grades(folder.path()),
            [(Grade::Ok, "log"), (Grade::Note, "log")]
        );
        fs::remove_file(folder.path().join("metadata.log")).expect("removed");
        assert_eq!(grades(folder.path()), [(Grade::Bad, "topics")]);
    }

    #[test]
    fn damage_names_topic_partition_and_way_out() {
        let topic = |internal| InspectedTopic {
            name: "orders".to_owned(),
            internal,
            partitions: Vec::new(),
        };
        let partition = |damage: &str| InspectedPartition {
            folder: "/data/log/partitions/x-1".into(),
            bytes: 0,
            damage: Some(damage.to_owned()),
        };
        let told = |internal, of: &str| damage(&topic(internal), 1, &partition(of)).expect("told");
        let finding = told(false, "0.log: byte 0: its CRC is wrong");
        assert_eq!(
            finding.what,
            "partition 1 of topic orders: 0.log: byte 0: its CRC is wrong (/data/log/partitions/x-1)"
        );
        assert!(finding.fix.expect("a fix").contains("delete the topic"));
        let fix = |finding: Finding| finding.fix.expect("a fix");
        assert!(fix(told(false, "x.log: Permission denied")).contains("the right to read"));
        let exchanged = told(true, "/x-1 holds the records of y-0, as its file says");
        assert!(fix(exchanged).contains("its own name back"));
        assert!(fix(told(true, "0.log: byte 0: its CRC is wrong")).contains("does not start"));
    }
}
