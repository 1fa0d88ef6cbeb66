//! What a service is that only speaks opaque bytes: its name says so, where its spans do not.

use fusebox_proto::view::ServiceKind;

/// Words of names, without a version behind them.
const DATABASES: [&str; 22] = [
    "redis",
    "valkey",
    "keydb",
    "memcached",
    "mysql",
    "mariadb",
    "percona",
    "postgres",
    "postgresql",
    "pgbouncer",
    "cockroachdb",
    "mssql",
    "sqlserver",
    "oracle",
    "mongo",
    "mongodb",
    "cassandra",
    "scylla",
    "couchbase",
    "clickhouse",
    "database",
    "db",
];
const MESSAGING: [&str; 8] =
    ["kafka", "redpanda", "rabbitmq", "nats", "mqtt", "mosquitto", "activemq", "pulsar"];

/// The kind of a destination of raw TCP called `name`; `None`: it does not say.
pub(super) fn kind(name: &str) -> Option<ServiceKind> {
    let is_one_of = |known: &[&str]| {
        let mut words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
        words.any(|word| {
            let word = word.trim_end_matches(|letter: char| letter.is_ascii_digit());
            known.iter().any(|known| known.eq_ignore_ascii_case(word))
        })
    };
    if is_one_of(&DATABASES) {
        Some(ServiceKind::Database)
    } else if is_one_of(&MESSAGING) {
        Some(ServiceKind::Messaging)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: names of services behind raw TCP.
    /// Guarantees: a word that is a product's name tells the kind; a part of a word does not.
    #[test]
    fn names_tell_kinds() {
        let check = |name: &str, expected| assert_eq!(kind(name), expected, "{name}");
        check("redis", Some(ServiceKind::Database));
        check("cart-redis-0", Some(ServiceKind::Database));
        check("Postgres16", Some(ServiceKind::Database));
        check("orders_db", Some(ServiceKind::Database));
        check("mysql.data.svc", Some(ServiceKind::Database));
        check("kafka-2", Some(ServiceKind::Messaging));
        check("inventory", None);
        check("redistribution", None);
        check("", None);
    }
}
