-- What drain.py and `apikeyctl drain` write. Keys are bytes, as in Redis; encode(key, 'escape') shows them as text.

-- Every line of usage that was handed over. Its primary key is the guard against counting a line twice;
-- drain.py and docs/operating.md say when old ones may go.
CREATE TABLE IF NOT EXISTS usage_line (
    line text PRIMARY KEY,
    batch text NOT NULL,
    key bytea NOT NULL,
    count bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS usage_line_written_at_idx ON usage_line (written_at);

-- The uses of each key, and the last of them. A counter that is deleted begins anew; its total here goes on.
CREATE TABLE IF NOT EXISTS usage_total (
    key bytea PRIMARY KEY,
    total numeric NOT NULL,
    last_used_at timestamptz NOT NULL
);
