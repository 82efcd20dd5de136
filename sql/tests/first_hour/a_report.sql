CREATE SOURCE clicks (user TEXT, page TEXT, ms BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '10 seconds') WITH (topic = 'clicks', partitions = 1);
CREATE TABLE orders (id BIGINT PRIMARY KEY, customer TEXT, amount BIGINT) WITH (topic = 'orders');
CREATE TABLE named (k TEXT PRIMARY KEY, a TEXT, n BIGINT) WITH (topic = 'named');
CREATE MATERIALIZED VIEW spent AS SELECT customer, sum(amount) AS total FROM orders GROUP BY customer
----
SELCT * FROM clicks
----
SELECT * FORM clicks
----
SELECT user, count(*) FROM clicks GRUOP BY user
----
SELECT user FROM clicks EMIT CHANGS
----
CREATE MATERIALISED VIEW v AS SELECT user FROM clicks
----
SELECT * FROM click
----
SELECT usr FROM clicks
----
SELECT user FROM clicks ORDER BY usr
----
SELECT count(*) FROM clicks GROUP BY usr
----
SELECT o.custmer FROM orders o
----
INSERT INTO orders (id, custmer) VALUES (1, 'a')
----
INSERT INTO order VALUES (1, 'a', 2)
----
DROP TABLE ordrs
----
EXPLAIN WHY spnt
----
SELECT * FROM "Clicks"
----
SELECT lenght(user) FROM clicks
----
SELECT user, count(*) FROM clicks
----
SELECT user, ms, count(*) FROM clicks GROUP BY user
----
SELECT user FROM clicks WHERE count(*) > 1
----
SELECT count(*) FROM TUMBLE(clicks, ms, INTERVAL '1 minute') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(clicks, ts) GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(clicks, ts, '1 minute') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(clicks, ts, INTERVAL '1 month') GROUP BY window_start
----
CREATE SOURCE t1 (a TEXT) WITH (topc = 'clicks')
----
CREATE SOURCE t2 (a TEXT) WITH (topic = 'clickz')
----
CREATE SOURCE t3 (a TEXTT) WITH (topic = 'clicks')
----
CREATE SOURCE t5 (a TIMESTAMP) WITH (topic = 'clicks', timestamp.unit = 'millis')
----
CREATE MATERIALIZED VIEW v AS SELECT user, now() AS n FROM clicks
----
CREATE VIEW v AS SELECT 1
----
CREATE TABLE v AS SELECT 1
----
CREATE SINK s FROM clicks
----
UPDATE orders SET amount = 1
----
ALTER TABLE orders ADD COLUMN x TEXT
----
DROP TABLE orders
----
DROP TABLE clicks
----
SELECT * FROM clicks WHERE user = "u1"
----
SELECT * FROM clicks WHERE ms = "100"
----
SELECT * FROM errors_of_x
----
SELECT * FROM clicks WHERE user LIKE 'u%' AND
----
SELECT 'abc
----
CREATE SOURCE t6 (a TEXT) WITH (topic = 'clicks'
----
SHOW COLUMNS FROM clicks
----
SHOW DATABASES
----
COPY clicks TO '/tmp/x'
----
TRUNCATE orders
----
BEGIN
----
SHOW TABLES LIKE 'o%'
----
SELECT TUMBLE_START(ts, INTERVAL '1 minute'), count(*) FROM clicks GROUP BY user
----
SELECT window_start, count(*) FROM TABLE(TUMBLE(TABLE clicks, DESCRIPTOR(ts), INTERVAL '1' MINUTE)) GROUP BY window_start
----
SELECT user, count(*) FROM clicks WINDOW TUMBLING (SIZE 1 MINUTE) GROUP BY user EMIT CHANGES
----
CREATE SOURCE t7 (a TEXT) WITH (topic = 'clicks', foo = 'ms')
----
CREATE SOURCE t8 (a TEXT) WITH (topic = 'clicks', properties.bootstrap.servers = 'x')
----
CREATE STREAM t9 (a TEXT) WITH (kafka_topic = 'clicks', value_format = 'json', TIMESTAMP = 'ts')
----
SET x = 1
----
CREATE SOURCE t10 (a TIMESTAMP b TEXT) WITH (topic = 'clicks')
----
SELECT user, FROM clicks
----
SELECT user page ms FROM clicks
----
EXPLAIN WY spent
----
SELECT cnt(*) FROM clicks
----
SELECT date_trunc(ts, 'hour') FROM clicks
----
SELECT sum(user) FROM clicks
----
SELECT * FROM clicks WHERE ms > 'abc'
----
SELECT * FROM clicks WHERE ts > '2024-05-01 10:xx'
----
SELECT ts + INTERVAL '1 fortnight' FROM clicks
----
SELECT CAST('abc' AS INT)
----
SELECT ms::txt FROM clicks
----
SELECT * FROM clicks LIMIT 'x'
----
SELECT * FROM clicks LIMIT -1
----
SELECT * FROM clicks c JOIN orders o ON c.user = o.id
----
SELECT * FROM clicks c JOIN orders o
----
INSERT INTO orders VALUES ('x', 'a', 1)
----
INSERT INTO orders VALUES (1, 'a')
----
INSERT INTO orders VALUES (NULL, 'a', 2)
----
INSERT INTO orders VALUES (99999999999999999999, 'a', 1)
----
SELECT * FROM clicks WHERE user = 'a' && ms > 3
----
SELECT TOP 5 * FROM clicks
----
SELECT user.name FROM clicks
----
CREATE MATERIALIZED VIEW v AS SELECT count(*), count(*) FROM clicks
