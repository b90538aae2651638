-- What is in an id, the smallest id of a time, uuids that sort by time: on any database.
CREATE EXTENSION bdr;
SET timezone = 'UTC';
SET datestyle = 'ISO';

-- An id that is put together here: milliseconds after the epoch, node 1023, counter 4095.
SELECT bdr.extract_timestamp_from_snowflakeid(id), bdr.extract_nodeid_from_snowflakeid(id) AS node,
    bdr.extract_localseqid_from_snowflakeid(id) AS counter
FROM (VALUES (0::bigint), (1234567890123::bigint << 22 | (1023 << 12) | 4095), (1::bigint << 22 | (5 << 12)),
    (9223372036854775807)) v (id);
SELECT bdr.extract_timestamp_from_timeshard(id), bdr.extract_nodeid_from_timeshard(id) AS node,
    bdr.extract_localseqid_from_timeshard(id) AS counter
FROM (VALUES (0::bigint), (1234567890123::bigint << 22 | (511 << 13) | 8191), (1::bigint << 22 | (5 << 13)),
    (9223372036854775807)) v (id);

-- Lower bounds: a microsecond earlier is another millisecond or the same one, never a later one.
SELECT bdr.timestamp_to_snowflakeid(t), bdr.timestamp_to_timeshard(t),
    bdr.extract_timestamp_from_snowflakeid(bdr.timestamp_to_snowflakeid(t)) AS since
FROM unnest('{2016-10-07 00:00:00+00,2016-10-07 00:00:00.000999+00,2016-10-07 00:00:00.001+00,2026-01-01 12:00:00.123456+00,
    2086-06-13 15:47:35.551999+00}'::timestamptz[]) t;
SELECT count(*) AS wrong FROM generate_series(0, (1::bigint << 41) - 1, (1::bigint << 41) / 1000) ms
WHERE bdr.timestamp_to_snowflakeid(bdr.extract_timestamp_from_snowflakeid(ms << 22 | 4194303)) <> ms << 22
   OR bdr.timestamp_to_timeshard(bdr.extract_timestamp_from_timeshard(ms << 22 | 4194303)) <> ms << 22;

-- The epoch, the year 2086 and infinity are where it ends.
\set VERBOSITY sqlstate
SELECT bdr.timestamp_to_snowflakeid('2016-10-06 23:59:59.999999+00');
SELECT bdr.timestamp_to_timeshard('2086-06-13 15:47:35.552000+00');
SELECT bdr.timestamp_to_snowflakeid('infinity');
SELECT bdr.timestamp_to_timeshard('-infinity');
SELECT bdr.extract_timestamp_from_snowflakeid(-1);
SELECT bdr.extract_nodeid_from_snowflakeid(-1);
SELECT bdr.extract_localseqid_from_snowflakeid(-1);
SELECT bdr.extract_timestamp_from_timeshard(-1);
SELECT bdr.extract_nodeid_from_timeshard(-1);
SELECT bdr.extract_localseqid_from_timeshard((-9223372036854775808)::bigint);
\set VERBOSITY default
SELECT bdr.timestamp_to_timeshard('1999-12-31 23:59:59+00');
SELECT bdr.extract_nodeid_from_timeshard(-1);
SELECT bdr.timestamp_to_snowflakeid(NULL), bdr.extract_nodeid_from_snowflakeid(NULL);

-- They may be in an index, which a search by time then uses.
CREATE TABLE made (id bigint);
CREATE INDEX ON made (bdr.extract_timestamp_from_snowflakeid(id));
DROP TABLE made;

-- A KSUUID is its time and then random; a given time may be asked for any number of times.
SELECT bdr.extract_timestamp_from_ksuuid_v2(bdr.gen_ksuuid_v2(t)) = t AS same_time, left(bdr.gen_ksuuid_v2(t)::text, 16)
FROM unnest('{1970-01-01 00:00:00+00,1970-01-01 00:00:00.000001+00,2026-01-01 12:00:00.123456+00,
    4253-05-31 22:20:37.927935+00}'::timestamptz[]) t;
SELECT count(DISTINCT bdr.gen_ksuuid_v2('2026-01-01 00:00:00+00')) FROM generate_series(1, 100000);
SELECT max(bdr.gen_ksuuid_v2('2026-01-01 00:00:00+00')::text) < min(bdr.gen_ksuuid_v2('2026-01-01 00:00:00.000001+00')::text) AS sorts_by_time
FROM generate_series(1, 1000);

-- Of two of one session the later one is larger, however little time there is between them.
CREATE TABLE drawn (n int, k uuid);
INSERT INTO drawn SELECT n, bdr.gen_ksuuid_v2(NULL) FROM generate_series(1, 200000) n;
SELECT count(*) AS wrong FROM (SELECT k, lag(k) OVER (ORDER BY n) AS before FROM drawn) d WHERE NOT k > before;
SELECT count(DISTINCT k), max(bdr.extract_timestamp_from_ksuuid_v2(k)) BETWEEN now() - interval '10 min' AND clock_timestamp() + interval '10 s' AS recent FROM drawn;
SELECT array_agg(DISTINCT bdr.ksuuid_v2_cmp(a.k, b.k)) AS less, array_agg(DISTINCT bdr.ksuuid_v2_cmp(b.k, a.k)) AS greater,
    array_agg(DISTINCT bdr.ksuuid_v2_cmp(a.k, a.k)) AS equal
FROM drawn a JOIN drawn b ON b.n = a.n + 1;
DROP TABLE drawn;
\set VERBOSITY sqlstate
SELECT bdr.gen_ksuuid_v2('1969-12-31 23:59:59.999999+00');
SELECT bdr.gen_ksuuid_v2('4253-05-31 22:20:37.927936+00');
SELECT bdr.gen_ksuuid_v2('infinity');
SELECT bdr.gen_ksuuid_v2('-infinity');
\set VERBOSITY default
SELECT bdr.gen_ksuuid_v2('1969-12-31 23:59:59+00');
SELECT bdr.extract_timestamp_from_ksuuid_v2('ffffffff-ffff-ffff-ffff-ffffffffffff'), bdr.ksuuid_v2_cmp(NULL, bdr.gen_ksuuid_v2(NULL));

-- Everybody may call them.
CREATE ROLE bdr_regress_ids;
SET ROLE bdr_regress_ids;
SELECT bdr.extract_nodeid_from_snowflakeid(bdr.timestamp_to_snowflakeid('2026-01-01')), bdr.gen_ksuuid_v2(NULL) IS NOT NULL;
RESET ROLE;
DROP ROLE bdr_regress_ids;
DROP EXTENSION bdr;
