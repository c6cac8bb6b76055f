-- The service's tables. It may be run again: what is there stays.

-- What keys may be used for, as the field limits of a record has it (docs/commands.md, Records). Each key has its own: what
-- is taken is kept with its usage counter in Redis.
CREATE TABLE IF NOT EXISTS plan (
    name text PRIMARY KEY,
    limits jsonb NOT NULL
);
INSERT INTO plan VALUES ('prepaid', '[
    {"name": "second", "units": 10, "per": 1000, "burst": 20},
    {"name": "month", "quota": 100000, "period": "month"},
    {"name": "credits", "credits": true}
]') ON CONFLICT DO NOTHING;

CREATE TABLE IF NOT EXISTS api_key (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id text NOT NULL,
    name text,
    key_prefix text NOT NULL UNIQUE,
    -- SHA-256 of the secret, in hex. The secret itself is nowhere.
    key_hash text NOT NULL,
    -- The digest of before the last rotation, and until when it is accepted.
    old_hash text,
    old_until timestamptz,
    scopes text[] NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    expires_at timestamptz,
    -- Without one it has no limits.
    plan text REFERENCES plan,
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((old_hash IS NULL) = (old_until IS NULL))
);
CREATE INDEX IF NOT EXISTS api_key_user ON api_key (user_id);

-- A key as the cache is told it: both digests in one field, each with its end (docs/commands.md, Records). Of a digest
-- that is null nothing is taken.
CREATE OR REPLACE VIEW api_key_row AS
    SELECT id, user_id, api_key.name, key_prefix, scopes, is_active, expires_at, created_at,
        json_build_array(key_hash, json_build_object('digest', old_hash, 'until', old_until)) AS key_hash,
        limits
    FROM api_key LEFT JOIN plan ON plan.name = api_key.plan;

-- What was changed above and Redis has not been told yet. A change and its note are written by one transaction.
CREATE TABLE IF NOT EXISTS outbox (
    id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    change jsonb NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now(),
    -- A note that could not be told waits by itself, and the others go on.
    failures integer NOT NULL DEFAULT 0,
    next_try_at timestamptz NOT NULL DEFAULT now(),
    -- Why it can never be told. Such a note is set aside, for whoever mends it.
    error text
);

-- Every line of usage that was handed over. Its primary key is the guard against counting one twice; when old ones may
-- go stands in examples/usage_to_postgres/drain.py.
CREATE TABLE IF NOT EXISTS usage_line (
    line text PRIMARY KEY,
    batch text NOT NULL,
    key_prefix text NOT NULL,
    count bigint NOT NULL,
    written_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS usage_line_written_at ON usage_line (written_at);

-- The uses of each key, also of one that is deleted.
CREATE TABLE IF NOT EXISTS usage_total (
    key_prefix text PRIMARY KEY,
    total bigint NOT NULL,
    last_used_at timestamptz NOT NULL
);

-- Credits that were paid for. The payment's id is the guard against giving them twice.
CREATE TABLE IF NOT EXISTS payment (
    id text PRIMARY KEY,
    key_prefix text NOT NULL,
    credits bigint NOT NULL,
    paid_at timestamptz NOT NULL DEFAULT now()
);
