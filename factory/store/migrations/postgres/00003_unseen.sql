-- +goose Up
-- Packages that a scan's data knows nothing about. Scans from before looked at all, as far as anybody can tell.
ALTER TABLE scans ADD COLUMN not_looked_at JSON NOT NULL DEFAULT '[]';
