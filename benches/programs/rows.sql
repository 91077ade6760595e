-- rows.sql - a database in memory: rows are inserted, indexed, joined, changed and deleted.
--
-- SPDX-License-Identifier: MIT OR Apache-2.0
--
-- usage: sqlite3 :memory: '.parameter set $rows ROWS' '.read rows.sql'
--
-- The numbers are products with large primes, not random(), which takes no seed.
CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE sale (id INTEGER PRIMARY KEY, customer INTEGER, amount INTEGER, note TEXT);

WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $rows / 10)
INSERT INTO customer SELECT i, printf('customer %d', i * 7919 % 100003), printf('city %d', i * 31 % 97)
FROM n;
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $rows)
INSERT INTO sale SELECT i, i * 104729 % ($rows / 10), i * 15485863 % 10007,
    substr('a note that is now short and now long, as notes of people are', 1, i * 7919 % 61)
FROM n;
CREATE INDEX sale_by_customer ON sale (customer, amount);
CREATE INDEX sale_by_note ON sale (note);

SELECT count(*), sum(total) FROM (
    SELECT city, sum(amount) AS total, group_concat(note, ';') AS notes
    FROM sale JOIN customer ON customer.id = sale.customer
    GROUP BY city, sale.customer % 100 ORDER BY total);
UPDATE sale SET note = note || ' and changed', amount = amount + 1 WHERE id % 3 = 0;
DELETE FROM sale WHERE id % 5 = 0;
SELECT count(*), max(length(note)), sum(amount) FROM sale WHERE note LIKE '%changed';
SELECT count(DISTINCT upper(note)) FROM sale;
