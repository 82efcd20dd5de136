-- Transactions, one a paragraph that begins with "-- then".
-- then: what there was, by the stream
CREATE TEMP TABLE again AS SELECT * FROM types;
UPDATE again SET id = id + 10;
INSERT INTO types SELECT * FROM again ORDER BY id;
DROP TABLE again;
-- then: rows that change and go
UPDATE types SET tx = 'changed', n10_2 = 0.1 WHERE id = 11;
DELETE FROM types WHERE id = 12;
-- then: defaults
INSERT INTO defaults (at) VALUES ('2024-01-01 00:00:00+00');
UPDATE defaults SET t = NULL, f = NULL WHERE id = 1;
DELETE FROM defaults WHERE id = 2;
-- then: several tables in one transaction
INSERT INTO customers (id, name, email, made, balance) VALUES (4, 'Dora', 'd@example.org', '2024-03-01 00:00:00', 7.5);
INSERT INTO orders VALUES (4, 1, 'pad', 3, '08:00', 'sad');
UPDATE customers SET vip = true, profile = '{"n": null}', seen = '2024-03-01 10:00:00+00' WHERE id = 2;
UPDATE orders SET amount = amount + 1, status = 'happy, very' WHERE customer = 1;
DELETE FROM orders WHERE customer = 2;
-- then: keys that change
UPDATE customers SET id = 33 WHERE id = 3;
UPDATE orders SET line = 9 WHERE customer = 1 AND line = 2;
UPDATE composite SET b = 'y' WHERE a = 1;
UPDATE composite SET c = 11 WHERE a = 1;
-- then: a key that is taken back, and half a transaction
BEGIN;
INSERT INTO customers (id, name, made) VALUES (5, 'Eve', '2024-03-02');
ROLLBACK;
BEGIN;
INSERT INTO customers (id, name, made) VALUES (6, 'Fay', '2024-03-02');
SAVEPOINT s;
INSERT INTO customers (id, name, made) VALUES (7, 'Gil', '2024-03-02');
ROLLBACK TO s;
COMMIT;
-- then: rows without a key
INSERT INTO keyless VALUES (2, 'two');
UPDATE keyless SET b = 'zwei' WHERE a = 2;
DELETE FROM keyless WHERE a = 2;
-- then: large values that do not change, and that do
UPDATE large SET n = 2 WHERE id = 1;
UPDATE large_full SET n = 2 WHERE id = 1;
UPDATE large SET body = repeat('b', 2500) WHERE id = 1;
UPDATE large SET id = 2 WHERE id = 1;
UPDATE large_full SET id = 2 WHERE id = 1;
DELETE FROM large;
DELETE FROM large_full;
-- then: other replica identities
UPDATE by_index SET v = 10 WHERE id = 1;
UPDATE by_index SET id = 22, v = 20 WHERE id = 2;
UPDATE by_index SET code = 'uno' WHERE id = 1;
DELETE FROM by_index WHERE id = 1;
-- then: odd names
UPDATE "Odd Näme" SET "a.b" = 'y';
DELETE FROM "Odd Näme";
-- then: partitions
INSERT INTO parts VALUES (3, 'north', 3);
UPDATE parts SET v = 4 WHERE id = 3;
UPDATE parts SET region = 'south' WHERE id = 1;
DELETE FROM parts WHERE id = 2;
-- then: a table that is emptied
TRUNCATE emptied;
INSERT INTO emptied VALUES (2, 'new');
-- then: columns that come, go and change
ALTER TABLE altered ADD COLUMN extra int;
INSERT INTO altered VALUES (2, 'more', 6);
-- then
ALTER TABLE altered DROP COLUMN v;
UPDATE altered SET extra = 7 WHERE id = 1;
-- then
ALTER TABLE altered ALTER extra TYPE text USING extra::text;
INSERT INTO altered VALUES (3, 'text');
-- then
ALTER TABLE altered RENAME extra TO renamed;
INSERT INTO altered VALUES (4, 'name');
-- then: messages
SELECT pg_logical_emit_message(true, 'within', 'content');
-- then
SELECT pg_logical_emit_message(false, 'alone', '\x00ff'::bytea);
-- then: the end
INSERT INTO marker VALUES (1);
