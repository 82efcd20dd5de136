SELECT user FROM clicks WHRE ms > 1
----
SELECT user, count(*) FROM clicks GROUP BY user HAVNG count(*) > 1
----
SELECT user FROM clicks ODER BY user
----
SELECT user FROM clicks ORDER BY user DSC
----
SELECT user FROM clicks LIMTI 5
----
SELECT user FROM clicks INNR JOIN orders ON user = customer
----
SELECT user FROM clicks LEFT JION orders ON user = customer
----
SELECT user FROM clicks c LEFT JOIN orders o WHERE c.user = o.customer
----
SELECT DISTICT user FROM clicks
----
SELECT user FROM clicks WHERE ms BETWEN 1 AND 5
----
SELECT CASE WHEN ms > 1 THN 'a' END FROM clicks
----
SELECT CASE WHEN ms > 1 THEN 'a' FROM clicks
----
SELECT `user` FROM `clicks`
----
SELECT [user] FROM [clicks]
----
SELECT user FROM clicks WHERE user = 'it's'
----
SELECT user FROM clicks WHERE user = ‘u1’
----
SELECT user FROM clicks WHERE user = “u1”
----
SELECT user FROM clicks WHERE ms => 3
----
SELECT user FROM clicks WHERE ms =< 3
----
SELECT user FROM clicks WHERE ms === 3
----
SELECT user FROM clicks WHERE ms <> NULL
----
SELECT user FROM clicks WHERE ms != NULL
----
SELECT user FROM clicks WHERE NOT IN ('a')
----
SELECT user FROM clicks WHERE user ILIKE ANY ('u%', 'v%')
----
SELECT user FROM clicks WHERE user LIKE ANY (ARRAY['u%', 'v%'])
----
SELECT user FROM clicks WHERE user = 'a' OR 'b'
----
SELECT user FROM clicks WHERE user = 'a', ms > 3
----
SELECT user FROM clicks WHERE ms > 3 WHERE ms < 5
----
SELECT user FROM clicks ORDER BY user WHERE ms > 3
----
SELECT user FROM clicks LIMIT 5 ORDER BY user
----
SELECT user FROM clicks LIMIT 5 WHERE ms > 3
----
SELECT user FROM clicks GROUP BY user WHERE ms > 3
----
SELECT user, count(*) FROM clicks HAVING count(*) > 1 GROUP BY user
----
SELECT user WHERE ms > 3 FROM clicks
----
FROM clicks SELECT user
----
FROM clicks
----
SELECT user FROM clicks QUALIFY row_number() OVER (PARTITION BY user ORDER BY ts) = 1
----
SELECT date_trunc(ts, HOUR) FROM clicks
----
SELECT TIMESTAMP_TRUNC(ts, HOUR) FROM clicks
----
SELECT toStartOfHour(ts) FROM clicks
----
SELECT toStartOfInterval(ts, INTERVAL 5 MINUTE) FROM clicks
----
SELECT DATE_FORMAT(ts, '%Y-%m-%d') FROM clicks
----
SELECT FORMAT_TIMESTAMP('%Y', ts) FROM clicks
----
SELECT DATEDIFF(hour, ts, ts) FROM clicks
----
SELECT TIMESTAMPDIFF(MINUTE, ts, ts) FROM clicks
----
SELECT ts - INTERVAL 5 MINUTES FROM clicks
----
SELECT ts - INTERVAL '5' FROM clicks
----
SELECT ts - INTERVAL '5 minuts' FROM clicks
----
SELECT ts - 5 MINUTES FROM clicks
----
SELECT SAFE_CAST(user AS INT64) FROM clicks
----
SELECT CAST(user AS INT64) FROM clicks
----
SELECT CAST(user, BIGINT) FROM clicks
----
SELECT TRY_CAST(user AS BIGINT) FROM clicks
----
SELECT CONVERT(BIGINT, user) FROM clicks
----
SELECT toInt64(user) FROM clicks
----
SELECT TO_NUMBER(user) FROM clicks
----
SELECT SAFE_DIVIDE(ms, 2) FROM clicks
----
SELECT countIf(ms > 1) FROM clicks
----
SELECT COUNT_IF(ms > 1) FROM clicks
----
SELECT sumIf(ms, ms > 1) FROM clicks
----
SELECT uniq(user) FROM clicks
----
SELECT argMax(user, ts) FROM clicks
----
SELECT ANY_VALUE(user) FROM clicks
----
SELECT LISTAGG(user, ',') FROM clicks
----
SELECT COLLECT_LIST(user) FROM clicks
----
SELECT groupArray(user) FROM clicks
----
SELECT quantile(0.9)(ms) FROM clicks
----
SELECT PERCENTILE_CONT(ms, 0.5) FROM clicks
----
SELECT count(*) FROM TUMBLE(ts, clicks, INTERVAL '1 minute') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(clicks, INTERVAL '1 minute', ts) GROUP BY window_start
----
SELECT count(*) FROM HOP(clicks, ts, INTERVAL '1 minute') GROUP BY window_start
----
SELECT count(*) FROM HOP(clicks, ts, INTERVAL '10 minutes', INTERVAL '1 minute') GROUP BY window_start
----
SELECT count(*) FROM HOP(clicks, ts, INTERVAL '7 minutes', INTERVAL '10 minutes') GROUP BY window_start
----
SELECT count(*) FROM SESSION(clicks, ts) GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(clicks, ts, INTERVAL '1 minute')
----
SELECT user, count(*) FROM clicks GROUP BY TUMBLE(ts, INTERVAL '1' MINUTE), user
----
SELECT user, count(*) FROM clicks GROUP BY user, TUMBLE(ts, 60)
----
SELECT count(*) FROM TUMBEL(clicks, ts, INTERVAL '1 minute') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(clicks, ts, INTERVAL '0 seconds') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(clicks, ts, INTERVAL '-1 minute') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(orders, id, INTERVAL '1 minute') GROUP BY window_start
----
SELECT window_strat, count(*) FROM TUMBLE(clicks, ts, INTERVAL '1 minute') GROUP BY window_strat
----
SELECT user, count(*) FROM clicks WINDOW TUMBLING (1 MINUTE) GROUP BY user
----
SELECT user, count(*) FROM clicks WINDOW TUMBLING (SIZE 1 MINUT) GROUP BY user EMIT CHANGES
----
SELECT user, count(*) FROM clicks WINDOW HOPPING (SIZE 1 MINUTE) GROUP BY user EMIT CHANGES
----
SELECT user, count(*) FROM clicks WINDOW SESSION (SIZE 1 MINUTE) GROUP BY user EMIT CHANGES
----
SELECT user, count(*) FROM clicks GROUP BY user EMIT FINAL
----
CREATE MATERIALIZED VIEW w1 AS SELECT user, count(*) AS n FROM clicks GROUP BY user EMIT FINAL
----
CREATE MATERIALIZED VIEW w2 AS SELECT window_start, count(*) AS n FROM TUMBLE(clicks, ts, INTERVAL '1 minute') GROUP BY window_start EMIT ON WINDOW CLOSED
----
CREATE MATERIALIZED VIEW w3 AS SELECT window_start, count(*) AS n FROM TUMBLE(clicks, ts, INTERVAL '1 minute') GROUP BY window_start EMIT ON CLOSE
----
SELECT * FROM clicks c JOIN orders o WITHIN 1 HOUR ON c.user = o.customer EMIT CHANGES
----
SELECT * FROM clicks c JOIN orders o WITHIN (1 HOUR) ON c.user = o.customer
----
SELECT * FROM orders FOR SYSTEM_TIME AS OF now()
----
SELECT * FROM orders AS OF TIMESTAMP '2024-01-01'
----
SELECT * FROM clicks MATCH_RECOGNIZE (PARTITION BY user ORDER BY ts)
----
SELECT * FROM orders FINAL
----
SELECT * FROM clicks SETTINGS max_threads = 1
----
SELECT * FROM orders FORMAT JSON
----
SELECT ROWTIME, user FROM clicks
----
SELECT count(), user FROM clicks GROUP BY user
----
SELECT user, count(*) n FROM clicks GROUP BY ALL
----
SELECT * EXCLUDE (ms) FROM clicks
----
SELECT * EXCEPT (mss) FROM clicks
----
SELECT select FROM clicks
----
SELECT user AS order FROM clicks
----
SELECT user AS 'name' FROM clicks
----
SELECT from, to FROM clicks
----
CREATE TABLE order (id BIGINT PRIMARY KEY) WITH (topic = 'x1')
----
CREATE TABLE x2 (user TEXT, order BIGINT PRIMARY KEY) WITH (topic = 'x2')
----
CREATE TABLE x3 (id BIGINT, PRIMARY KEY id) WITH (topic = 'x3')
----
CREATE TABLE x4 (id BIGINT PRIMARY KEY, name TEXT DEFAULT 'x') WITH (topic = 'x4')
----
CREATE TABLE x5 (id INT AUTO_INCREMENT PRIMARY KEY) WITH (topic = 'x5')
----
CREATE TABLE x6 (id SERIAL PRIMARY KEY) WITH (topic = 'x6')
----
CREATE TABLE x7 (id BIGINT PRIMARY KEY, a VARCHAR(MAX)) WITH (topic = 'x7')
----
CREATE TABLE x8 (id String PRIMARY KEY) ENGINE = MergeTree ORDER BY id
----
CREATE TABLE x9 (id Nullable(Int64) PRIMARY KEY) WITH (topic = 'x9')
----
CREATE TABLE x10 (id BIGINT PRIMARY KEY, m MAP<INT, TEXT>) WITH (topic = 'x10')
----
CREATE TABLE x11 (id BIGINT PRIMARY KEY NOT ENFORCED, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'x11', 'properties.bootstrap.servers' = 'k:9092', 'format' = 'json')
----
CREATE TABLE x12 (id BIGINT, ts TIMESTAMP(3), WATERMARK FOR ts AS ts - INTERVAL '5' SECOND) WITH ('connector' = 'kafka', 'topic' = 'x12', 'format' = 'json')
----
CREATE TABLE x13 (id BIGINT PRIMARY KEY) WITH ('connector' = 'datagen')
----
CREATE TABLE x14 (id BIGINT PRIMARY KEY) WITH ('connector' = 'jdbc', 'url' = 'jdbc:postgresql://db/x')
----
CREATE SOURCE x15 (a TEXT) WITH (topic = 'clicks' partitions = 1)
----
CREATE SOURCE x16 (a TEXT) WITH (topic: 'clicks')
----
CREATE SOURCE x17 (a TEXT) (topic = 'clicks')
----
CREATE SOURCE x18 (a TEXT)
----
CREATE SOURCE x19 (a TEXT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL 10 SECONDS) WITH (topic = 'clicks')
----
CREATE SOURCE x20 (a TEXT, ts TIMESTAMP, WATERMARK FOR ts) WITH (topic = 'clicks')
----
CREATE SOURCE x21 (a TEXT, ts TIMESTAMP, WATERMARK ts AS ts - INTERVAL '1 second') WITH (topic = 'clicks')
----
CREATE SOURCE x22 (a TEXT, ts TIMESTAMP) WATERMARK FOR ts AS ts - INTERVAL '1 second' WITH (topic = 'clicks')
----
CREATE MATERIALIZED TABLE x23 AS SELECT user FROM clicks
----
CREATE MATERIALIZED VIEW x24 (SELECT user FROM clicks)
----
CREATE MATERIALIZED VIEW x25 AS user FROM clicks
----
CREATE OR REPLACE TABLE x26 (id BIGINT PRIMARY KEY) WITH (topic = 'x26')
----
CREATE DYNAMIC TABLE x27 TARGET_LAG = '1 minute' AS SELECT user FROM clicks
----
CREATE SINK x28 INTO 'x28' AS SELECT user FROM clicks
----
REFRESH MATERIALIZED VIEW spent
----
INSERT INTO orders (1, 'a', 2)
----
INSERT INTO orders VALUE (1, 'a', 2)
----
INSERT INTO orders VALUES 1, 'a', 2
----
INSERT INTO orders VALUES (1, "a", 2)
----
INSERT INTO orders VALUES (1, 'a', 2) (2, 'b', 3)
----
INSERT OVERWRITE orders VALUES (1, 'a', 2)
----
INSERT INTO orders VALUES (1, a, 2)
----
UPDATE orders amount = 5 WHERE id = 1
----
UPDATE orders SET amount == 5 WHERE id = 1
----
UPDATE orders SET amout = 5 WHERE id = 1
----
DELETE * FROM orders
----
SHOW MATERIALIZED VIEWS
----
SHOW STREAMS
----
SHOW QUERIES
----
SHOW CREATE TABLE orders
----
SHOW CREATE VIEW spent
----
LIST TOPICS
----
DESC orders
----
DESCRIBE EXTENDED orders
----
TERMINATE QUERY x
----
PAUSE spent
----
\d orders
----
USE DATABASE d
----
GRANT SELECT ON orders TO bob
----
CALL f()
----
WITH t AS (SELECT user FROM clicks), SELECT * FROM t
----
WITH t (SELECT user FROM clicks) SELECT * FROM t
----
SELECT user FROM clicks;; SELECT usr FROM clicks
----
SELECT user FROM clicks -- ms
WHERE ms > 'x'
----
SELECT user FROM default.clicks
----
SELECT user FROM public.clikcs
----
SELECT user FROM clicks c WHERE clicks.ms > 1
----
SELECT user AS u FROM clicks WHERE u = 'a'
----
SELECT ms * 2 AS d FROM clicks WHERE d > 4
----
SELECT user, row_number() OVER () AS r FROM clicks WHERE r = 1
----
SELECT user FROM clicks WHERE ms IN 1, 2
----
SELECT user FROM clicks WHERE EXISTS orders
----
SELECT user FROM clicks WHERE user IN (SELECT id, customer FROM orders)
----
SELECT (SELECT id, customer FROM orders) FROM clicks
----
SELECT user + page FROM clicks
----
SELECT concat(user, ms FROM clicks
----
SELECT count(*)) FROM clicks
----
SELECT user FROM clicks AS OF NOW
----
SELECT lag(ms) FROM clicks
----
SELECT sum(ms) OVER PARTITION BY user FROM clicks
----
SELECT sum(ms) OVER (PARTITION user) FROM clicks
----
SELECT user FROM clicks JOIN orders USING user
----
SELECT user FROM clicks JOIN orders ON user == customer
----
SELECT c.user FROM clicks c, JOIN orders o ON c.user = o.customer
----
SELECT data:field FROM clicks
----
SELECT user.page.x FROM clicks
----
SELECT ms::integer::txt FROM clicks
----
SELECT NULLIF(user) FROM clicks
----
SELECT user ? 1 : 2 FROM clicks
----
SELECT if(ms > 1, 'a', 'b') FROM clicks
----
SELECT multiIf(ms > 1, 'a', 'b') FROM clicks
----
SELECT ms FROM clicks WHERE ms = TRUE
----
SELECT ms FROM clicks WHERE ms
----
SELECT @@version
----
SELECT $1
----
SELECT :name FROM clicks
----
DECLARE x INT
----
SELECT * FROM clicks LIMIT ALL 5
----
SELECT * FROM clicks OFFSET 5 ROW FETCH NEXT 5
----
SELECT * FROM clicks LIMIT 5 BY user
