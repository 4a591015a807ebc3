"""Measurements, not tests: each prints its figures."""
