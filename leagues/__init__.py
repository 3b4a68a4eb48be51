"""Who meets whom: players, matches and results, their ledger, payoffs, matchmaking and snapshot rules."""

from leagues.core import Match, Player, Purpose, Result
from leagues.league import League
from leagues.ledger import Ledger, LedgerError
from leagues.matchmaking import Mix, Pool, pfsp
from leagues.payoff import Payoff, Tally
from leagues.rules import SnapshotRule

__all__ = [
    "League",
    "Ledger",
    "LedgerError",
    "Match",
    "Mix",
    "Payoff",
    "Player",
    "Pool",
    "Purpose",
    "Result",
    "SnapshotRule",
    "Tally",
    "pfsp",
]
