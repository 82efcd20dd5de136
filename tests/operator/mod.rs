//! What an operator meets: start, stop, upgrade, wrong configuration, probes, foreign bytes.

mod clients;
mod damage;
mod data_folder;
mod frames;
mod http_access;
mod lifecycle;
mod logs;
mod setup;
mod upgrade;
