-- +goose Up
-- Messages to whoever builds on our images: written together with what they tell of, and delivered afterwards.
CREATE TABLE triggers (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    key        TEXT COLLATE "C" NOT NULL UNIQUE, -- of dependent, digest and environment: nobody is told the same thing twice
    dependent  TEXT COLLATE "C" NOT NULL,
    image      TEXT COLLATE "C" NOT NULL,
    release_id TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    env        TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    urgent     BOOLEAN NOT NULL,
    canary     BOOLEAN NOT NULL,
    cause      TEXT COLLATE "C" NOT NULL,
    state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead', 'superseded')),
    attempts   BIGINT NOT NULL,
    created    TIMESTAMPTZ NOT NULL,
    due        TIMESTAMPTZ NOT NULL,
    ended      TIMESTAMPTZ,
    answer     TEXT COLLATE "C" NOT NULL,
    url        TEXT COLLATE "C" NOT NULL,
    done       BOOLEAN NOT NULL,
    claimed    TIMESTAMPTZ -- until then somebody is delivering it
);
CREATE INDEX triggers_state ON triggers (state, due);
CREATE INDEX triggers_dependent ON triggers (dependent, env);
CREATE INDEX triggers_digest ON triggers (repository, digest, env);
