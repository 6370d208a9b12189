-- Newest features as arrays of numbers: as JSON they were most of what a batch wrote to this database.

CREATE TABLE feature_catalogues (
    catalogue text   PRIMARY KEY,
    names     text[] NOT NULL
);
COMMENT ON TABLE feature_catalogues IS 'Names of the features, in the order of the arrays of user_feature_values.';

CREATE TABLE user_feature_values (
    user_id      bigint      PRIMARY KEY,
    event_time   timestamptz NOT NULL,
    catalogue    text        NOT NULL,
    "values"     real[]      NOT NULL,
    cluster_id   text        NOT NULL,
    topic_id     text        NOT NULL,
    partition    integer     NOT NULL,
    kafka_offset bigint      NOT NULL
);
COMMENT ON TABLE user_feature_values IS
    'The features of each user''s last transaction in the log; NaN is missing. View user_features has the names.';

INSERT INTO feature_catalogues
SELECT DISTINCT 'before-0010-' || md5(names::text), names
FROM (SELECT ARRAY(SELECT jsonb_object_keys(features)) AS names FROM user_features) AS of_users;

INSERT INTO user_feature_values
SELECT user_id, event_time, 'before-0010-' || md5(ARRAY(SELECT jsonb_object_keys(features))::text),
    ARRAY(SELECT coalesce(value, 'NaN')::real FROM jsonb_each_text(features)),
    cluster_id, topic_id, partition, kafka_offset
FROM user_features;

DROP TABLE user_features;

CREATE VIEW user_features AS
SELECT user_id, event_time,
    (
        SELECT jsonb_object_agg(name, nullif(value, 'NaN')) FROM unnest(names, "values") AS pair (name, value)
    ) AS features,
    cluster_id, topic_id, partition, kafka_offset
FROM user_feature_values JOIN feature_catalogues USING (catalogue);
COMMENT ON VIEW user_features IS
    'The features of each user''s last transaction in the log by name, for review; all of them are in the lake.';
