//! What an analyst meets: the shell, errors that point at the token, live queries.

mod bad_rows;
mod command_line;
mod errors;
mod expressions;
mod reference;
mod shell;
mod terminal;
