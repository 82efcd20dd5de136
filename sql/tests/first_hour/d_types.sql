SELECT user FROM clicks WHERE user LIKE 5
----
SELECT user FROM clicks WHERE ms LIKE '1%'
----
SELECT user & ms FROM clicks
----
SELECT user FROM clicks WHERE ts & 1 = 1
----
SELECT sum(*) FROM clicks
----
SELECT avg(user), sum(*) FROM clicks
----
SELECT count(DISTINCT user, page) FROM clicks
----
SELECT count(user, page) FROM clicks
----
SELECT user FROM clicks WHERE ms IN ('u1')
----
SELECT user FROM clicks WHERE ms IN (1, 'u1')
----
SELECT user FROM clicks WHERE ms BETWEEN 'a' AND 'b'
----
SELECT user FROM clicks WHERE ms = 'u1'
----
SELECT user FROM clicks WHERE ts IN (1, 2)
----
SELECT upper(ms, 2) FROM clicks
----
SELECT upper() FROM clicks
----
SELECT sqrt(user) FROM clicks
----
SELECT abs(ts) FROM clicks
----
SELECT user AND page FROM clicks
----
SELECT NOT ms FROM clicks
----
SELECT -user FROM clicks
----
SELECT ts + ts FROM clicks
----
SELECT ts * 2 FROM clicks
----
SELECT CASE WHEN ms > 1 THEN ts ELSE ms END AS x FROM clicks
----
SELECT CASE WHEN user THEN 1 END AS x FROM clicks
----
SELECT CAST(ts AS BOOLEAN) AS x FROM clicks
----
SELECT user FROM clicks UNION ALL SELECT ts FROM clicks
----
SELECT coalesce(ms, ts) AS x FROM clicks
----
SELECT user FROM clicks WHERE ms IN (SELECT ts FROM clicks)
----
SELECT date_trunc(ts, 'hour') FROM clicks
----
SELECT date_trunc('hour', user) FROM clicks
----
SELECT extract(hour FROM user) FROM clicks
----
SELECT user -> 'a' AS x FROM clicks
----
SELECT user[1] AS x FROM clicks
----
SELECT sum(user) OVER (ORDER BY ts) AS x FROM clicks
----
SELECT lag(user, page) OVER (ORDER BY ts) AS x FROM clicks
----
SELECT string_agg(user) FROM clicks
----
SELECT percentile_cont(user) WITHIN GROUP (ORDER BY ms) FROM clicks
----
SELECT array_append(user, 1) FROM clicks
----
CREATE MATERIALIZED VIEW x1 AS SELECT user FROM clicks WHERE user LIKE 5
----
CREATE MATERIALIZED VIEW x2 AS SELECT user & ms AS x FROM clicks
----
CREATE MATERIALIZED VIEW x3 AS SELECT page, sum(user) AS x FROM clicks GROUP BY page
----
CREATE MATERIALIZED VIEW x4 AS SELECT user, count(DISTINCT page, ms) AS x FROM clicks GROUP BY user
----
CREATE MATERIALIZED VIEW x5 AS SELECT user FROM clicks WHERE ms IN ('u1')
----
CREATE MATERIALIZED VIEW x6 AS SELECT upper(ms, 2) AS x FROM clicks
----
CREATE TABLE docs (k TEXT PRIMARY KEY, j JSON) WITH (topic = 'docs'); SELECT j + 1 AS x FROM docs
----
SELECT k FROM docs WHERE j = 80
----
SELECT avg(j) AS x FROM docs
----
SELECT a.user FROM clicks AS a JOIN orders AS b ON a.ms = b.NULL
