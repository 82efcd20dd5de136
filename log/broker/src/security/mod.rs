//! Who may do what: passwords and the exchanges that prove them, principals, rules of access, quotas. Knows no connection and no file.
//!
//! ```text
//!  sasl ─ scram ─▶ principal ─▶ acl (rules) ─▶ may, or not
//!                           └─▶ quota ─▶ how long to wait
//!  image: what the metadata log keeps of it
//! ```

pub(crate) mod acl;
mod certificate;
mod image;
mod principal;
pub(crate) mod quota;
pub(crate) mod sasl;
pub(crate) mod scram;
pub(crate) mod token;

pub(crate) use certificate::subject_of;
pub(crate) use image::{
    ACLS_MAX, QUOTAS_MAX, SecurityImage, SecurityRecord, SecurityView, USERS_MAX,
};
pub(crate) use principal::Principal;
