//! Servers by one name each: what tells whether two configurations mean the same database.

/// The server at an address. The names that this machine has for itself are one; those that a name server knows are not looked up.
pub(crate) fn server(host: &str, port: u16) -> String {
    let host = host.to_lowercase();
    let host = match host.trim_matches(['[', ']']) {
        "127.0.0.1" | "::1" => "localhost",
        host => host,
    };
    format!("{host}:{port}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_is_this_machine_has_one_name() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "::1", "[::1]"] {
            assert_eq!(server(host, 1), "localhost:1");
        }
        assert_eq!(server("DB.example", 5432), "db.example:5432");
    }
}
