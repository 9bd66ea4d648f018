-- +goose Up
-- Inputs and documents are both content that several releases may share.
ALTER TABLE inputs RENAME TO blobs;

ALTER TABLE releases ADD COLUMN compliance JSON NOT NULL DEFAULT '{}';
ALTER TABLE releases ADD COLUMN scan JSON NOT NULL DEFAULT '{}';
ALTER TABLE releases ADD COLUMN decision JSON NOT NULL DEFAULT '{}';

CREATE TABLE documents (
    release_id TEXT COLLATE "C" NOT NULL REFERENCES releases (id),
    kind       TEXT COLLATE "C" NOT NULL,
    name       TEXT COLLATE "C" NOT NULL,
    platform   TEXT COLLATE "C" NOT NULL,
    media_type TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL REFERENCES blobs (digest),
    PRIMARY KEY (release_id, kind, name)
);

-- The locks' packages, to be asked by name.
CREATE TABLE packages (
    release_id     TEXT COLLATE "C" NOT NULL REFERENCES releases (id),
    platform       TEXT COLLATE "C" NOT NULL,
    name           TEXT COLLATE "C" NOT NULL,
    version        TEXT COLLATE "C" NOT NULL,
    source         TEXT COLLATE "C" NOT NULL, -- never empty
    source_version TEXT COLLATE "C" NOT NULL, -- likewise
    arch           TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (release_id, platform, name, arch)
);
CREATE INDEX packages_name ON packages (name);
CREATE INDEX packages_source ON packages (source);
INSERT INTO packages
SELECT releases.id, locked ->> 'platform', package ->> 'name', package ->> 'version',
       coalesce(nullif(package ->> 'source', ''), package ->> 'name'),
       coalesce(nullif(package ->> 'sourceVersion', ''), package ->> 'version'), package ->> 'arch'
FROM releases,
     json_array_elements(CASE json_typeof(releases.lock -> 'platforms') WHEN 'array' THEN releases.lock -> 'platforms' ELSE '[]' END) AS locked,
     json_array_elements(CASE json_typeof(locked -> 'packages') WHEN 'array' THEN locked -> 'packages' ELSE '[]' END) AS package
ON CONFLICT DO NOTHING;

CREATE TABLE scans (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order in which they were recorded
    release_id TEXT COLLATE "C" NOT NULL REFERENCES releases (id),
    at         TIMESTAMPTZ NOT NULL,
    scanner    TEXT COLLATE "C" NOT NULL,
    database   JSON NOT NULL,
    packages   BIGINT NOT NULL,
    counts     JSON NOT NULL -- findings by severity
);
CREATE INDEX scans_release ON scans (release_id, seq DESC);

-- What is remembered of a finding across an image's releases.
CREATE TABLE findings (
    image         TEXT COLLATE "C" NOT NULL,
    vulnerability TEXT COLLATE "C" NOT NULL,
    package       TEXT COLLATE "C" NOT NULL,
    source        TEXT COLLATE "C" NOT NULL, -- never empty
    severity      TEXT COLLATE "C" NOT NULL,
    first_seen    TIMESTAMPTZ NOT NULL,
    fix_seen      TIMESTAMPTZ,
    last_seen     TIMESTAMPTZ NOT NULL,
    fixed_since   TIMESTAMPTZ, -- NULL = open
    kind          TEXT COLLATE "C" NOT NULL, -- of the data that saw it last
    updated       TIMESTAMPTZ NOT NULL, -- likewise
    finding       JSON NOT NULL,
    PRIMARY KEY (image, vulnerability, package)
);
CREATE INDEX findings_vulnerability ON findings (vulnerability);
CREATE INDEX findings_package ON findings (package);
CREATE INDEX findings_source ON findings (source);

-- What each release's last scan found.
CREATE TABLE occurrences (
    release_id    TEXT COLLATE "C" NOT NULL REFERENCES releases (id),
    image         TEXT COLLATE "C" NOT NULL,
    vulnerability TEXT COLLATE "C" NOT NULL,
    package       TEXT COLLATE "C" NOT NULL,
    finding       JSON NOT NULL,
    PRIMARY KEY (release_id, vulnerability, package)
);
CREATE INDEX occurrences_finding ON occurrences (image, vulnerability, package);

CREATE TABLE ledger (
    seq        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the order in which they were recorded
    id         TEXT COLLATE "C" NOT NULL UNIQUE,
    release_id TEXT COLLATE "C" NOT NULL,
    image      TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    digest     TEXT COLLATE "C" NOT NULL,
    env        TEXT COLLATE "C" NOT NULL,
    tag        TEXT COLLATE "C" NOT NULL,
    at         TIMESTAMPTZ NOT NULL,
    actor      TEXT COLLATE "C" NOT NULL,
    run_id     TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    revoked    BOOLEAN NOT NULL,
    decision   JSON NOT NULL
);
CREATE UNIQUE INDEX ledger_tag ON ledger (repository, tag) WHERE NOT revoked; -- a tag never moves
CREATE INDEX ledger_image ON ledger (image, env, seq DESC);
CREATE INDEX ledger_digest ON ledger (repository, digest);
CREATE INDEX ledger_release ON ledger (release_id);
CREATE INDEX ledger_by_tag ON ledger (tag);
INSERT INTO ledger (id, release_id, image, repository, digest, env, tag, at, actor, run_id, reason, revoked, decision)
SELECT id, id, image, repository, digest, substr(tag, 19), tag, created, run_id, run_id, reason, false, '{}' FROM releases ORDER BY created, id;

-- +goose StatementBegin
CREATE FUNCTION ledger_stays() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the ledger is only added to' USING ERRCODE = '23000'; END $$;
-- +goose StatementEnd
CREATE TRIGGER ledger_stays BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger EXECUTE FUNCTION ledger_stays();
