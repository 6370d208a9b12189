-- What batches know about merchants and users: which tables are the newest, and the newest values per user.

CREATE TABLE feature_refresh (
    refresh_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest       text        NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
    published_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE feature_refresh IS
    'Feature tables that batches published; the timelines say from which offset each held.';

CREATE TABLE user_features (
    user_id    bigint      PRIMARY KEY,
    event_time timestamptz NOT NULL,
    features   jsonb       NOT NULL,
    cluster_id text        NOT NULL,
    topic_id   text        NOT NULL,
    partition  integer     NOT NULL,
    kafka_offset bigint    NOT NULL
);
COMMENT ON TABLE user_features IS
    'The features of each user''s last transaction in the log, for review; all of them are in the lake.';
