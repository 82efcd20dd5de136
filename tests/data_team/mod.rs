//! What a data team meets: connectors as JSON, wrong ones refused with the key and the nearest.

mod capture;
mod connectors;
mod dump;
mod faults;
mod joined;
mod oracle;
mod signals;
mod sinks;
mod tables;
