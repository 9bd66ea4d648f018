-- +goose Up
-- What became of a canary that was told, and by which name its server knows the build that it began.
ALTER TABLE triggers ADD COLUMN handle TEXT NOT NULL DEFAULT '';
ALTER TABLE triggers ADD COLUMN fate TEXT NOT NULL DEFAULT '' CHECK (fate IN ('', 'failed', 'excused'));
