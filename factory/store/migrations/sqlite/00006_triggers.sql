-- +goose Up
-- Messages to whoever builds on our images: written together with what they tell of, and delivered afterwards.
CREATE TABLE triggers (
    id         TEXT PRIMARY KEY NOT NULL,
    key        TEXT NOT NULL UNIQUE, -- of dependent, digest and environment: nobody is told the same thing twice
    dependent  TEXT NOT NULL,
    image      TEXT NOT NULL,
    release_id TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    tag        TEXT NOT NULL,
    env        TEXT NOT NULL,
    reason     TEXT NOT NULL,
    urgent     BOOLEAN NOT NULL,
    canary     BOOLEAN NOT NULL,
    cause      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead', 'superseded')),
    attempts   INTEGER NOT NULL,
    created    TIMESTAMP NOT NULL,
    due        TIMESTAMP NOT NULL,
    ended      TIMESTAMP,
    answer     TEXT NOT NULL,
    url        TEXT NOT NULL,
    done       BOOLEAN NOT NULL,
    claimed    TIMESTAMP -- until then somebody is delivering it
);
CREATE INDEX triggers_state ON triggers (state, due);
CREATE INDEX triggers_dependent ON triggers (dependent, env);
CREATE INDEX triggers_digest ON triggers (repository, digest, env);
