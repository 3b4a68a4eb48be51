"""The tables of the ledger, as SQLite is told of them."""

SCHEMA = 2
"""2 added `thinking`. A ledger of schema 1 can be read, and is given that table when it is opened to be written."""

THINKING = """CREATE TABLE IF NOT EXISTS thinking (
    match INTEGER NOT NULL, -- the first of an order
    player TEXT NOT NULL,
    decisions INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (match, player)) WITHOUT ROWID"""

TABLES = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE players (
        sequence INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        content TEXT NOT NULL,
        settings TEXT NOT NULL, -- JSON
        parent TEXT NOT NULL,
        step INTEGER NOT NULL,
        role TEXT NOT NULL,
        live INTEGER NOT NULL)""",
    """CREATE TABLE matches (
        id INTEGER PRIMARY KEY,
        players TEXT NOT NULL, -- JSON, one for each team
        purpose TEXT NOT NULL,
        seed INTEGER NOT NULL, -- uint64, kept as the int64 of the same bits
        games INTEGER,
        opening INTEGER NOT NULL,
        paired INTEGER NOT NULL)""",
    """CREATE TABLE results (
        sequence INTEGER PRIMARY KEY,
        match INTEGER NOT NULL,
        game INTEGER NOT NULL CHECK (game >= 0),
        returns BLOB NOT NULL, -- float64 of each seat, little-endian
        length INTEGER NOT NULL,
        truncated INTEGER NOT NULL,
        moves BLOB, -- uint16 slots, then int16 [length, slots], little-endian
        UNIQUE (match, game))""",
    """CREATE TABLE voids (
        match INTEGER NOT NULL,
        game INTEGER NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (match, game)) WITHOUT ROWID""",
    THINKING,
)
