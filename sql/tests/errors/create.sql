CREATE SOURCE s (a INT) WITH (topic = 'fligts')
----
CREATE SOURCE s (a INT) WITH (topik = 'flights')
----
CREATE SOURCE s (a INTT) WITH (topic = 'flights')
----
CREATE SOURCE s (a INT, a TEXT) WITH (topic = 'flights')
----
CREATE SOURCE s (a INT, WATERMARK FOR a AS a) WITH (topic = 'flights')
----
CREATE SOURCE s (a TIMESTAMPTZ, WATERMARK FOR a AS a) WITH (topic = 'flights')
----
CREATE SOURCE s (a TIMESTAMP, WATERMARK FOR b AS b) WITH (topic = 'flights')
----
CREATE SOURCE s (a TIMESTAMP, WATERMARK FOR a AS a + INTERVAL '1 hour') WITH (topic = 'flights')
----
CREATE SOURCE s (a INT) WITH (topic = 'flights') FORMAT UPSERT ENCODE JSON
----
CREATE SOURCE s (a INT) WITH (topic = 'flights') FORMAT PLAIN ENCODE AVRO
----
CREATE TABLE airlines (a INT)
----
CREATE TABLE t (a INT, PRIMARY KEY (b))
----
CREATE FUNCTION f LANGUAGE wasm AS 'file:/nowhere.wasm'
----
CREATE FUNCTION f LANGUAGE python AS 'x'
----
DROP TABLE airline
----
DROP SOURCE flights
----
DROP SOURCE airlines
----
INSERT INTO airlines VALUES ('UA')
----
INSERT INTO airlines (carrier, nam) VALUES ('UA', 'United')
----
INSERT INTO airlines VALUES (NULL, 'x')
----
INSERT INTO readings VALUES ('x', '2013-01-01', 1)
----
INSERT INTO by_carrier VALUES (1)
----
SET read_your_write = on
----
DESCRIBE flihgts
----
EXPLAIN WHY flights
