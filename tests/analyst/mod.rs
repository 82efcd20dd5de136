//! What an analyst meets: the shell, errors that point at the token, live queries.

mod bad_rows;
mod errors;
mod shell;
