"""Agents beside controls, measured by the reward, the truth and referees."""
