-- The database of small.dump, which is what PostgreSQL 15.18 made of it with pg_dump -Fc -Z0.
CREATE TABLE device (hostname text PRIMARY KEY, description text, health smallint NOT NULL);
INSERT INTO device VALUES ('qemu-01', NULL, 0), ('qemu-02', E'two\nlines', 4);
CREATE TABLE tag (id serial PRIMARY KEY, name text);
SELECT lo_create(4242);
SELECT lo_put(4242, 0, 'a large object');
