//! Who may do what: principals. Knows no connection and no file.

mod principal;

pub(crate) use principal::Principal;
