-- +goose Up
-- What the lease is wanted for by somebody who waits for it, and until when that counts.
ALTER TABLE leases ADD COLUMN wanted TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN wanted_until TIMESTAMP;
