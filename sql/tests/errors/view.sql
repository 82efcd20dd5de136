CREATE MATERIALIZED VIEW v AS SELECT carrier FROM flights ORDER BY carrier
----
CREATE MATERIALIZED VIEW v AS SELECT carrier, now() AS at FROM flights
----
CREATE MATERIALIZED VIEW v AS SELECT carrier, (SELECT name FROM airlines) AS name FROM flights
----
CREATE MATERIALIZED VIEW v AS SELECT carrier, count(*) AS n FROM flights GROUP BY carrier EMIT ON WINDOW CLOSE
----
CREATE MATERIALIZED VIEW v AS SELECT carrier, count(*) AS n FROM flights GROUP BY carrier LATE DROP
----
CREATE MATERIALIZED VIEW v AS SELECT carrier, first_value(dep_delay) AS n FROM flights GROUP BY carrier
----
CREATE MATERIALIZED VIEW v AS SELECT 1 AS a
----
CREATE MATERIALIZED VIEW by_carrier AS SELECT carrier FROM flights
----
SELECT carrier FROM flights EMIT ON WINDOW CLOSE
