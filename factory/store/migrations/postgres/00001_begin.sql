-- +goose Up
-- JSON, not JSONB: what was recorded comes back byte for byte, \u0000 included. COLLATE "C": prefixes are looked up as
-- ranges of bytes.
CREATE TABLE runs (
    id       TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    command  TEXT COLLATE "C" NOT NULL,
    host     TEXT COLLATE "C" NOT NULL,
    pid      BIGINT NOT NULL,
    started  TIMESTAMPTZ NOT NULL,
    finished TIMESTAMPTZ,
    state    TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'succeeded', 'partial', 'failed', 'interrupted')),
    verdict  TEXT COLLATE "C" NOT NULL
);
CREATE INDEX runs_started ON runs (started DESC, id DESC);

CREATE TABLE jobs (
    run_id     TEXT COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    image      TEXT COLLATE "C" NOT NULL,
    action     TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    release_id TEXT COLLATE "C" NOT NULL,
    ref        TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    error      TEXT COLLATE "C" NOT NULL,
    steps      JSON NOT NULL,
    PRIMARY KEY (run_id, image)
);
CREATE INDEX jobs_image ON jobs (image);

CREATE TABLE leases (
    name       TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    generation BIGINT NOT NULL, -- grows with every acquisition and never comes back
    held       BOOLEAN NOT NULL,
    run_id     TEXT COLLATE "C" NOT NULL,
    command    TEXT COLLATE "C" NOT NULL,
    host       TEXT COLLATE "C" NOT NULL,
    pid        BIGINT NOT NULL,
    since      TIMESTAMPTZ NOT NULL,
    expires    TIMESTAMPTZ NOT NULL
);

CREATE TABLE inputs (
    digest TEXT COLLATE "C" PRIMARY KEY NOT NULL, -- of the tar, before compression
    size   BIGINT NOT NULL,          -- of the tar
    gzip   BYTEA NOT NULL
);

CREATE TABLE releases (
    id         TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    image      TEXT COLLATE "C" NOT NULL,
    owner      TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    created    TIMESTAMPTZ NOT NULL,
    run_id     TEXT COLLATE "C" NOT NULL,
    supersedes TEXT COLLATE "C" NOT NULL,
    content    TEXT COLLATE "C" NOT NULL, -- digest of everything in the row and of the inputs
    inputs     TEXT COLLATE "C" REFERENCES inputs (digest),
    source     JSON NOT NULL,
    artifact   JSON NOT NULL,
    lock       JSON NOT NULL,
    controls   JSON NOT NULL,
    tests      JSON NOT NULL,
    signatures JSON NOT NULL,
    steps      JSON NOT NULL,
    UNIQUE (repository, tag)
);
CREATE INDEX releases_image ON releases (image, created DESC, id DESC);
CREATE INDEX releases_created ON releases (created DESC, id DESC);
CREATE INDEX releases_digest ON releases (digest);
CREATE INDEX releases_tag ON releases (tag);
CREATE INDEX releases_run ON releases (run_id);
