-- +goose Up
CREATE TABLE account (
    name     TEXT   NOT NULL PRIMARY KEY,
    disabled BIGINT NOT NULL,
    duration BIGINT,          -- ns: longest test; NULL leaves it to the server, as of the next two
    tests    BIGINT,          -- at once
    rate     BIGINT,          -- bit/s
    record   BYTEA,           -- of EC-SRP5, sealed; NULL: no login
    password BYTEA,           -- sealed; NULL: MD5 is refused
    created  BIGINT NOT NULL, -- ns since 1970, UTC
    changed  BIGINT NOT NULL
);
CREATE TABLE account_quota (
    account TEXT   NOT NULL REFERENCES account (name) ON DELETE CASCADE,
    period  TEXT   NOT NULL,
    flow    TEXT   NOT NULL,
    bytes   BIGINT NOT NULL, -- 0: no limit
    PRIMARY KEY (account, period, flow)
);
CREATE TABLE login ( -- of the dashboard
    name    TEXT   NOT NULL PRIMARY KEY,
    role    TEXT   NOT NULL,
    hash    TEXT   NOT NULL, -- argon2id
    created BIGINT NOT NULL
);
CREATE TABLE token ( -- of the API
    name    TEXT   NOT NULL PRIMARY KEY,
    role    TEXT   NOT NULL,
    hash    BYTEA  NOT NULL UNIQUE, -- SHA-256
    created BIGINT NOT NULL,
    expires BIGINT           -- NULL: never
);
CREATE TABLE seal ( -- a known text, sealed: tells the right key from another
    id    BIGINT NOT NULL PRIMARY KEY,
    proof BYTEA  NOT NULL
);
