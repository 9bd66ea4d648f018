-- +goose Up
-- The release that an image is built on, and the trigger of ours that made somebody ask for it.
ALTER TABLE releases ADD COLUMN parent TEXT NOT NULL DEFAULT 'null' CHECK (json_valid(parent));
ALTER TABLE releases ADD COLUMN cause TEXT NOT NULL DEFAULT '';

-- What a run tried to make an image from.
ALTER TABLE jobs ADD COLUMN basis TEXT NOT NULL DEFAULT '';
