SELECT * FROM clicks WHERE user IS 'u1'
----
SELECT * FROM clicks WHERE user = NULL
----
SELECT * FROM clicks WHERE user == 'u1'
----
SELECT * FROM clicks WHERE user != 'u1' & ms > 1
----
SELECT * FROM clicks WHERE user LIKE "u%"
----
SELECT * FROM clicks WHERE user LIKE 5
----
SELECT * FROM clicks WHERE user ~ '['
----
SELECT * FROM clicks WHERE user REGEXP '^u'
----
SELECT * FROM clicks WHERE user RLIKE '^u'
----
SELECT * FROM clicks WHERE user CONTAINS 'u'
----
SELECT * FROM clicks WHERE IN ('u1')
----
SELECT * FROM clicks WHERE user IN 'u1'
----
SELECT * FROM clicks WHERE user NOT = 'u1'
----
SELECT * FROM clicks WHERE ms BETWEEN 1 TO 5
----
SELECT * FROM clicks WHERE ms BETWEEN SYMMETRIC 5, 1
----
SELECT * FROM clicks WHERE ms > ALL (1, 2)
----
SELECT * FROM clicks WHERE ROWNUM < 5
----
SELECT * FROM clicks LIMIT 5, 10
----
SELECT * FROM clicks FETCH FIRST 5 ROWS
----
SELECT * FROM clicks FETCH FIRST 5 ROWS WITH TIES
----
SELECT * FROM clicks FETCH FIRST 10 PERCENT ROWS ONLY
----
SELECT FIRST 5 * FROM clicks
----
SELECT * FROM clicks SAMPLE 10
----
SELECT user u1 u2 FROM clicks
----
SELECT user, * EXCEPT (ms) FROM clicks
----
SELECT DISTINCT ON user * FROM clicks
----
SELECT ALL DISTINCT user FROM clicks
----
SELECT count(DISTINCT user, page) FROM clicks
----
SELECT count(user page) FROM clicks
----
SELECT sum(*) FROM clicks
----
SELECT avg(user) FROM clicks
----
SELECT max(ms, 5) FROM clicks
----
SELECT nvl(user, 'x') FROM clicks
----
SELECT ifnull(user, 'x') FROM clicks
----
SELECT isnull(user) FROM clicks
----
SELECT iif(ms > 1, 'a', 'b') FROM clicks
----
SELECT decode(ms, 1, 'a', 'b') FROM clicks
----
SELECT charindex('u', user) FROM clicks
----
SELECT getdate()
----
SELECT sysdate FROM clicks
----
SELECT dateadd(day, 1, ts) FROM clicks
----
SELECT date_add(ts, 1) FROM clicks
----
SELECT to_date('2024-05-01', 'YYYY-MM-DD')
----
SELECT toDateTime(ts) FROM clicks
----
SELECT ts + 1 FROM clicks
----
SELECT ts - '1 hour' FROM clicks
----
SELECT INTERVAL 1 hour
----
SELECT ts AT TIME ZONE 'Nowhere/City' FROM clicks
----
SELECT mod(ms) FROM clicks
----
SELECT sgn(ms) FROM clicks
----
SELECT varianc(ms) FROM clicks
----
SELECT json_agg() FROM clicks
----
CREATE MATERIALIZED VIEW j AS SELECT user, json_agg(page) AS pages FROM clicks GROUP BY user
----
SELECT 1 FROM clicks GROUP BY ()
----
SELECT user FROM clicks GROUP BY user, ()
----
SELECT user -> 'a' -> FROM clicks
----
CREATE OR REPLACE FUNCTION IF NOT EXISTS f LANGUAGE wasm AS 'file:f.wasm'
----
CREATE OR REPLACE FUNCTION upper LANGUAGE wasm AS 'file:f.wasm'
----
CREATE FUNCTION f LANGUAGE python AS 'file:f.py'
----
CREATE FUNCTION f LANGUAGE wasm AS 'f.wasm'
----
CREATE FUNCTION f LANGUAGE wasm AS 'file:/no/such/f.wasm'
----
CREATE TABLE v0 (a VARCHAR(0) PRIMARY KEY) WITH (topic = 'v0')
----
CREATE TABLE v1 (a VARCHAR(99999999999) PRIMARY KEY) WITH (topic = 'v1')
----
CREATE TABLE v2 (a VARCHAR2(10) PRIMARY KEY) WITH (topic = 'v2')
----
INSERT INTO orders (id, customer, amount) VALUES (1, 'a', 2) ON CONFLICT (customer) DO NOTHING
----
INSERT INTO orders SET id = 1
----
REPLACE INTO orders VALUES (1, 'a', 2)
----
MERGE INTO orders USING named ON id = n WHEN MATCHED THEN DELETE
----
DROP FUNCTION uper
----
EXPLAIN WHY upper
----
SELECT * FROM spent EMIT CHANGES WHERE n > 1
----
SELECT * FROM spent EMIT CHANGES LIMIT 1.5
----
SELECT * FROM spent EMIT
----
SUBSCRIBE spnt
