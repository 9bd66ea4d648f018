-- +goose Up
-- The release that an image is built on, and the trigger of ours that made somebody ask for it.
ALTER TABLE releases ADD COLUMN parent JSON NOT NULL DEFAULT 'null';
ALTER TABLE releases ADD COLUMN cause TEXT COLLATE "C" NOT NULL DEFAULT '';

-- What a run tried to make an image from.
ALTER TABLE jobs ADD COLUMN basis TEXT COLLATE "C" NOT NULL DEFAULT '';
