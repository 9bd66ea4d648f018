-- +goose Up
-- Inputs and documents are both content that several releases may share.
ALTER TABLE inputs RENAME TO blobs;

ALTER TABLE releases ADD COLUMN compliance TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(compliance));
ALTER TABLE releases ADD COLUMN scan TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(scan));
ALTER TABLE releases ADD COLUMN decision TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(decision));

CREATE TABLE documents (
    release_id TEXT NOT NULL REFERENCES releases (id),
    kind       TEXT NOT NULL,
    name       TEXT NOT NULL,
    platform   TEXT NOT NULL,
    media_type TEXT NOT NULL,
    digest     TEXT NOT NULL REFERENCES blobs (digest),
    PRIMARY KEY (release_id, kind, name)
);

-- The locks' packages, to be asked by name.
CREATE TABLE packages (
    release_id     TEXT NOT NULL REFERENCES releases (id),
    platform       TEXT NOT NULL,
    name           TEXT NOT NULL,
    version        TEXT NOT NULL,
    source         TEXT NOT NULL, -- never empty
    source_version TEXT NOT NULL, -- likewise
    arch           TEXT NOT NULL,
    PRIMARY KEY (release_id, platform, name, arch)
) WITHOUT ROWID;
CREATE INDEX packages_name ON packages (name);
CREATE INDEX packages_source ON packages (source);
INSERT OR IGNORE INTO packages
SELECT releases.id, locked.value ->> 'platform', package.value ->> 'name', package.value ->> 'version',
       coalesce(nullif(package.value ->> 'source', ''), package.value ->> 'name'),
       coalesce(nullif(package.value ->> 'sourceVersion', ''), package.value ->> 'version'), package.value ->> 'arch'
FROM releases, json_each(releases.lock, '$.platforms') AS locked, json_each(locked.value, '$.packages') AS package;

CREATE TABLE scans (
    seq        INTEGER PRIMARY KEY NOT NULL, -- the order in which they were recorded
    release_id TEXT NOT NULL REFERENCES releases (id),
    at         TIMESTAMP NOT NULL,
    scanner    TEXT NOT NULL,
    database   TEXT NOT NULL CHECK (json_valid(database)),
    packages   INTEGER NOT NULL,
    counts     TEXT NOT NULL CHECK (json_valid(counts)) -- findings by severity
);
CREATE INDEX scans_release ON scans (release_id, seq DESC);

-- What is remembered of a finding across an image's releases.
CREATE TABLE findings (
    image         TEXT NOT NULL,
    vulnerability TEXT NOT NULL,
    package       TEXT NOT NULL,
    source        TEXT NOT NULL, -- never empty
    severity      TEXT NOT NULL,
    first_seen    TIMESTAMP NOT NULL,
    fix_seen      TIMESTAMP,
    last_seen     TIMESTAMP NOT NULL,
    fixed_since   TIMESTAMP, -- NULL = open
    kind          TEXT NOT NULL, -- of the data that saw it last
    updated       TIMESTAMP NOT NULL, -- likewise
    finding       TEXT NOT NULL CHECK (json_valid(finding)),
    PRIMARY KEY (image, vulnerability, package)
);
CREATE INDEX findings_vulnerability ON findings (vulnerability);
CREATE INDEX findings_package ON findings (package);
CREATE INDEX findings_source ON findings (source);

-- What each release's last scan found.
CREATE TABLE occurrences (
    release_id    TEXT NOT NULL REFERENCES releases (id),
    image         TEXT NOT NULL,
    vulnerability TEXT NOT NULL,
    package       TEXT NOT NULL,
    finding       TEXT NOT NULL CHECK (json_valid(finding)),
    PRIMARY KEY (release_id, vulnerability, package)
);
CREATE INDEX occurrences_finding ON occurrences (image, vulnerability, package);

CREATE TABLE ledger (
    seq        INTEGER PRIMARY KEY NOT NULL, -- the order in which they were recorded
    id         TEXT NOT NULL UNIQUE,
    release_id TEXT NOT NULL,
    image      TEXT NOT NULL,
    repository TEXT NOT NULL,
    digest     TEXT NOT NULL,
    env        TEXT NOT NULL,
    tag        TEXT NOT NULL,
    at         TIMESTAMP NOT NULL,
    actor      TEXT NOT NULL,
    run_id     TEXT NOT NULL,
    reason     TEXT NOT NULL,
    revoked    BOOLEAN NOT NULL,
    decision   TEXT NOT NULL CHECK (json_valid(decision))
);
CREATE UNIQUE INDEX ledger_tag ON ledger (repository, tag) WHERE NOT revoked; -- a tag never moves
CREATE INDEX ledger_image ON ledger (image, env, seq DESC);
CREATE INDEX ledger_digest ON ledger (repository, digest);
CREATE INDEX ledger_release ON ledger (release_id);
CREATE INDEX ledger_by_tag ON ledger (tag);
INSERT INTO ledger (id, release_id, image, repository, digest, env, tag, at, actor, run_id, reason, revoked, decision)
SELECT id, id, image, repository, digest, substr(tag, 19), tag, created, run_id, run_id, reason, false, '{}' FROM releases ORDER BY created, id;

-- +goose StatementBegin
CREATE TRIGGER ledger_stays BEFORE UPDATE ON ledger BEGIN SELECT raise(ABORT, 'the ledger is only added to'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER ledger_remains BEFORE DELETE ON ledger BEGIN SELECT raise(ABORT, 'the ledger is only added to'); END;
-- +goose StatementEnd
