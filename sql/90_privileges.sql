-- Connection strings may hold passwords: most tables are for superusers until roles come.
REVOKE ALL ON ALL TABLES IN SCHEMA bdr FROM PUBLIC;

-- Roles belong to all databases of the server, so they may be there already, and
-- stay when the extension goes.
DO $do$
DECLARE
    role name;
BEGIN
    FOREACH role IN ARRAY ARRAY['bdr_read_all_conflicts', 'bdr_read_all_stats', 'bdr_monitor'] LOOP
        BEGIN
            EXECUTE pg_catalog.format('CREATE ROLE %I', role);
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END LOOP;
END
$do$;

GRANT SELECT ON bdr.stat_relation TO bdr_read_all_stats;
GRANT SELECT ON bdr.sequence_alloc TO bdr_read_all_stats;
GRANT EXECUTE ON FUNCTION bdr.get_relation_stats() TO bdr_read_all_stats;

GRANT bdr_read_all_stats TO bdr_monitor;
GRANT SELECT ON bdr.group_versions_details TO bdr_monitor;
GRANT EXECUTE ON FUNCTION bdr.internal_group_versions(), bdr.monitor_group_versions() TO bdr_monitor;

-- Row security says which conflicts each user sees.
GRANT SELECT ON bdr.conflict_history, bdr.conflict_history_summary TO PUBLIC;

-- Names of sequences are in the server's catalogs, for everybody.
GRANT SELECT ON bdr.sequences TO PUBLIC;

-- Everybody's nextval, policies and identity columns call these, whatever the default privileges are.
GRANT EXECUTE ON FUNCTION bdr.seq_nextval(regclass), bdr.seq_nextval_identity(regclass), bdr.seq_currval(regclass), bdr.seq_lastval(),
    bdr.seq_setval(regclass, bigint), bdr.seq_setval_called(regclass, bigint, boolean), bdr.seq_last_value(regclass), bdr.seq_data(regclass),
    bdr.seq_row(regclass, oid), bdr.alter_sequence_set_kind(regclass, text, bigint), bdr.alter_all_sequences_set_kind(text),
    bdr.sequence_candidates(text), bdr.galloc_chunk_info(regclass),
    bdr.extract_timestamp_from_snowflakeid(bigint), bdr.extract_nodeid_from_snowflakeid(bigint),
    bdr.extract_localseqid_from_snowflakeid(bigint), bdr.timestamp_to_snowflakeid(timestamptz),
    bdr.extract_timestamp_from_timeshard(bigint), bdr.extract_nodeid_from_timeshard(bigint),
    bdr.extract_localseqid_from_timeshard(bigint), bdr.timestamp_to_timeshard(timestamptz),
    bdr.gen_ksuuid_v2(timestamptz), bdr.ksuuid_v2_cmp(uuid, uuid), bdr.extract_timestamp_from_ksuuid_v2(uuid),
    bdr.internal_may_read(oid, xid), bdr.internal_has_role(name), bdr.ddl_commands() TO PUBLIC;
