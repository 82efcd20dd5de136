SELECT carier FROM flights
----
SELECT f.carier FROM flights f
----
SELECT * FROM fligths
----
SELECT x.carrier FROM flights f
----
SELECT uper(carrier) FROM flights
----
SELECT carrier, origin, count(*) FROM flights GROUP BY carrier
----
SELECT carrier + 1 FROM flights
----
SELECT dep_delay FROM flights WHERE carrier
----
SELECT carrier FROM flights f JOIN airlines a ON f.carrier = a.carrier
----
SELECT f.carrier, a.carrier FROM flights f JOIN airlines a ON f.carrier = a.carrier
----
SELECT upper(carrier, 2, 3) FROM flights
----
SELECT count(*) FROM TUMBLE(flights, sheduled, INTERVAL '1 hour') GROUP BY window_start
----
SELECT count(*) FROM TUMBEL(flights, scheduled, INTERVAL '1 hour') GROUP BY window_start
----
SELECT count(*) FROM SESSION(flights, scheduled) GROUP BY window_start
----
SELECT carrier, count(*) FROM SESSION(flights, scheduled, INTERVAL '1 hour') GROUP BY ROLLUP (window_start, carrier)
----
SELECT TUMBLE_START(scheduled, INTERVAL '2 hours') FROM flights GROUP BY TUMBLE(scheduled, INTERVAL '1 hour')
----
SELECT count(*) FROM flights a, flights b GROUP BY TUMBLE(scheduled, INTERVAL '1 hour')
----
SELECT count(*) FROM HOP(flights, scheduled, INTERVAL '1 hour') GROUP BY window_start
----
SELECT count(*) FROM HOP(flights, scheduled, INTERVAL '1 millisecond', INTERVAL '1 day') GROUP BY window_start
----
SELECT count(*) FROM CUMULATE(flights, scheduled, INTERVAL '25 minutes', INTERVAL '1 hour') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(readings, at, INTERVAL '1 hour') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(flights, carrier, INTERVAL '1 hour') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(flights, scheduled, INTERVAL '1 month') GROUP BY window_start
----
SELECT count(*) FROM TUMBLE(flights, scheduled) GROUP BY window_start
----
SELECT count(*) FROM TUMBLE((SELECT scheduled, carrier AS window_start FROM flights), scheduled, INTERVAL '1 hour')
----
SELECT * FROM flights FOR SYSTEM_TIME AS OF now()
----
SELECT sum(carrier) FROM flights
----
SELECT carrier FROM flights WHERE count(*) > 1
----
SELECT carrier AS a, origin AS a FROM flights
