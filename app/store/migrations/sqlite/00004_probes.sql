-- +goose Up
CREATE TABLE probe (
    num      INTEGER PRIMARY KEY AUTOINCREMENT,
    name     TEXT   NOT NULL UNIQUE,
    protocol TEXT   NOT NULL,
    target   TEXT   NOT NULL,
    every    BIGINT NOT NULL, -- ns
    state    TEXT   NOT NULL, -- unknown, ok, failed
    since    BIGINT NOT NULL, -- of the state
    run      BIGINT           -- probe_run.num of the latest
);
CREATE TABLE probe_run (
    num       INTEGER PRIMARY KEY AUTOINCREMENT,
    id        TEXT   NOT NULL UNIQUE,
    probe     BIGINT NOT NULL REFERENCES probe (num) ON DELETE CASCADE,
    started   BIGINT NOT NULL,
    took      BIGINT NOT NULL,
    bytes     BIGINT NOT NULL,
    success   BIGINT NOT NULL, -- 0 or 1
    state     TEXT   NOT NULL, -- of the probe after it
    word      TEXT   NOT NULL, -- of the error or of the threshold; empty for none
    error     TEXT   NOT NULL,
    why       TEXT   NOT NULL,
    down      BIGINT,          -- bit/s
    up        BIGINT,
    sent      BIGINT,          -- packets
    lost      BIGINT,
    rtt_count BIGINT,          -- round trips of packets, or of an idle line; ns
    rtt_min   BIGINT,
    rtt_p50   BIGINT,
    rtt_p90   BIGINT,
    rtt_p99   BIGINT,
    rtt_max   BIGINT,
    load_count BIGINT,         -- the same under load
    load_min  BIGINT,
    load_p50  BIGINT,
    load_p90  BIGINT,
    load_p99  BIGINT,
    load_max  BIGINT
);
CREATE INDEX probe_run_started ON probe_run (probe, started);
CREATE INDEX probe_run_age ON probe_run (started);
CREATE TABLE probe_document (
    run   BIGINT PRIMARY KEY REFERENCES probe_run (num) ON DELETE CASCADE,
    probe BIGINT NOT NULL,
    body  BLOB   NOT NULL      -- the whole result as JSON, gzip
);
CREATE INDEX probe_document_probe ON probe_document (probe, run);
CREATE TABLE probe_sum (
    probe  BIGINT NOT NULL REFERENCES probe (num) ON DELETE CASCADE,
    width  BIGINT NOT NULL,    -- ns: an hour or a day
    start  BIGINT NOT NULL,    -- ns since 1970, a multiple of width
    runs   BIGINT NOT NULL,
    good   BIGINT NOT NULL,    -- of them with success
    missed BIGINT NOT NULL,
    bytes  BIGINT NOT NULL,
    sent   BIGINT,
    lost   BIGINT,
    rtt    BLOB,               -- sketches, HdrHistogram V2 compressed
    loaded BLOB,
    down   BLOB,
    up     BLOB,
    PRIMARY KEY (probe, width, start)
);
CREATE INDEX probe_sum_start ON probe_sum (width, start);
CREATE TABLE probe_missed (
    num    INTEGER PRIMARY KEY AUTOINCREMENT,
    probe  BIGINT NOT NULL REFERENCES probe (num) ON DELETE CASCADE,
    at     BIGINT NOT NULL,
    reason TEXT   NOT NULL,
    runs   BIGINT NOT NULL,
    UNIQUE (probe, at, reason)
);
CREATE INDEX probe_missed_at ON probe_missed (at);
CREATE TABLE probe_change (
    num    INTEGER PRIMARY KEY AUTOINCREMENT,
    probe  BIGINT NOT NULL REFERENCES probe (num) ON DELETE CASCADE,
    at     BIGINT NOT NULL,
    was    TEXT   NOT NULL,
    state  TEXT   NOT NULL,
    text   TEXT   NOT NULL,
    UNIQUE (probe, at)
);
CREATE INDEX probe_change_at ON probe_change (at);
