//! Tests of the whole program, grouped by who would notice: analysts, engineers, data teams, operators.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod analyst;
mod architecture;
mod crash;
mod data_team;
mod engineer;
mod fixture;
mod job;
mod life_of_a_record;
mod newcomer;
mod nexmark;
mod operator;
mod readme;
