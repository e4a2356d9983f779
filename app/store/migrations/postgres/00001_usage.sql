-- +goose Up
CREATE TABLE usage (
    subject   TEXT   NOT NULL,
    width     BIGINT NOT NULL, -- ns: how long the bucket is
    start     BIGINT NOT NULL, -- ns since 1970, UTC
    bytes_in  BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    PRIMARY KEY (subject, width, start)
);
CREATE INDEX usage_start ON usage (width, start);
CREATE TABLE usage_turn (
    subject TEXT   NOT NULL PRIMARY KEY,
    turn    BIGINT NOT NULL -- whoever updates the row has the subject's books to itself
);
CREATE TABLE lease (
    id        TEXT   NOT NULL PRIMARY KEY,
    subject   TEXT   NOT NULL,
    server    TEXT   NOT NULL,
    bytes_in  BIGINT NOT NULL, -- moved since it was opened, and booked
    bytes_out BIGINT NOT NULL,
    hold_both BIGINT NOT NULL, -- in hand
    hold_in   BIGINT NOT NULL,
    hold_out  BIGINT NOT NULL,
    expires   BIGINT NOT NULL
);
CREATE INDEX lease_subject ON lease (subject, expires);
CREATE INDEX lease_expires ON lease (expires);
