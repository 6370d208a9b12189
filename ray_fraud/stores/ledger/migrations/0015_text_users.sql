-- Users whose id is text: whose number is whose. A row is written before the first effect of a user's records.

CREATE TABLE text_users (
    user_id   bigint PRIMARY KEY,
    user_text text   NOT NULL
);
COMMENT ON TABLE text_users IS 'The text of each user whose id is text; user_id is its keyed digest.';

CREATE TABLE text_users_refused (
    user_text text   PRIMARY KEY,
    user_id   bigint NOT NULL
);
COMMENT ON TABLE text_users_refused IS
    'Texts whose digest is another text''s: their records are dead letters. Hardly ever a row.';

CREATE TABLE text_user_key (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    fingerprint text    NOT NULL
);
COMMENT ON TABLE text_user_key IS 'Tells whether the key of the digests is still the same; nothing of the key.';
