//! A place in a topic as the command line takes it: `earliest`, `latest`, an offset, or a time.
//!
//! ```text
//! earliest | beginning   latest | end   1234        an offset
//! 2024-05-01   2024-05-01T10:00:00Z     2024-05-01T12:00:00+02:00   (without a zone: UTC)
//! 90s   15m   2h   7d                   so long ago
//! ```

use std::str::FromStr;

use anyhow::Result;
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use log_api::{Admin, OffsetSpec, TopicPartition};

/// Where to begin, or to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The first record that is there.
    Earliest,
    /// Behind the last record.
    Latest,
    /// This offset, in every partition.
    Offset(i64),
    /// The first record at or after this time, ms since 1970 UTC.
    Time(i64),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" | "beginning" => return Ok(Self::Earliest),
            "latest" | "end" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(offset) = text.parse::<i64>() {
            return match offset {
                0.. => Ok(Self::Offset(offset)),
                _ => Err("an offset is 0 or more".to_owned()),
            };
        }
        time(text, Utc::now().timestamp_millis()).map(Self::Time).ok_or_else(|| {
            "expected earliest, latest, an offset, a time such as 2024-05-01T10:00:00Z, or 2h for \
             two hours ago"
                .to_owned()
        })
    }
}

impl Place {
    /// The offset that it means in a partition; of a number, the nearest that is there.
    pub(crate) async fn offset(self, admin: &dyn Admin, at: &TopicPartition) -> Result<i64> {
        Ok(match self {
            Self::Earliest => admin.offset(at, OffsetSpec::Earliest).await?,
            Self::Latest => admin.offset(at, OffsetSpec::Latest).await?,
            Self::Time(time) => admin.offset(at, OffsetSpec::Timestamp(time)).await?,
            Self::Offset(offset) => {
                let first = admin.offset(at, OffsetSpec::Earliest).await?;
                let end = admin.offset(at, OffsetSpec::Latest).await?;
                offset.clamp(first, end.max(first))
            }
        })
    }
}

/// A time, or a span before `now_ms`, in ms since 1970 UTC.
pub(crate) fn time(text: &str, now_ms: i64) -> Option<i64> {
    let units = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    for (unit, ms) in units {
        let number = text
            .strip_suffix(unit)
            .and_then(|number| number.parse::<u32>().ok());
        if let Some(number) = number {
            return Some(now_ms - i64::from(number) * ms);
        }
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(&text.replacen(' ', "T", 1)) {
        return Some(time.timestamp_millis());
    }
    for form in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return Some(time.and_utc().timestamp_millis());
        }
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc().timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_people_write_them() {
        assert_eq!("earliest".parse(), Ok(Place::Earliest));
        assert_eq!("end".parse(), Ok(Place::Latest));
        assert_eq!("17".parse(), Ok(Place::Offset(17)));
        let ten = Ok(Place::Time(1_714_557_600_000));
        for text in [
            "2024-05-01T10:00:00Z",
            "2024-05-01T12:00:00+02:00",
            "2024-05-01 10:00:00Z",
            "2024-05-01 10:00",
            "2024-05-01T10:00:00.000",
        ] {
            assert_eq!(text.parse(), ten, "{text}");
        }
        assert_eq!("2024-05-01".parse(), Ok(Place::Time(1_714_521_600_000)));
        assert_eq!(time("2h", 10_000_000), Some(2_800_000));
        assert_eq!(time("250ms", 1000), Some(750));
    }

    #[test]
    fn what_is_no_place_says_what_is() {
        for text in ["", "tomorrow", "2024-13-01", "h", "5x"] {
            let error = text.parse::<Place>().expect_err(text);
            assert!(
                error.contains("expected earliest, latest, an offset"),
                "{error}"
            );
        }
        assert_eq!(
            "-1".parse::<Place>(),
            Err("an offset is 0 or more".to_owned())
        );
    }
}
