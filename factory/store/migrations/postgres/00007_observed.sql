-- +goose Up
-- Images in registries that are built on ours, each as it was last seen, and the last look at each repository.
CREATE TABLE observed (
    repository TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    created    TIMESTAMPTZ,         -- NULL: the image does not say
    image      TEXT COLLATE "C" NOT NULL,
    release_id TEXT COLLATE "C" NOT NULL,
    base       TEXT COLLATE "C" NOT NULL,
    found_by   TEXT COLLATE "C" NOT NULL,
    layers     BIGINT NOT NULL,
    of_layers  BIGINT NOT NULL,
    dependent  TEXT COLLATE "C" NOT NULL,
    at         TIMESTAMPTZ NOT NULL,
    gone       TIMESTAMPTZ,         -- NULL: it is still there, as far as is known
    PRIMARY KEY (repository, tag, digest)
);
CREATE INDEX observed_image ON observed (image);

CREATE TABLE looks (
    repository TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    at         TIMESTAMPTZ NOT NULL,
    tags       BIGINT NOT NULL,
    read       BIGINT NOT NULL,
    found      BIGINT NOT NULL,
    problem    TEXT COLLATE "C" NOT NULL
);
