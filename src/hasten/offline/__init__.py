"""The offline optimum: arrivals and rates known beforehand, decisions in hindsight, always with a certificate."""

from hasten.offline.plan import OfflinePlan as OfflinePlan
from hasten.offline.solve import solve_offline as solve_offline

__all__ = ["OfflinePlan", "solve_offline"]
