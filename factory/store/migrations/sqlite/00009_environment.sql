-- +goose Up
-- Which environment a run's releases are for; empty = it ran before anybody noted that.
ALTER TABLE runs ADD COLUMN env TEXT NOT NULL DEFAULT '';
