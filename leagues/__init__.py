"""Who meets whom: players, matches and results, their ledger, payoffs, matchmaking, snapshot rules and the best."""

from leagues.core import Match, Player, Purpose, Result, Thinking
from leagues.gate import Gate, GateRule, Verdict
from leagues.league import League
from leagues.ledger import Ledger, LedgerError
from leagues.matchmaking import Mix, Pool, pfsp
from leagues.payoff import Payoff, Tally
from leagues.rules import SnapshotRule

__all__ = [
    "Gate",
    "GateRule",
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
    "Thinking",
    "Verdict",
    "pfsp",
]
