EXPLAIN SELECT window_start, window_end, a.name, count(*) AS flights, avg(dep_delay) AS avg_delay
FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') f JOIN airlines a ON f.carrier = a.carrier
GROUP BY window_start, window_end, a.name
----
EXPLAIN SELECT window_start, window_end, carrier, origin, count(*), sum(distance), max(dep_delay)
FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') GROUP BY window_start, window_end, carrier, origin
----
EXPLAIN SELECT carrier, count(DISTINCT tailnum) AS planes, sum(distance) FILTER (WHERE dep_delay > 0) AS late
FROM flights WHERE origin = 'JFK' GROUP BY carrier HAVING count(*) > 10
----
EXPLAIN SELECT window_start, count(*) FROM TUMBLE((SELECT scheduled, carrier FROM flights WHERE dest <> 'LAX'), scheduled, INTERVAL '15 minutes')
WHERE carrier IN ('UA', 'AA') GROUP BY window_start EMIT CHANGES
----
EXPLAIN WITH delayed AS (SELECT scheduled, carrier, dep_delay - 1 AS delay FROM flights WHERE dep_delay > 60)
SELECT carrier, avg(delay) FROM delayed GROUP BY carrier
----
EXPLAIN SELECT f.flight, upper(a.name) FROM flights f LEFT JOIN airlines a ON lower(f.carrier) = a.carrier
----
EXPLAIN SELECT window_start, name, count(*) FROM TUMBLE((SELECT f.scheduled, a.name FROM flights f JOIN airlines a ON f.carrier = a.carrier), scheduled, INTERVAL '1 hour')
GROUP BY window_start, name
----
EXPLAIN SELECT DISTINCT origin FROM flights
----
EXPLAIN SELECT count(*) FROM flights
----
EXPLAIN SELECT carrier, sum(flights) FROM by_carrier GROUP BY carrier
----
EXPLAIN SELECT carrier FROM flights ORDER BY carrier LIMIT 3
----
EXPLAIN by_carrier
----
EXPLAIN flights
----
EXPLAIN SELECT dep_delay + 1, distance * 1.5 / 2 FROM flights WHERE dep_delay > 2.5 EMIT CHANGES
----
EXPLAIN SELECT window_start, window_end, count(*) FROM HOP(flights, scheduled, INTERVAL '7 minutes', INTERVAL '1 hour') GROUP BY window_start, window_end EMIT CHANGES
----
EXPLAIN SELECT window_end, count(*) FROM CUMULATE(flights, scheduled, INTERVAL '15 minutes', INTERVAL '1 hour') GROUP BY window_end EMIT CHANGES
----
EXPLAIN SELECT carrier, string_agg(DISTINCT origin, ', ' ORDER BY origin DESC) AS origins, percentile_cont(0.9) WITHIN GROUP (ORDER BY dep_delay DESC) AS late,
  stddev(dep_delay) FILTER (WHERE distance > 100) AS spread FROM flights GROUP BY carrier EMIT CHANGES
----
EXPLAIN SELECT carrier, origin, count(*), grouping(origin) FROM flights GROUP BY ROLLUP (carrier, origin) EMIT CHANGES
----
EXPLAIN SELECT window_start, window_end, carrier, count(*) FROM SESSION(flights, scheduled, INTERVAL '20 minutes') GROUP BY window_start, window_end, carrier EMIT CHANGES
----
EXPLAIN SELECT window_end, carrier, count(*) FROM SESSION(flights, scheduled, INTERVAL '20 minutes', PARTITION BY carrier) GROUP BY window_end, carrier EMIT ON WINDOW CLOSE
----
EXPLAIN SELECT carrier, lag(distance) OVER w AS before, avg(distance) OVER (w ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS mean,
  count(*) OVER (PARTITION BY origin ORDER BY scheduled RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS n
  FROM flights WINDOW w AS (PARTITION BY carrier ORDER BY scheduled) EMIT CHANGES
----
EXPLAIN INSERT INTO airlines SELECT carrier, max(dest) FROM flights GROUP BY carrier EMIT CHANGES
----
EXPLAIN INSERT INTO readings (value) SELECT dep_delay FROM flights
----
EXPLAIN INSERT INTO readings (value) SELECT dep_delay, 1 FROM flights
----
EXPLAIN INSERT INTO by_carrier SELECT * FROM by_carrier
----
EXPLAIN CREATE SINK late WITH (topic = 'late') AS SELECT carrier, flight FROM flights WHERE dep_delay > 60 FORMAT PLAIN ENCODE CSV
----
EXPLAIN CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT DISTINCT origin FROM flights
----
EXPLAIN DELETE FROM airlines
----
EXPLAIN CREATE TABLE t (a INT PRIMARY KEY)
