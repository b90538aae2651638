-- What is in an id of a snowflakeid or timeshard sequence; extension/session/sequence/layout.h has the bits.
CREATE FUNCTION bdr.extract_timestamp_from_snowflakeid(snowflakeid bigint)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'bdr_extract_timestamp_from_snowflakeid'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.extract_timestamp_from_snowflakeid(bigint) IS 'when a value of a snowflakeid sequence was made';

CREATE FUNCTION bdr.extract_nodeid_from_snowflakeid(snowflakeid bigint)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_extract_nodeid_from_snowflakeid'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.extract_nodeid_from_snowflakeid(bigint) IS 'number of the node that made a value of a snowflakeid sequence';

CREATE FUNCTION bdr.extract_localseqid_from_snowflakeid(snowflakeid bigint)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_extract_localseqid_from_snowflakeid'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.extract_localseqid_from_snowflakeid(bigint) IS 'counter of a value of a snowflakeid sequence within its millisecond';

CREATE FUNCTION bdr.timestamp_to_snowflakeid(ts timestamptz)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_timestamp_to_snowflakeid'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.timestamp_to_snowflakeid(timestamptz) IS 'lower bound of the values that snowflakeid sequences make at or after a time';

CREATE FUNCTION bdr.extract_timestamp_from_timeshard(timeshard_seq bigint)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'bdr_extract_timestamp_from_timeshard'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.extract_timestamp_from_timeshard(bigint) IS 'when a value of a timeshard sequence was made';

CREATE FUNCTION bdr.extract_nodeid_from_timeshard(timeshard_seq bigint)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_extract_nodeid_from_timeshard'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.extract_nodeid_from_timeshard(bigint) IS 'number of the node that made a value of a timeshard sequence';

CREATE FUNCTION bdr.extract_localseqid_from_timeshard(timeshard_seq bigint)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_extract_localseqid_from_timeshard'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.extract_localseqid_from_timeshard(bigint) IS 'counter of a value of a timeshard sequence within its millisecond';

CREATE FUNCTION bdr.timestamp_to_timeshard(ts timestamptz)
RETURNS bigint
AS 'MODULE_PATHNAME', 'bdr_timestamp_to_timeshard'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.timestamp_to_timeshard(timestamptz) IS 'lower bound of the values that timeshard sequences make at or after a time';

-- NULL is now.
CREATE FUNCTION bdr.gen_ksuuid_v2(ts timestamptz)
RETURNS uuid
AS 'MODULE_PATHNAME', 'bdr_gen_ksuuid_v2'
LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION bdr.gen_ksuuid_v2(timestamptz) IS 'uuid that sorts by its time; NULL is now';

CREATE FUNCTION bdr.ksuuid_v2_cmp(ksuuid1 uuid, ksuuid2 uuid)
RETURNS integer
AS 'MODULE_PATHNAME', 'bdr_ksuuid_v2_cmp'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.ksuuid_v2_cmp(uuid, uuid) IS 'order of two uuids of gen_ksuuid_v2: -1, 0 or 1';

CREATE FUNCTION bdr.extract_timestamp_from_ksuuid_v2(ksuuid uuid)
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'bdr_extract_timestamp_from_ksuuid_v2'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION bdr.extract_timestamp_from_ksuuid_v2(uuid) IS 'time of a uuid of gen_ksuuid_v2';
