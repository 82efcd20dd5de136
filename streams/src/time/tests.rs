//! Scenarios of idleness, resumption and restart.

use super::*;

const GRACE: i64 = 1000;

fn tracker(partitions: i32) -> WatermarkTracker {
    restored(partitions, &WatermarkState::default())
}

fn restored(partitions: i32, state: &WatermarkState) -> WatermarkTracker {
    let partitions = (0..partitions).map(|index| TopicPartition::new("t", index));
    let options = IdleOptions {
        advance: true,
        ..IdleOptions::default()
    };
    WatermarkTracker::new(partitions, state, options)
}

fn rows(tracker: &mut WatermarkTracker, index: usize, values: &[i64], now: i64) -> EventTime {
    tracker.observe(index, TimestampMicrosecondArray::from(values.to_vec()), now)
}

/// Says that the partition stands at `position` of `end`; `stable` is the last stable offset.
fn at(tracker: &mut WatermarkTracker, index: usize, place: [i64; 3], now: i64) {
    let [position, last_stable_offset, high_watermark] = place;
    let partition = TopicPartition::new("t", index as i32);
    let progress = PartitionProgress {
        partition,
        position,
        high_watermark,
        last_stable_offset,
    };
    tracker.progress(index, &progress, false, now);
}

#[test]
fn is_the_minimum_of_the_running_maxima() {
    let mut tracker = tracker(2);
    assert_eq!(tracker.watermark(0), None);
    rows(&mut tracker, 0, &[10, 50, 20], 0);
    assert_eq!(tracker.watermark(0), None, "partition 1 has no value yet");
    rows(&mut tracker, 1, &[30], 0);
    assert_eq!(tracker.watermark(0), Some(30));
    rows(&mut tracker, 1, &[5], 0);
    assert_eq!(tracker.watermark(0), Some(30), "never falls");
    rows(&mut tracker, 1, &[90], 0);
    assert_eq!(tracker.watermark(0), Some(50));
    let report = tracker.report();
    assert_eq!((report[0].holds, report[1].holds), (true, false));
}

#[test]
fn rows_are_judged_by_the_rows_before_them() {
    let mut tracker = tracker(2);
    rows(&mut tracker, 0, &[10], 0);
    rows(&mut tracker, 1, &[40], 0);
    let time = rows(&mut tracker, 0, &[20, 15, 60, 30], 0);
    assert_eq!(time.row_watermarks(), [10, 20, 20, 40]);
    assert_eq!(
        (time.watermark_before, time.watermark_after),
        (Some(10), Some(40))
    );
}

#[test]
fn row_watermarks_do_not_depend_on_cuts() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..200 {
        let values: Vec<i64> = (0..random.usize(1..50))
            .map(|_| random.i64(0..100))
            .collect();
        let whole = rows(&mut tracker(1), 0, &values, 0).row_watermarks();
        let (mut tracker, mut cut, mut rest) = (tracker(1), Vec::new(), values.as_slice());
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(random.usize(1..=rest.len()));
            cut.extend(rows(&mut tracker, 0, batch, 0).row_watermarks());
            rest = after;
        }
        assert_eq!(whole, cut, "seed {seed}");
    }
}

#[test]
fn a_caught_up_partition_stops_holding_after_the_grace() {
    let mut tracker = tracker(2);
    rows(&mut tracker, 0, &[100], 0);
    rows(&mut tracker, 1, &[10], 0);
    at(&mut tracker, 0, [5, 5, 9], 0);
    at(&mut tracker, 1, [1, 1, 1], 0);
    assert_eq!(tracker.watermark(GRACE - 1), Some(10));
    at(&mut tracker, 1, [1, 1, 1], GRACE - 1);
    assert_eq!(tracker.watermark(GRACE - 1), Some(10));
    at(&mut tracker, 1, [1, 1, 1], GRACE);
    assert_eq!(tracker.watermark(GRACE), Some(100));
    // It resumes with an older row: the watermark stays, the partition holds it from now on.
    let time = rows(&mut tracker, 1, &[20, 30], GRACE + 1);
    assert_eq!(time.row_watermarks(), [100, 100]);
    rows(&mut tracker, 0, &[500], GRACE + 1);
    assert_eq!(tracker.watermark(GRACE + 1), Some(100));
    assert!(tracker.report()[1].holds);
}

#[test]
fn lag_and_open_transactions_are_not_idleness() {
    let mut tracker = tracker(2);
    rows(&mut tracker, 0, &[100], 0);
    rows(&mut tracker, 1, &[10], 0);
    for now in [0, 10 * GRACE, 100 * GRACE] {
        at(&mut tracker, 0, [1, 1, 7], now);
        at(&mut tracker, 1, [1, 3, 3], now);
        assert_eq!(tracker.watermark(now), Some(10));
    }
    assert_eq!(tracker.report()[0].status, PartitionStatus::Active);
}

#[test]
fn partitions_that_are_never_written_hold_for_the_grace_only() {
    let mut tracker = tracker(4);
    for now in [0, GRACE] {
        for index in 1..4 {
            at(&mut tracker, index, [0, 0, 0], now);
        }
    }
    assert!(tracker.has_idle());
    rows(&mut tracker, 0, &[10], GRACE);
    assert_eq!(
        tracker.watermark(GRACE),
        None,
        "their first rows may be on their way"
    );
    for index in 1..4 {
        at(&mut tracker, index, [0, 0, 0], 2 * GRACE);
    }
    assert_eq!(tracker.watermark(2 * GRACE), Some(10));
    at(&mut tracker, 3, [0, 1, 1], 2 * GRACE + 5);
    rows(&mut tracker, 0, &[20], 2 * GRACE + 5);
    assert_eq!(
        tracker.watermark(2 * GRACE + 5),
        Some(10),
        "the first record of partition 3 is on its way"
    );
}

#[test]
fn an_empty_topic_has_no_event_time() {
    let mut tracker = tracker(2);
    for now in [0, GRACE] {
        at(&mut tracker, 0, [0, 0, 0], now);
        at(&mut tracker, 1, [0, 0, 0], now);
    }
    assert_eq!(tracker.watermark(1_000_000), None);
    assert!(tracker.is_idle());
}

#[test]
fn a_source_without_partitions_has_no_event_time() {
    assert_eq!(tracker(0).watermark(1_000_000), None);
}

#[test]
fn event_time_flows_with_the_clock_while_all_are_idle() {
    let mut tracker = tracker(1);
    rows(&mut tracker, 0, &[5_000_000], 100);
    at(&mut tracker, 0, [3, 3, 3], 100);
    at(&mut tracker, 0, [3, 3, 3], 100 + GRACE + 40);
    assert_eq!(
        tracker.watermark(100 + GRACE + 40),
        Some(5_040_000),
        "counts from the grace on"
    );
    let later = 100 + GRACE + 3_600_000;
    assert_eq!(
        tracker.watermark(later),
        Some(5_040_000),
        "nothing is known of later"
    );
    at(&mut tracker, 0, [3, 3, 3], later);
    assert_eq!(tracker.watermark(later), Some(3_605_000_000));
    // Backwards: no effect. A row: the clock is irrelevant again.
    assert_eq!(tracker.watermark(0), Some(3_605_000_000));
    rows(&mut tracker, 0, &[6_000_000], 99_000_000);
    assert_eq!(tracker.watermark(99_000_000), Some(3_605_000_000));
    rows(&mut tracker, 0, &[9_000_000_000], 99_000_000);
    assert_eq!(tracker.watermark(99_000_000), Some(9_000_000_000));
}

#[test]
fn event_time_stands_while_all_are_idle_unless_it_is_told_otherwise() {
    let partitions = [TopicPartition::new("t", 0)];
    let options = IdleOptions::default();
    let mut tracker = WatermarkTracker::new(partitions, &WatermarkState::default(), options);
    rows(&mut tracker, 0, &[7], 0);
    at(&mut tracker, 0, [1, 1, 1], 0);
    at(&mut tracker, 0, [1, 1, 1], 2 * GRACE);
    at(&mut tracker, 0, [1, 1, 1], 3_600_000);
    assert_eq!(tracker.watermark(3_600_000), Some(7));
    let time = rows(&mut tracker, 0, &[8], 3_600_001);
    assert_eq!(time.row_watermarks(), [7], "in order, so not late");
}

#[test]
fn a_time_that_no_window_takes_moves_nothing() {
    let mut tracker = tracker(1);
    let time = rows(&mut tracker, 0, &[10, i64::MAX / 2, 20, i64::MIN, 15], 0);
    assert_eq!(time.row_watermarks(), [i64::MIN, 10, 10, 20, 20]);
    assert_eq!(tracker.watermark(0), Some(20));
    // A delay of 1000 years does not hide it.
    let late = EVENT_TIME_LIMIT_US + 1 - 1000 * 366 * 86_400 * 1_000_000;
    rows(&mut tracker, 0, &[late], 0);
    assert_eq!(tracker.watermark(0), Some(20));
}

#[test]
fn the_least_of_several_inputs_waits_for_all_that_have_event_time() {
    use Watermark::{At, End, None, Waiting};
    assert_eq!(Watermark::least([None, At(5), End]), At(5));
    assert_eq!(Watermark::least([At(5), Waiting, None]), Waiting);
    assert_eq!(Watermark::least([None, None]), None);
    assert_eq!(Watermark::least([End, None]), End);
    assert_eq!(Watermark::least([]), None);
}

#[test]
fn finished_partitions_do_not_count_and_all_finished_is_the_end_of_time() {
    let mut tracker = tracker(3);
    rows(&mut tracker, 0, &[10], 0);
    rows(&mut tracker, 1, &[20], 0);
    tracker.finish(0);
    at(&mut tracker, 2, [0, 0, 0], 0);
    at(&mut tracker, 2, [0, 0, 0], GRACE);
    assert_eq!(tracker.watermark(GRACE), Some(20));
    tracker.finish(1);
    assert_eq!(
        tracker.watermark(GRACE),
        Some(20),
        "an idle partition may still have rows"
    );
    tracker.finish(2);
    assert_eq!(tracker.watermark(GRACE), Some(i64::MAX));
}

#[test]
fn a_restart_takes_nothing_back() {
    let mut before = tracker(2);
    rows(&mut before, 0, &[100], 0);
    rows(&mut before, 1, &[50], 0);
    at(&mut before, 0, [1, 1, 1], 0);
    at(&mut before, 1, [1, 1, 1], 0);
    at(&mut before, 0, [1, 1, 1], GRACE);
    at(&mut before, 1, [1, 1, 1], GRACE);
    for index in 0..2 {
        at(&mut before, index, [1, 1, 1], GRACE + 1);
    }
    assert_eq!(before.watermark(GRACE + 1), Some(1100));
    // The clock starts anew; partition 2 is new.
    let mut after = restored(3, &before.state());
    assert_eq!(after.watermark(0), Some(1100));
    let time = rows(&mut after, 0, &[90, 200], 0);
    assert_eq!(time.row_watermarks(), [1100, 1100]);
    for now in [0, GRACE] {
        at(&mut after, 0, [2, 2, 2], now);
        at(&mut after, 1, [1, 1, 1], now);
        at(&mut after, 2, [0, 0, 0], now);
    }
    for index in 0..3 {
        let end = i64::from(index < 2) * 2;
        at(&mut after, index, [end, end, end], GRACE + 2);
    }
    assert_eq!(
        after.watermark(GRACE + 2),
        Some(3100),
        "idle again: flows on from where it stood"
    );
}

#[test]
fn is_monotone_in_storms_of_idleness_resumption_and_restarts() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..50 {
        let count = random.i32(1..5);
        let (mut tracker, mut now, mut last) = (tracker(count), 0, None);
        for step in 0..300 {
            let index = random.usize(0..count as usize);
            now += random.i64(-500..900);
            match random.u8(0..8) {
                0..3 => {
                    let values: Vec<_> = (0..random.usize(0..5))
                        .map(|_| random.i64(0..9_000_000))
                        .collect();
                    let time = rows(&mut tracker, index, &values, now);
                    let judged = time.row_watermarks();
                    assert!(judged.is_sorted(), "seed {seed}");
                    let ends = (time.watermark_before, time.watermark_after);
                    assert!(ends.0 <= ends.1, "seed {seed} step {step}");
                    assert!(
                        judged.last().copied() <= ends.1.or(Some(i64::MIN)),
                        "seed {seed}"
                    );
                }
                3..6 => {
                    let end = random.i64(0..4);
                    let place = [
                        end - random.i64(0..=end.min(1)),
                        end,
                        end + random.i64(0..2),
                    ];
                    at(&mut tracker, index, place, now);
                }
                6 => tracker = restored(count, &tracker.state()),
                _ => {}
            }
            let next = tracker.watermark(now);
            assert!(
                next >= last,
                "seed {seed} step {step}: {last:?} then {next:?}"
            );
            last = next;
        }
    }
}
