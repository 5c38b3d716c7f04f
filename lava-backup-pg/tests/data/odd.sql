-- A database that holds what a reader of dumps may stumble over.
CREATE SCHEMA "Odd Schema, (x)";
SET search_path = "Odd Schema, (x)";

CREATE TABLE "t ""q"".größe; --" ("Id" integer, "a, b) FROM stdin;" text, "q""q" text, "new
line" text);
INSERT INTO "t ""q"".größe; --"
    SELECT i, CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'x' || i END, '\N', E'a\tb\nc\\d\r\x0b\b\f'
    FROM generate_series(1, 500) i;
CREATE TABLE "UPPER" (x text);
INSERT INTO "UPPER" VALUES ('\.'), ('\'), (''), (NULL), ('.'), (E'\\.\n'), ('\\.'), ('same'), ('same');
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;

SET search_path = public;
CREATE TABLE empty (id bigserial PRIMARY KEY, note text);
CREATE TABLE used (id serial PRIMARY KEY, note text);
INSERT INTO used (note) VALUES ('one'), ('two');
-- 300,000 bytes that compression would not make small, and a row of them.
CREATE TABLE big (id integer, log text);
INSERT INTO big VALUES (1, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 9375) i)), (2, 'small');
CREATE TABLE made (a integer, twice integer GENERATED ALWAYS AS (a * 2) STORED, b text);
INSERT INTO made (a, b) VALUES (1, 'x'), (2, NULL);
CREATE TABLE dropped (a integer, gone text, c float8, at timestamptz, span interval, bytes bytea, tree jsonb);
INSERT INTO dropped VALUES (1, 'x', 0.1 + 0.2, '2026-11-22 19:46:16.169428+00', '1 day 02:03', '\x00ff5c', '{"a": "\\ \n"}');
ALTER TABLE dropped DROP COLUMN gone;
CREATE TABLE parted (at date, what text) PARTITION BY RANGE (at);
CREATE TABLE parted_25 PARTITION OF parted FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE parted_26 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
INSERT INTO parted VALUES ('2025-05-05', 'old'), ('2026-06-06', 'new'), ('2026-07-07', 'newer');
CREATE MATERIALIZED VIEW seen AS SELECT what FROM parted;
CREATE VIEW plain AS SELECT 1 AS one;
CREATE SEQUENCE "Count, 'it'" START 100;
SELECT nextval('"Count, ''it''"'), nextval('"Count, ''it''"');
SELECT lo_from_bytea(4242, convert_to(repeat('large object ', 5000), 'UTF8'));
SELECT lo_create(4000000000);
