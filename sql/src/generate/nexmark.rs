//! The Nexmark benchmark's events: people join, open auctions, and bid on them.
//!
//! ```text
//! event n:   n % 50 == 0 ── person      1..=3 ── auction      4..=49 ── bid
//! ```
//!
//! Ids rise with the events. Most auctions are of a few hot sellers; most bids go to a hot auction and come from hot
//! bidders, the rest to auctions and from people that came lately. Follows Tucker, Tufte, Papadimos, Maier: NEXMark, a
//! Benchmark for Queries over Data Streams; proportions and ratios are those of the benchmark as it is run today (Apache
//! Beam's suite). Values come of a generator of our own, so they are not those of other implementations.

use std::io::Write as _;

use super::{Clock, Random, time_text};

/// Events of which one is a person, three are auctions and the others bids.
const ROUND: u64 = 50;
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = ROUND - PERSONS - AUCTIONS;
/// The first id of people, and of auctions.
const FIRST_ID: u64 = 1_000;
/// The first category, and how many there are.
const FIRST_CATEGORY: u64 = 10;
const CATEGORIES: u64 = 5;
/// Of so many people or auctions one is hot.
const HOT: u64 = 100;
/// One in so many goes to one that is not hot.
const COLD_ONE_IN: u64 = 100;
/// People and auctions that came lately, from which those are taken that are not hot.
const LATE_PERSONS: u64 = 1_000;
const LATE_AUCTIONS: u64 = 100;
/// An auction lasts so many events at most.
const AUCTION_EVENTS_MAX: u64 = 3_333;

const FIRST_NAMES: &[&str] = &[
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: &[&str] = &[
    "Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris",
];
const STATES: &[&str] = &["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: &[&str] = &[
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const HOT_CHANNELS: &[&str] = &["Google", "Facebook", "Baidu", "Apple"];

/// Which events are rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// All, each in the column of its kind.
    All,
    Person,
    Auction,
    Bid,
}

impl Table {
    /// The one of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.to_lowercase().as_str() {
            "all" => Some(Self::All),
            "person" => Some(Self::Person),
            "auction" => Some(Self::Auction),
            "bid" => Some(Self::Bid),
            _ => None,
        }
    }

    /// Its columns, as they are declared.
    pub(super) fn columns(self) -> String {
        const PERSON: &str = "id BIGINT, name TEXT, email_address TEXT, credit_card TEXT, city TEXT, state TEXT, date_time TIMESTAMP, extra TEXT";
        const AUCTION: &str = "id BIGINT, item_name TEXT, description TEXT, initial_bid BIGINT, reserve BIGINT, date_time TIMESTAMP, expires TIMESTAMP, seller BIGINT, category BIGINT, extra TEXT";
        const BID: &str = "auction BIGINT, bidder BIGINT, price BIGINT, channel TEXT, url TEXT, date_time TIMESTAMP, extra TEXT";
        match self {
            Self::Person => PERSON.to_owned(),
            Self::Auction => AUCTION.to_owned(),
            Self::Bid => BID.to_owned(),
            Self::All => format!(
                "event_type BIGINT, person STRUCT<{PERSON}>, auction STRUCT<{AUCTION}>, bid STRUCT<{BID}>, date_time TIMESTAMP"
            ),
        }
    }

    /// The event that is row `index`.
    fn event(self, index: u64) -> u64 {
        let (each, first) = match self {
            Self::All => return index,
            Self::Person => (PERSONS, 0),
            Self::Auction => (AUCTIONS, PERSONS),
            Self::Bid => (BIDS, PERSONS + AUCTIONS),
        };
        (index / each)
            .saturating_mul(ROUND)
            .saturating_add(first + index % each)
    }

    /// Writes row `index` as JSON.
    pub(super) fn write(self, seed: u64, index: u64, clock: Clock, out: &mut Vec<u8>) {
        let number = self.event(index);
        let event = Event {
            number,
            time: time_text(clock.at(number)),
            clock,
        };
        let mut random = Random::of(seed, number);
        let (kind, object) = match number % ROUND {
            0 => (0, event.person(&mut random)),
            place if place < PERSONS + AUCTIONS => (1, event.auction(&mut random)),
            _ => (2, event.bid(&mut random)),
        };
        // Writing to memory does not fail.
        let _ = match self {
            Self::All => {
                let of = |other: u64| {
                    if other == kind {
                        object.as_str()
                    } else {
                        "null"
                    }
                };
                write!(
                    out,
                    r#"{{"event_type":{kind},"person":{},"auction":{},"bid":{},"date_time":"{}"}}"#,
                    of(0),
                    of(1),
                    of(2),
                    event.time
                )
            }
            _ => out.write_all(object.as_bytes()),
        };
    }
}

/// One event.
struct Event {
    number: u64,
    time: String,
    clock: Clock,
}

impl Event {
    /// How many people there are up to this event, itself included.
    fn persons(&self) -> u64 {
        self.number / ROUND + 1
    }

    /// How many auctions there are up to this event, itself included.
    fn auctions(&self) -> u64 {
        let of_round = (self.number % ROUND).min(AUCTIONS);
        (self.number / ROUND) * AUCTIONS + of_round
    }

    fn person(&self, random: &mut Random) -> String {
        let id = FIRST_ID + self.persons() - 1;
        let (first, last) = (random.of_all(FIRST_NAMES), random.of_all(LAST_NAMES));
        let mail = format!("{}@{}.com", random.letters(7), random.letters(5));
        let card: Vec<String> = (0..4)
            .map(|_| format!("{:04}", random.below(10_000)))
            .collect();
        let (city, state) = (random.of_all(CITIES), random.of_all(STATES));
        format!(
            r#"{{"id":{id},"name":"{first} {last}","email_address":"{mail}","credit_card":"{}","city":"{city}","state":"{state}","date_time":"{}","extra":"{}"}}"#,
            card.join(" "),
            self.time,
            extra(random)
        )
    }

    fn auction(&self, random: &mut Random) -> String {
        let id = FIRST_ID + self.auctions() - 1;
        let seller = match random.below(COLD_ONE_IN) {
            0 => self.late_person(random),
            _ => FIRST_ID + (self.persons() - 1) / HOT * HOT,
        };
        let category = FIRST_CATEGORY + random.below(CATEGORIES);
        let initial = price(random);
        let reserve = initial + price(random);
        let lasts = 1 + random.below(AUCTION_EVENTS_MAX);
        let expires = time_text(self.clock.at(self.number.saturating_add(lasts)));
        format!(
            r#"{{"id":{id},"item_name":"{}","description":"{}","initial_bid":{initial},"reserve":{reserve},"date_time":"{}","expires":"{expires}","seller":{seller},"category":{category},"extra":"{}"}}"#,
            random.letters(12),
            random.letters(40),
            self.time,
            extra(random)
        )
    }

    fn bid(&self, random: &mut Random) -> String {
        let last = self.auctions() - 1;
        let auction = match random.below(COLD_ONE_IN) {
            0 => FIRST_ID + last - random.below(LATE_AUCTIONS.min(last + 1)),
            _ => FIRST_ID + last / HOT * HOT,
        };
        let bidder = match random.below(COLD_ONE_IN) {
            0 => self.late_person(random),
            _ => FIRST_ID + ((self.persons() - 1) / HOT * HOT + 1).min(self.persons() - 1),
        };
        let price = price(random);
        let channel = match random.below(2) {
            0 => (*random.of_all(HOT_CHANNELS)).to_owned(),
            _ => format!("channel-{}", random.below(10_000)),
        };
        let url = format!(
            "https://www.nexmark.com/{}/{}/{}/item.htm?query=1",
            random.letters(3),
            random.letters(4),
            random.letters(4)
        );
        let url = match channel.strip_prefix("channel-") {
            Some(id) => format!("{url}&channel_id={id}"),
            None => url,
        };
        format!(
            r#"{{"auction":{auction},"bidder":{bidder},"price":{price},"channel":"{channel}","url":"{url}","date_time":"{}","extra":"{}"}}"#,
            self.time,
            extra(random)
        )
    }

    fn late_person(&self, random: &mut Random) -> u64 {
        let last = self.persons() - 1;
        FIRST_ID + last - random.below(LATE_PERSONS.min(last + 1))
    }
}

/// Cents, most of them few.
fn price(random: &mut Random) -> u64 {
    let price = 10_f64.powf(random.fraction() * 6.0) * 100.0;
    price.round() as u64
}

fn extra(random: &mut Random) -> String {
    let count = 20 + random.below(30);
    random.letters(usize::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(number: u64) -> Event {
        let clock = Clock {
            start_us: 0,
            gap_us: 1,
        };
        Event {
            number,
            time: String::new(),
            clock,
        }
    }

    #[test]
    fn rows_of_a_kind_are_its_events_in_their_order() {
        for (table, places) in [
            (Table::Person, 0..1),
            (Table::Auction, 1..4),
            (Table::Bid, 4..50),
        ] {
            let events: Vec<u64> = (0..500)
                .filter(|number| places.contains(&(number % ROUND)))
                .collect();
            let rows: Vec<u64> = (0..events.len() as u64)
                .map(|index| table.event(index))
                .collect();
            assert_eq!(rows, events);
        }
    }

    #[test]
    fn ids_are_counted_from_the_first() {
        assert_eq!(
            [0, 49, 50, 99, 100].map(|number| event(number).persons()),
            [1, 1, 2, 2, 3]
        );
        assert_eq!(
            [1, 3, 4, 49, 50, 51, 54].map(|number| event(number).auctions()),
            [1, 3, 3, 3, 3, 4, 6]
        );
    }
}
