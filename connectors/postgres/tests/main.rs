//! The sink against a real PostgreSQL.

mod postgres;
mod sink;
