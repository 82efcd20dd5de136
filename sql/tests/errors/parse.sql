SELECT * FROM flights WHER carrier = 'UA'
----
SELEC * FROM flights
----
SELECT carrier, count(*) FROM flights
 GRUOP BY carrier
----
SELECT 'open FROM flights
----
SELECT * FROM (SELECT * FROM flights EMIT CHANGES) x
----
CREATE SORUCE s (a INT)
----
CREATE SINK s FROM v
----
SELECT * FROM flights LIMIT
----
SELECT carrier FROM flights EMIT CHANGSE
----
UPDATE airlines SET name = 'x'
----
SELECT * FROM flights MATCH_RECOGNIZE (PARTITION BY carrier ORDER BY scheduled MEASURES A.distance AS d PATTERN (A) DEFINE A AS A.distance > 100)
----
SELECT carrier, count(*) FROM flights WINDOW TUMBLING (LENGTH 1 HOUR) GROUP BY carrier
