-- The default team comes with the schema and had no time of its own: it is as old as the database.
-- {sqlite}
UPDATE team SET created_ms = CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) WHERE created_ms = 0;
-- {postgres}
UPDATE team SET created_ms = CAST(extract(epoch FROM now()) * 1000 AS BIGINT) WHERE created_ms = 0;
-- {both}
UPDATE team SET updated_ms = created_ms WHERE updated_ms < created_ms;
