-- The flights, as the connector writes them: event time is the scheduled departure, rows come up to a day late.
CREATE SOURCE flights (
    scheduled TIMESTAMP,
    carrier TEXT,
    flight BIGINT,
    tailnum TEXT,
    origin TEXT,
    dest TEXT,
    dep_delay DOUBLE PRECISION,
    arr_delay DOUBLE PRECISION,
    air_time DOUBLE PRECISION,
    distance BIGINT,
    route TEXT,
    WATERMARK FOR scheduled AS scheduled - INTERVAL '24 hours'
) WITH (topic = 'flights') FORMAT PLAIN ENCODE JSON;

-- Who flies: a table, one row a key.
CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT) WITH (topic = 'airlines') FORMAT UPSERT ENCODE JSON;

-- A WASM function from udf-examples/delay_class.
CREATE FUNCTION delay_class(delay DOUBLE PRECISION) RETURNS TEXT LANGUAGE wasm AS 'file:${WASM}/delay_class.wasm';

-- Delays by airline and hour; an airline that arrives late or changes its name corrects the rows.
CREATE MATERIALIZED VIEW delays AS
SELECT window_start, window_end, a.name, count(*) AS flights, avg(dep_delay) AS avg_delay,
       delay_class(avg(dep_delay)) AS class
FROM TUMBLE(flights, scheduled, INTERVAL '1 hour') f
JOIN airlines a ON f.carrier = a.carrier
GROUP BY window_start, window_end, a.name;

-- The same by carrier and airport, without the join.
CREATE MATERIALIZED VIEW origins AS
SELECT window_start, carrier, origin, count(*) AS flights, sum(dep_delay) AS total_delay, max(dep_delay) AS max_delay
FROM TUMBLE(flights, scheduled, INTERVAL '1 hour')
GROUP BY window_start, carrier, origin;
