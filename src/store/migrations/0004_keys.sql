-- API keys: named limits, and what of their secrets may be shown.

ALTER TABLE integration_tokens ADD COLUMN limits TEXT NOT NULL DEFAULT '[]'; -- JSON: [{"name","requests","window"}]
ALTER TABLE integration_tokens ADD COLUMN token_last4 TEXT;     -- NULL: made before this was kept
ALTER TABLE integration_tokens ADD COLUMN previous_prefix TEXT; -- of previous_hash
ALTER TABLE integration_tokens ADD COLUMN previous_last4 TEXT;
