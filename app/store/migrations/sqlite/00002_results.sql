-- +goose Up
CREATE TABLE run (
    num         INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    protocol    TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    transport   TEXT    NOT NULL,
    direction   BIGINT  NOT NULL,
    account     TEXT    NOT NULL,
    login       TEXT    NOT NULL,
    address     TEXT    NOT NULL,
    port        BIGINT  NOT NULL,
    target      TEXT    NOT NULL,
    streams     BIGINT  NOT NULL,
    started     BIGINT  NOT NULL,
    ended       BIGINT,
    elapsed     BIGINT,
    bytes_in    BIGINT,
    bytes_out   BIGINT,
    lost        BIGINT,
    cpu_local   DOUBLE PRECISION,
    cpu_remote  DOUBLE PRECISION,
    reason      TEXT    NOT NULL,
    error       TEXT    NOT NULL
);
CREATE INDEX run_started ON run (started);
CREATE INDEX run_address ON run (address, started);
CREATE INDEX run_account ON run (account, started);
CREATE TABLE run_interval (
    run        BIGINT NOT NULL REFERENCES run (num) ON DELETE CASCADE,
    width      BIGINT NOT NULL, -- ns: 1 s and about, 1 min, 1 h
    start      BIGINT NOT NULL, -- ns since the first data of the run
    direction  BIGINT NOT NULL,
    length     BIGINT NOT NULL, -- ns that it covers
    bytes      BIGINT,
    packets    BIGINT,
    lost       BIGINT,
    rate_min   BIGINT,          -- bit/s, of the intervals that went into it
    rate_max   BIGINT,
    rates      BLOB,            -- their distribution, HdrHistogram V2 compressed; only of rolled-up rows
    rtt_mean   BIGINT,          -- ns
    rtt_max    BIGINT,
    cpu_local  DOUBLE PRECISION,
    cpu_remote DOUBLE PRECISION,
    at         BIGINT NOT NULL, -- ns since 1970: its end, for retention
    PRIMARY KEY (run, width, start, direction)
) WITHOUT ROWID;
CREATE INDEX run_interval_at ON run_interval (width, at);
CREATE TABLE refusal (
    num      INTEGER PRIMARY KEY AUTOINCREMENT,
    at       BIGINT NOT NULL,
    protocol TEXT   NOT NULL,
    account  TEXT   NOT NULL,
    address  TEXT   NOT NULL,
    word     TEXT   NOT NULL,
    text     TEXT   NOT NULL,
    used     BIGINT,
    cap      BIGINT,
    until    BIGINT
);
CREATE INDEX refusal_at ON refusal (at);
CREATE INDEX refusal_address ON refusal (address, at);
CREATE INDEX refusal_account ON refusal (account, at);
