-- +goose Up
PRAGMA application_id = 1179209044; -- "FIMT": tells this file from other programs' databases

CREATE TABLE runs (
    id       TEXT PRIMARY KEY NOT NULL,
    command  TEXT NOT NULL,
    host     TEXT NOT NULL,
    pid      INTEGER NOT NULL,
    started  TIMESTAMP NOT NULL,
    finished TIMESTAMP,
    state    TEXT NOT NULL CHECK (state IN ('running', 'succeeded', 'partial', 'failed', 'interrupted')),
    verdict  TEXT NOT NULL
);
CREATE INDEX runs_started ON runs (started DESC, id DESC);

CREATE TABLE jobs (
    run_id     TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    image      TEXT NOT NULL,
    action     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    release_id TEXT NOT NULL,
    ref        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    error      TEXT NOT NULL,
    steps      TEXT NOT NULL CHECK (json_valid(steps)),
    PRIMARY KEY (run_id, image)
);
CREATE INDEX jobs_image ON jobs (image);

CREATE TABLE leases (
    name       TEXT PRIMARY KEY NOT NULL,
    generation INTEGER NOT NULL, -- grows with every acquisition and never comes back
    held       BOOLEAN NOT NULL,
    run_id     TEXT NOT NULL,
    command    TEXT NOT NULL,
    host       TEXT NOT NULL,
    pid        INTEGER NOT NULL,
    since      TIMESTAMP NOT NULL,
    expires    TIMESTAMP NOT NULL
);

CREATE TABLE inputs (
    digest TEXT PRIMARY KEY NOT NULL, -- of the tar, before compression
    size   INTEGER NOT NULL,          -- of the tar
    gzip   BLOB NOT NULL
);

CREATE TABLE releases (
    id         TEXT PRIMARY KEY NOT NULL,
    image      TEXT NOT NULL,
    owner      TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    tag        TEXT NOT NULL,
    reason     TEXT NOT NULL,
    created    TIMESTAMP NOT NULL,
    run_id     TEXT NOT NULL,
    supersedes TEXT NOT NULL,
    content    TEXT NOT NULL, -- digest of everything in the row and of the inputs
    inputs     TEXT REFERENCES inputs (digest),
    source     TEXT NOT NULL CHECK (json_valid(source)),
    artifact   TEXT NOT NULL CHECK (json_valid(artifact)),
    lock       TEXT NOT NULL CHECK (json_valid(lock)),
    controls   TEXT NOT NULL CHECK (json_valid(controls)),
    tests      TEXT NOT NULL CHECK (json_valid(tests)),
    signatures TEXT NOT NULL CHECK (json_valid(signatures)),
    steps      TEXT NOT NULL CHECK (json_valid(steps)),
    UNIQUE (repository, tag)
);
CREATE INDEX releases_image ON releases (image, created DESC, id DESC);
CREATE INDEX releases_created ON releases (created DESC, id DESC);
CREATE INDEX releases_digest ON releases (digest);
CREATE INDEX releases_tag ON releases (tag);
CREATE INDEX releases_run ON releases (run_id);
