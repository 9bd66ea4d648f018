-- +goose Up
-- What became of a canary that was told, and by which name its server knows the build that it began.
ALTER TABLE triggers ADD COLUMN handle TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE triggers ADD COLUMN fate TEXT COLLATE "C" NOT NULL DEFAULT '' CHECK (fate IN ('', 'failed', 'excused'));
