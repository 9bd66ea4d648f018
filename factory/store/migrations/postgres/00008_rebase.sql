-- +goose Up
-- How a release came to be whose base was exchanged; null = it was built.
ALTER TABLE releases ADD COLUMN rebased JSON NOT NULL DEFAULT 'null';
