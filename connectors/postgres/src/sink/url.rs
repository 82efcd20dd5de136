//! Connection URLs: JDBC's and libpq's.
//!
//! `jdbc:postgresql://host:port/db?user=…`, `jdbc:postgresql:db` and `postgresql://user:password@host:port/db`; the
//! parameters `user`, `password`, `currentSchema`, `ApplicationName`, `connectTimeout`, `loginTimeout`, `sslmode`,
//! `sslrootcert`, `sslcert`, `sslkey` and JDBC's `ssl` and `sslfactory` are understood, others are passed over as they
//! are about the JDBC driver's insides.

use std::str::FromStr;
use std::time::Duration;

use crate::tls::{Encryption, Mode};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// The settings that a URL means, or what is wrong with it.
pub(super) fn parse(url: &str) -> Result<(tokio_postgres::Config, Encryption), String> {
    let plain = url.strip_prefix("jdbc:").unwrap_or(url);
    let local;
    // JDBC's short form: a database of this machine.
    let plain = match url.strip_prefix("jdbc:postgresql:") {
        Some(database) if !database.starts_with("//") => {
            local = format!(
                "postgresql://localhost/{}",
                database.trim_start_matches('/')
            );
            &local
        }
        _ => plain,
    };
    if !plain.starts_with("postgresql://") && !plain.starts_with("postgres://") {
        return Err("has to begin with jdbc:postgresql:// or postgresql://".to_owned());
    }
    let (base, query) = plain.split_once('?').unwrap_or((plain, ""));
    // The password of a wrong URL must not get into a message.
    let mut config = tokio_postgres::Config::from_str(base)
        .map_err(|_| "is no URL of the form postgresql://host:port/database".to_owned())?;
    config
        .connect_timeout(CONNECT_TIMEOUT)
        .application_name("thalweg");
    let mut encryption = Encryption::default();
    let mut factory = String::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value)?;
        match name {
            "user" => drop(config.user(value)),
            "password" => drop(config.password(value)),
            "ApplicationName" | "application_name" => drop(config.application_name(value)),
            "currentSchema" => drop(config.options(format!("-c search_path={value}"))),
            "connectTimeout" | "connect_timeout" | "loginTimeout" => {
                let seconds = value
                    .parse()
                    .map_err(|_| format!("{name} is no number of seconds"))?;
                config.connect_timeout(Duration::from_secs(seconds));
            }
            // JDBC's: certificates are looked at.
            "ssl" if value == "true" || value.is_empty() => encryption.mode = Mode::VerifyFull,
            "sslmode" => {
                encryption.mode = Mode::of(&value).ok_or_else(|| {
                    format!("has sslmode={value}; there are {}", Mode::WORDS.join(", "))
                })?;
            }
            "sslrootcert" => encryption.root = Some(value),
            "sslcert" => encryption.certificate = Some(value.into()),
            "sslkey" => encryption.key = Some(value.into()),
            "sslfactory" => factory = value,
            "channelBinding" | "channel_binding" if value == "require" => {
                return Err(format!("has {name}=require, which is not supported"));
            }
            _ => {}
        }
    }
    match factory.rsplit('.').next().unwrap_or_default() {
        // Encrypted to whomever.
        "NonValidatingFactory" if encryption.mode >= Mode::VerifyCa => {
            encryption.mode = Mode::Require
        }
        "DefaultJavaSSLFactory" if encryption.root.is_none() => {
            encryption.root = Some("system".to_owned());
        }
        _ => {}
    }
    encryption.check().map_err(|issue| issue.to_string())?;
    Ok((config, encryption))
}

/// Undoes %XX.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("has a % that two hexadecimal digits do not follow")?);
        rest = &rest[2..];
    }
    String::from_utf8(bytes).map_err(|_| "has a parameter that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_urls() {
        let parse = |url: &str| super::parse(url).map(|(config, _)| config);
        let config =
            parse("jdbc:postgresql://db:5433/shop?user=a%40b&password=p%26w&prepareThreshold=0")
                .unwrap();
        assert_eq!(config.get_user(), Some("a@b"));
        assert_eq!(config.get_password(), Some(&b"p&w"[..]));
        assert_eq!(config.get_ports(), [5433]);
        assert_eq!(config.get_dbname(), Some("shop"));
        assert_eq!(
            parse("postgresql://me@localhost/x").unwrap().get_user(),
            Some("me")
        );
        let short = parse("jdbc:postgresql:shop?user=me&loginTimeout=3").unwrap();
        assert_eq!(
            (short.get_dbname(), short.get_user()),
            (Some("shop"), Some("me"))
        );
        assert_eq!(short.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(parse("jdbc:postgresql:/").unwrap().get_dbname(), None);
        for bad in [
            "mysql://x",
            "postgresql://h:port/x",
            "postgresql://h/x?sslmode=always",
            "postgresql://h/x?sslmode=verify-full",
            "postgresql://h/x?ssl=true",
            "postgresql://h/x?sslcert=/c",
            "postgresql://h/x?channelBinding=require",
            "postgresql://h/x?user=%z",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn encryption_of_both_drivers() {
        let of = |query: &str| {
            let (_, encryption) = parse(&format!("jdbc:postgresql://h/d?{query}")).unwrap();
            (encryption.mode, encryption.root)
        };
        assert_eq!(of(""), (Mode::Prefer, None));
        assert_eq!(of("sslmode=disable"), (Mode::Disable, None));
        let root = || Some("/r%".to_owned());
        assert_eq!(of("ssl=true&sslrootcert=/r%25"), (Mode::VerifyFull, root()));
        assert_eq!(
            of("sslmode=verify-ca&sslrootcert=/r%25"),
            (Mode::VerifyCa, root())
        );
        assert_eq!(
            of("ssl=true&sslfactory=org.postgresql.ssl.NonValidatingFactory"),
            (Mode::Require, None)
        );
        assert_eq!(
            of("ssl=true&sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"),
            (Mode::VerifyFull, Some("system".to_owned()))
        );
    }
}
