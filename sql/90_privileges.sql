-- Connection strings may hold passwords: the tables are for superusers until roles come.
REVOKE ALL ON ALL TABLES IN SCHEMA bdr FROM PUBLIC;
