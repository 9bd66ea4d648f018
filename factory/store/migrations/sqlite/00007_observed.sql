-- +goose Up
-- Images in registries that are built on ours, each as it was last seen, and the last look at each repository.
CREATE TABLE observed (
    repository TEXT NOT NULL,
    tag        TEXT NOT NULL,
    digest     TEXT NOT NULL,
    created    TIMESTAMP,           -- NULL: the image does not say
    image      TEXT NOT NULL,
    release_id TEXT NOT NULL,
    base       TEXT NOT NULL,
    found_by   TEXT NOT NULL,
    layers     INTEGER NOT NULL,
    of_layers  INTEGER NOT NULL,
    dependent  TEXT NOT NULL,
    at         TIMESTAMP NOT NULL,
    gone       TIMESTAMP,           -- NULL: it is still there, as far as is known
    PRIMARY KEY (repository, tag, digest)
);
CREATE INDEX observed_image ON observed (image);

CREATE TABLE looks (
    repository TEXT PRIMARY KEY NOT NULL,
    at         TIMESTAMP NOT NULL,
    tags       INTEGER NOT NULL,
    read       INTEGER NOT NULL,
    found      INTEGER NOT NULL,
    problem    TEXT NOT NULL
);
