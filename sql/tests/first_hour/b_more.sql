SELECT * FROM clicks WHERE
----
SELECT * FROM
----
SELECT
----
SELECT user FROM clicks WHERE ms = = 3
----
SELECT user FROM clicks WHERE (ms = 3
----
SELECT user FROM clicks WHERE ms = 3)
----
SELECT user, page FROM clicks GROUP BY
----
SELECT user FROM clicks ORDER page
----
SELECT user FROM clicks HAVING ms > 1
----
SELECT user AS FROM clicks
----
SELECT user FROM clicks, WHERE ms > 1
----
INSERT INTO orders VALUES (1, 'a', 2),
----
INSERT INTO orders (id, customer, amount) VALUES (1, 'a')
----
INSERT INTO orders VALUES (1, 2, 'many')
----
INSERT INTO orders VALUES (1.5, 'a', 2)
----
INSERT INTO orders VALUES ('2024-01-01', 'a', 2)
----
INSERT INTO named (k, n) VALUES ('a', '12x')
----
INSERT INTO named (a) VALUES ('x')
----
INSERT INTO named (k, k) VALUES ('x', 'y')
----
INSERT INTO spent VALUES ('a', 1)
----
INSERT orders VALUES (1, 'a', 2)
----
DELETE orders WHERE id = 1
----
DELETE FROM clicks WHERE ms = 1
----
DELETE FROM orders WHERE idd = 1
----
DROP VIEW spent2
----
DROP MATERIALIZED VIEW orders
----
DROP orders
----
DROP TABLE spent
----
SHOW TABLS
----
SHOW COLUMNS
----
DESCRIBE ordrs
----
DESCRIBE
----
EXPLAIN
----
EXPLAIN ANALYZE SELECT 1
----
SELECT upper(user, page) FROM clicks
----
SELECT upper() FROM clicks
----
SELECT round('a') FROM clicks
----
SELECT substr(ms) FROM clicks
----
SELECT coalesce() FROM clicks
----
SELECT to_char(ts) FROM clicks
----
SELECT date_trunc('houre', ts) FROM clicks
----
SELECT extract(fortnight FROM ts) FROM clicks
----
SELECT CAST(user AS NUMBER) FROM clicks
----
SELECT CAST(user AS VARCHAR2) FROM clicks
----
SELECT CAST('2024-13-01' AS DATE)
----
SELECT CAST('12:61' AS TIME)
----
SELECT CAST('x' AS BOOLEAN)
----
SELECT TIMESTAMP '2024-05-01 25:00'
----
SELECT INTERVAL 'ten minutes'
----
SELECT 1 / 0
----
SELECT ms + user FROM clicks
----
SELECT user || ms + 1 FROM clicks
----
SELECT NOT user FROM clicks
----
SELECT -user FROM clicks
----
SELECT * FROM clicks WHERE ts > 5
----
SELECT * FROM clicks WHERE ms BETWEEN 'a' AND 'b'
----
SELECT * FROM clicks WHERE ms IN ('a', 1)
----
SELECT * FROM clicks WHERE user IN (1, 2)
----
SELECT CASE WHEN ms > 1 THEN 'a' ELSE 2 END FROM clicks
----
SELECT user FROM clicks UNION SELECT user, page FROM clicks
----
SELECT x.* FROM clicks c
----
SELECT c.user FROM clicks c JOIN orders o ON c.usr = o.customer
----
SELECT c.user FROM clicks c JOIN orders o USING (customr)
----
SELECT id FROM orders a JOIN orders b ON a.id = b.id
----
SELECT nosuch.user FROM clicks
----
SELECT len(user) FROM clicks
----
SELECT datediff(ts, ts) FROM clicks
----
SELECT group_concat(user) FROM clicks
----
CREATE SOURCE clicks (a TEXT) WITH (topic = 'clicks')
----
CREATE TABLE u1 (a TEXT) WITH (topic = 'u1')
----
CREATE TABLE u2 (a TEXT PRIMARY KEY, a TEXT) WITH (topic = 'u2')
----
CREATE TABLE u3 (a TEXT PRIMARY KEY, b) WITH (topic = 'u3')
----
CREATE TABLE u4 (a TEXT PRIMARY KEY,) WITH (topic = 'u4')
----
CREATE TABLE u5 (a TEXT PRIMARY KEY) WITH topic = 'u5'
----
CREATE TABLE u6 (a TEXT PRIMARY KEY) WITH (topic = u6, partitions = 'many')
----
CREATE TABLE u7 (a TEXT PRIMARY KEY) WITH (topic = 'u 7')
----
CREATE SOURCE u8 (a TEXT, WATERMARK FOR a AS a - INTERVAL '1 second') WITH (topic = 'u8', partitions = 1)
----
CREATE SOURCE u9 (a BIGINT, WATERMARK FOR a AS a) WITH (topic = 'u9', partitions = 1)
----
CREATE SOURCE u10 (a TIMESTAMP, WATERMARK FOR b AS b - INTERVAL '1 second') WITH (topic = 'u10', partitions = 1)
----
CREATE MATERIALIZED VIEW spent AS SELECT 1 AS x
----
CREATE MATERIALIZED VIEW w AS SELECT count(*) FROM clicks GROUP BY usr
----
CREATE MATERIALIZED VIEW w WITH (wiat = off) AS SELECT count(*) AS n FROM clicks
----
CREATE MATERIALIZED VIEW w WITH (wait = 'soon') AS SELECT count(*) AS n FROM clicks
----
CREATE MATERIALIZED VIEW w SELECT 1
----
CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE python AS 'x'
----
CREATE FUNCTION f(x INT) RETURNS INT LANGUAGE wasm AS '/tmp/f.wasm'
----
CREATE INDEX i ON orders (customer)
----
CREATE DATABASE d
----
SET statement_timeout = 'soon'
----
SET creat.wait = 'off'
----
SUBSCRIBE spnt
----
PRINT 'clicks'
----
USE d
----
VACUUM
